"""Sets as existing projects have them go through `denoise particles`: every attribute and every image right."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from polardenoise.tests import scipion_project

from pwem.constants import ALIGN_2D, ALIGN_NONE, ALIGN_PROJ  # isort: skip
from pwem.protocols import ProtSubSet, ProtUnionSet  # isort: skip
from pyworkflow.object import Integer  # isort: skip

from polardenoise.protocols.forms.denoise_form import GROUP_CLASS
from polardenoise.tests.known_particles import (
    ADDED,
    COUNT,
    check_attributes,
    check_pixels,
    denoise,
    make_acquisition,
    make_particle,
    make_run,
    simulate_known,
    write_stacks,
)

pytestmark = pytest.mark.usefixtures("project")
CTF = ("_ctfModel._defocusU", "_ctfModel._psdFile", "_ctfModel._resolution")
PLACE = ("_coordinate._x", "_coordinate._micName", "_coordinate._micId", "_micId")
EXTRA = ("_xmipp_zScore", "_rlnGroupName")
HALVES = "_rlnRandomSubset"


@pytest.fixture(scope="module")
def known(module_project):
    """Particles in no stack yet."""
    return simulate_known("known")


def give_halves(particle, row):
    particle._rlnRandomSubset = Integer(row % 2 + 1)
    return particle


@pytest.fixture(scope="module")
def aligned(known):
    """Particles of three stacks with everything: CTF, poses, coordinates, halves, ids with holes."""
    known = write_stacks(known, "aligned")

    def make(row):
        particle = give_halves(make_particle(known, row, ALIGN_PROJ), row)
        particle.setObjId(5 + 3 * row)
        particle.setClassId(row % 3 + 1)
        return particle

    run = make_run(
        scipion_project.get_project(),
        "aligned",
        (make(row) for row in range(COUNT)),
        ALIGN_PROJ,
        pixel_size=known.pixel_size,
    )
    return known, run


def test_extracted_from_micrographs(project, known):
    """Coordinates and ids of micrographs; no alignment and no halves yet: these are drawn."""
    known = write_stacks(known, "extracted")
    particles = (make_particle(known, row) for row in range(COUNT))
    source = make_run(project, "extracted", particles, pixel_size=known.pixel_size)
    run = denoise(source)
    check_attributes(run, [*CTF, *PLACE, *EXTRA], {*ADDED, HALVES})
    halves = [item._rlnRandomSubset.get() for item in run.outputParticles.iterItems()]
    assert halves.count(1) == halves.count(2) == COUNT // 2
    check_pixels(run, known)


def test_a_subset_over_many_stacks(project, aligned):
    known, source = aligned
    subset = scipion_project.run_protocol(
        project,
        ProtSubSet,
        {"inputFullSet": (source, "outputParticles")},
        chooseAtRandom=True,
        nElements=23,
    )
    ids = [item.getObjId() for item in subset.outputParticles.iterItems()]
    assert np.any(np.diff(ids) > 3)
    run = denoise(subset)
    assert run.outputParticles.getSize() == 23
    check_attributes(run, [*CTF, *PLACE, *EXTRA, "_transform._matrix", "_classId", HALVES])
    check_pixels(run, known)


@pytest.mark.long
def test_a_union_of_two_microscopes(project, known, aligned):
    """Two sets with the same ids, in stacks of their own and recorded at 300 and 200 kV, become one."""
    first, source = aligned
    ctf = replace(known.ctf, voltage=torch.full((COUNT,), 200.0, dtype=torch.float64))
    # Other images, so that each has one truth.
    turned = replace(known, clean=torch.rot90(known.clean, 1, (1, 2)))
    second = write_stacks(turned, "second", ctf=ctf, stacks=2, seed=1)
    acquisition = make_acquisition(200.0)

    def make(row):
        particle = give_halves(make_particle(second, row, ALIGN_PROJ), row)
        particle.setObjId(5 + 3 * row)
        particle.setClassId(1)
        particle.setAcquisition(acquisition)
        return particle

    other = make_run(
        project,
        "second microscope",
        (make(row) for row in range(COUNT)),
        ALIGN_PROJ,
        pixel_size=known.pixel_size,
        acquisition=acquisition,
    )
    union = scipion_project.run_protocol(
        project,
        ProtUnionSet,
        {"inputSets": [(source, "outputParticles"), (other, "outputParticles")]},
    )
    run = denoise(union, "outputSet")
    assert run.outputParticles.getSize() == 2 * COUNT
    check_attributes(run, [*CTF, "_transform._matrix", HALVES, "_acquisition._voltage"])
    voltages = [item.getAcquisition().getVoltage() for item in run.outputParticles.iterItems()]
    assert voltages.count(300) == voltages.count(200) == COUNT
    both = replace(
        known,
        recorded=np.concatenate([first.recorded, second.recorded]),
        locations=first.locations + second.locations,
    )
    check_pixels(run, both)


def test_disabled_particles_stay_out(project, known):
    """As everywhere in Scipion: a disabled item is not copied; the others keep their ids."""
    known = write_stacks(known, "disabled")
    disabled = {0, 7, 8, 20, 35}

    def make(row):
        particle = give_halves(make_particle(known, row), row)
        particle.setEnabled(row not in disabled)
        return particle

    particles = (make(row) for row in range(COUNT))
    run = denoise(make_run(project, "disabled", particles, pixel_size=known.pixel_size))
    check_attributes(run, [*CTF, *PLACE, HALVES])
    found = {item.getObjId() for item in run.outputParticles.iterItems()}
    assert found == set(range(1, COUNT + 1)) - {row + 1 for row in disabled}
    assert all(item.isEnabled() for item in run.outputParticles.iterItems())
    check_pixels(run, known)


def test_phase_flipped_particles_stay_so(project, known):
    known = write_stacks(known, "flipped", "flipped")
    particles = (give_halves(make_particle(known, row, ALIGN_PROJ), row) for row in range(COUNT))
    source = make_run(
        project, "flipped", particles, ALIGN_PROJ, pixel_size=known.pixel_size, flipped=True
    )
    run = denoise(source)
    assert run.outputParticles.isPhaseFlipped()
    check_attributes(run, [*CTF, "_transform._matrix"])
    check_pixels(run, known)


def test_neither_ctf_nor_alignment(project, known):
    """Nothing is known but the pixels: nothing is added but halves."""
    known = write_stacks(known, "bare", "none")
    particles = (
        make_particle(known, row, with_ctf=False, with_coordinate=False) for row in range(COUNT)
    )
    source = make_run(
        project, "bare", particles, ALIGN_NONE, with_ctf=False, pixel_size=known.pixel_size
    )
    run = denoise(source)
    check_attributes(run, EXTRA, {*ADDED, HALVES})
    first = run.outputParticles.getFirstItem()
    assert not first.hasCTF()
    assert not first.hasTransform()
    assert not first.hasCoordinate()
    check_pixels(run, known)


@pytest.fixture(scope="module")
def classified(known):
    """Particles with in-plane alignment and the classes of a 2D classification."""
    known = write_stacks(known, "classified")

    def make(row):
        particle = give_halves(make_particle(known, row, ALIGN_2D), row)
        particle.setClassId(row // 12 + 1)
        return particle

    project = scipion_project.get_project()
    particles = (make(row) for row in range(COUNT))
    run = make_run(project, "classified", particles, ALIGN_2D, pixel_size=known.pixel_size)
    classes = run._createSetOfClasses2D(run.outputParticles)
    classes.classifyItems(updateClassCallback=lambda one: one.setAlignment(ALIGN_2D))
    run._defineOutputs(outputClasses=classes)
    project._storeProtocol(run)
    project.mapper.commit()
    return known, run


def test_classes_with_2d_alignment(classified):
    """Each class is denoised by itself, and its particles keep class and alignment."""
    known, source = classified
    run = denoise(source, grouping=GROUP_CLASS, setSize=6)
    assert "--group-by rlnClassNumber" in scipion_project.read_log(run)
    check_attributes(run, [*CTF, *PLACE, "_transform._matrix", "_classId", HALVES])
    assert run.outputParticles.hasAlignment2D()
    check_pixels(run, known)


@pytest.mark.long
def test_one_class_as_input(classified):
    """A class is a set of particles too; its items lie in the file of all classes."""
    known, source = classified
    run = denoise(source, "outputClasses.2")
    assert run.outputParticles.getSize() == 12
    check_attributes(run, [*CTF, *PLACE, "_transform._matrix", "_classId", HALVES])
    check_pixels(run, known)
