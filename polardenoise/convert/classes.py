"""Classes that the attention found, as Scipion's: a SetOfClasses2D and its averages."""

import mrcfile
import numpy as np
from pwem.objects import Particle, Transform
from pyworkflow.object import Float, Integer

from polardenoise.convert.alignment import make_2d_matrix
from polardenoise.convert.denoised_set import SCORE

# Of a class: the random half that its particles are of, and the class of the other half most like it.
CLASS_HALF = "_polardenoiseHalf"
CLASS_TWIN = "_polardenoiseTwin"


def write_averages(matches, path):
    """Write the class averages as an MRC stack, one image a class in the order of their numbers."""
    with mrcfile.new(path, overwrite=True) as stack:
        stack.set_data(matches.class_averages.astype(np.float32))
        stack.set_image_stack()
        stack.voxel_size = matches.pixel_size
        # Not when it was written: the same classes are the same bytes.
        stack.header.label[:] = b""
        stack.header.nlabl = 0


def fill_classes(classes, matches, averages_path):
    """Fill a SetOfClasses2D: each enabled particle in its class, aligned to the average.

    Parameters
    ----------
    classes : SetOfClasses2D
        New, with its images set: the particles that were denoised.
    matches : Matches
        Of all of them. A particle of class 0 is left out.
    averages_path : str
        Of `write_averages`.
    """
    place = {int(number): row for row, number in enumerate(matches.ids)}

    def assign(particle, _):
        row = place.get(particle.getObjId())
        if row is None or matches.class_number[row] == 0:
            particle._appendItem = False
            return
        particle.setClassId(int(matches.class_number[row]))
        particle.setTransform(Transform(make_2d_matrix(matches.class_in_plane_degrees[row])))
        setattr(particle, SCORE, Float(float(matches.score[row])))

    def describe(one):
        number = one.getObjId()
        one.setAlignment2D()
        one.setRepresentative(make_average(matches, number, averages_path))
        setattr(one, CLASS_HALF, Integer(int(matches.class_half[number - 1])))
        setattr(one, CLASS_TWIN, Integer(int(matches.class_twin[number - 1])))

    classes.classifyItems(updateItemCallback=assign, updateClassCallback=describe)


def fill_averages(averages, matches, averages_path):
    """Fill a SetOfAverages with the class averages; the ids are the classes'."""
    averages.setSamplingRate(matches.pixel_size)
    for number in range(1, len(matches.class_averages) + 1):
        average = make_average(matches, number, averages_path)
        average.setObjId(number)
        averages.append(average)


def make_average(matches, number, averages_path):
    """Make the Particle that stands for a class; `number` from 1."""
    average = Particle()
    average.setLocation(number, averages_path)
    average.setSamplingRate(matches.pixel_size)
    average.setClassId(number)
    return average
