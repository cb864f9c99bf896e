"""A small set of particles with every attribute, and the engine's answer to it, played."""

import mrcfile
import numpy as np

from polardenoise.tests import scipion_project  # noqa: F401  (sets the environment before pwem)

import pwem.objects as em  # isort: skip
from pwem.constants import ALIGN_NONE, ALIGN_PROJ  # isort: skip
from pwem.convert.transformations import euler_matrix  # isort: skip
from pyworkflow.object import Float, Integer, String  # isort: skip

from polardenoise.convert.alignment import make_projection_matrix
from polardenoise.convert.chunks import list_enabled_ids
from polardenoise.convert.convert import read_denoised_rows
from polardenoise.convert.denoised_set import PixelsReplaced, add_denoised_chunk, open_denoised_set
from polardenoise.convert.particle_columns import OBJECT_ID
from polardenoise.convert.star_loops import format_loop_header, format_row, read_loop

BOX = 16
PIXEL_SIZE = 1.7
# Ids with holes, stacks out of order, images not from 1: as a subset of a union has them.
LOCATIONS = {
    3: (4, "b.mrcs"),
    7: (1, "a.mrcs"),
    8: (2, "b.mrcs"),
    40: (3, "a.mrcs"),
    41: (5, "b.mrcs"),
}


def make_matrix(number, alignment):
    angles = np.random.default_rng(number).uniform(-180, 180, 3) * [1, 0.5, 1]
    if alignment == ALIGN_PROJ:
        return make_projection_matrix(*angles, 2.5 - number / 10, -1.25)
    matrix = euler_matrix(np.deg2rad(angles[0]), 0, 0, "szyz")
    matrix[:2, 3] = 2.5 - number / 10, -1.25
    return matrix


def make_set(path="particles.sqlite", alignment=ALIGN_PROJ, with_ctf=True, locations=LOCATIONS):
    particles = em.SetOfParticles(filename=path)
    particles.setSamplingRate(PIXEL_SIZE)
    acquisition = em.Acquisition(
        magnification=10000.0, voltage=200.0, sphericalAberration=2.26, amplitudeContrast=0.07
    )
    particles.setAcquisition(acquisition)
    particles.setHasCTF(with_ctf)
    particles.setAlignment(alignment)
    for number, location in locations.items():
        particle = em.Particle()
        particle.setObjId(number)
        particle.setLocation(location)
        if with_ctf:
            ctf = em.CTFModel()
            ctf.setStandardDefocus(15000.0 + number, 14500.0 - number, 30.5 + number)
            ctf.setPhaseShift(float(number))
            ctf.setResolution(3.5)
            ctf.setPsdFile(f"psd_{number}.mrc")
            particle.setCTF(ctf)
        if alignment != ALIGN_NONE:
            particle.setTransform(em.Transform(make_matrix(number, alignment)))
        coordinate = em.Coordinate(x=10 * number, y=20 * number)
        coordinate.setMicId(100 + number)
        coordinate.setMicName(f"mic {number}.mrc")
        particle.setCoordinate(coordinate)
        particle.setMicId(100 + number)
        particle.setClassId(number % 3 + 1)
        particle._rlnRandomSubset = Integer(number % 2 + 1)
        particle._rlnGroupName = String(f"group_{number}")
        particle._rlnCtfBfactor = Float(number / 4)
        particle._xmipp_zScore = Float(number / 8)
        particles.append(particle)
    particles.write()
    return particles


def copy_changed(particles, path, change):
    """Copy a set into another file; `change(item, _)` alters each item on the way."""
    copy = em.SetOfParticles(filename=path)
    copy.copyInfo(particles)
    copy.copyItems(particles, updateItemCallback=change)
    copy.write()
    return copy


def answer(star, name="denoised", subset=None):
    """Play the engine: new pixels in the order of the rows, the same STAR with other image names."""
    rows = list(read_loop(star, "particles"))
    images = np.stack([np.full((BOX, BOX), float(row[OBJECT_ID]), "f4") for row in rows])
    with mrcfile.new(f"{name}.mrcs", overwrite=True) as file:
        file.set_data(images)
        file.set_image_stack()
    labels = list(rows[0]) + (["rlnRandomSubset"] if subset else [])
    with open(f"{name}.star", "w") as file:
        file.write(format_loop_header("particles", labels))
        for number, row in enumerate(rows, 1):
            row["rlnImageName"] = f"{number:06d}@{name}.mrcs"
            if subset:
                row["rlnRandomSubset"] = str(subset[number - 1])
            file.write(format_row([row[label] for label in labels]))
    return read_denoised_rows(f"{name}.star")


def read_all(particles):
    """Every attribute of every item, as text, by id."""
    return {item.getObjId(): dict(item.getObjDict()) for item in particles.iterItems()}


def read_pixels(location):
    with mrcfile.open(location[1]) as file:
        return file.data[location[0] - 1].copy()


def make_denoised(particles, rows, corrected=False, path="denoised.sqlite", **changes):
    """Make the output set of one chunk, all enabled particles, as the protocol does."""
    denoised = open_denoised_set(
        path, particles, lambda: em.SetOfParticles(filename=path), corrected, **changes
    )
    replace = PixelsReplaced(rows, "base", **changes)
    add_denoised_chunk(denoised, particles, list_enabled_ids(particles), replace)
    return denoised
