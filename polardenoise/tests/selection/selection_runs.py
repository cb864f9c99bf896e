"""Runs that raw particles are selected by: raw particles, what is known of each, and a denoised set with classes."""

import mrcfile
import numpy as np

from polardenoise.tests import scipion_project

import pwem.objects as em  # isort: skip
from pyworkflow.object import Float, Integer, String  # isort: skip

from polardenoise.convert.denoised_set import PixelsReplaced, open_denoised_set
from polardenoise.protocols import ProtPolarDenoise, ProtPolarSelect
from polardenoise.tests.known_particles import differ, make_run, read_items

COUNT, BOX, PIXEL_SIZE = 24, 8, 1.5
# Ids are not 1..N, nor in the order of the stacks; the one that is disabled was never denoised.
IDS = [7 * number + 3 for number in range(1, COUNT + 1)]
DISABLED = IDS[5]
SCORED = [number for number in IDS if number != DISABLED]
# Of neighbouring ids very different ones.
SCORES = {number: (5 * place % 23) / 22 for place, number in enumerate(SCORED)}
CLASSES = {number: 1 + place % 4 for place, number in enumerate(SCORED)}


def write_stack(path, numbers):
    """Write images whose pixels are the particles' ids."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.repeat(np.float32(numbers), BOX * BOX).reshape(-1, BOX, BOX))
        file.set_image_stack()
        file.voxel_size = PIXEL_SIZE


def make_raw(project, name, halves=True, shift=0):
    """Make a run that gives raw particles with whatever is known of them."""
    write_stack(f"{name}.mrcs", IDS[::-1])
    particles = []
    for place, number in enumerate(IDS):
        particle = em.Particle()
        particle.setObjId(number)
        particle.setLocation(COUNT - place, f"{name}.mrcs")
        ctf = em.CTFModel()
        ctf.setStandardDefocus(10000.0 + 10 * number, 9900.0 + 10 * number, 30.0)
        particle.setCTF(ctf)
        coordinate = em.Coordinate(x=10 * number + shift, y=2000 - number)
        coordinate.setMicName(f"mic_{number % 3}.mrc")
        particle.setCoordinate(coordinate)
        particle.setMicId(number % 3 + 1)
        particle._rlnGroupName = String(f"group_{number % 5}")
        particle._xmipp_zScore = Float(number / 8)
        if halves:
            particle._rlnRandomSubset = Integer(1 + place % 2)
        particle.setEnabled(number != DISABLED)
        particles.append(particle)
    return make_run(project, name, particles, pixel_size=PIXEL_SIZE)


def make_denoised(project, raw, name, scores=SCORES):
    """Make a run of `denoise particles` as it stands when it is done: denoised particles and classes, no engine."""
    run = project.newProtocol(ProtPolarDenoise)
    scipion_project.set_input(run, "inputParticles", (raw, "outputParticles"))
    run.setObjLabel(name)
    project.saveProtocol(run)
    run.makePathsAndClean()
    write_stack(f"{name}.mrcs", np.negative(SCORED))
    # Where the raw set has no halves, these were drawn for denoising.
    rows = {
        number: (place, f"{name}.mrcs", 1 + place % 2) for place, number in enumerate(SCORED, 1)
    }
    denoised = open_denoised_set(
        run._getPath("particles.sqlite"), raw.outputParticles, run._createSetOfParticles, False
    )
    denoised.copyItems(raw.outputParticles, updateItemCallback=PixelsReplaced(rows, "base", scores))
    classes = run._createSetOfClasses2D(run.inputParticles)

    def assign(particle, _):
        particle.setClassId(CLASSES[particle.getObjId()])

    classes.classifyItems(updateItemCallback=assign)
    run._defineOutputs(outputParticles=denoised, outputClasses=classes)
    run.setFinished()
    project._storeProtocol(run)
    project.mapper.commit()
    return run


def prepare(project, inputs, **params):
    """Prepare a run without starting it."""
    run = project.newProtocol(ProtPolarSelect, **params)
    for name, source in inputs.items():
        scipion_project.set_input(run, name, source)
    return run


def select(project, inputs, **params):
    return scipion_project.run_protocol(project, ProtPolarSelect, inputs, **params)


def check_raw(run, raw, expected, gained=frozenset()):
    """The output are these particles of the raw set, pixel by pixel and attribute by attribute."""
    selected = run.outputParticles
    after, before = read_items(selected), read_items(raw.outputParticles)
    assert sorted(after) == sorted(expected)
    assert selected.getSize() == len(expected)
    for number, attributes in after.items():
        assert set(attributes) - set(before[number]) == set(gained)
        for name, value in before[number].items():
            assert not differ(value, attributes[name]), (number, name)
    pixels = scipion_project.read_stack(selected)
    assert pixels[:, 0, 0].tolist() == sorted(expected)
    scipion_project.check_set_facts(raw.outputParticles, selected)
    assert not hasattr(selected.getFirstItem(), "_polardenoiseModel")
