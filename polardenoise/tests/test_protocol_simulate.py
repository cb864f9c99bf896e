"""Protocol `simulate particles`: what it gives is what was asked for, and the truth fits the images."""

import gzip
import os
import shutil

import numpy as np
import pytest

from polardenoise.tests import scipion_project

from pwem.objects import AtomStruct, SetOfParticles, Volume  # isort: skip
from pwem.protocols import ProtImportPdb  # isort: skip

from polardenoise.convert.star_loops import read_loop
from polardenoise.protocols import ProtPolarSimulate

# Scipion reads BibTeX with a library that calls pyparsing by its old names.
pytestmark = [
    pytest.mark.usefixtures("project"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:bibtexparser"),
]


def test_sets_and_volume_say_what_they_are():
    simulation = scipion_project.get_simulation()
    noisy, clean = simulation.outputParticles, simulation.outputClean
    volume = simulation.outputVolume
    assert noisy.getSize() == clean.getSize() == scipion_project.PARTICLES
    for particles in (noisy, clean):
        assert isinstance(particles, SetOfParticles)
        assert particles.hasAlignmentProj()
        assert particles.getXDim() == 64
        assert not particles.isPhaseFlipped()
        assert particles.getAcquisition().getVoltage() == 300
    assert noisy.getFileName() != clean.getFileName()
    assert noisy.hasCTF()
    assert not clean.hasCTF()
    assert volume.getSamplingRate() == noisy.getSamplingRate()
    assert volume.getDim() == (64, 64, 64)
    assert simulation.summary()
    assert simulation.methods()


def test_items_are_the_rows_of_the_star_file():
    simulation = scipion_project.get_simulation()
    rows = list(read_loop(simulation.getResultPath("particles.star"), "particles"))
    halves = []
    for row, item in zip(rows, simulation.outputParticles.iterItems()):
        index, path = row["rlnImageName"].split("@")
        assert item.getLocation() == (int(index), path)
        u, v, angle = item.getCTF().getDefocus()
        assert (u, v) == (float(row["rlnDefocusU"]), float(row["rlnDefocusV"]))
        assert angle == pytest.approx(float(row["rlnDefocusAngle"]))
        assert item.getCoordinate().getMicName() == row["rlnMicrographName"]
        halves.append(item._rlnRandomSubset.get())
    assert halves.count(1) == halves.count(2) == len(rows) / 2


def test_noise_has_variance_one_and_the_asked_for_snr():
    views = scipion_project.get_views()
    noisy = scipion_project.read_stack(views.outputParticles)
    clean = scipion_project.read_stack(views.outputClean)
    assert np.var(noisy - clean) == pytest.approx(1, rel=0.02)
    assert np.mean(clean**2) == pytest.approx(0.1, rel=0.02)
    assert {item.getClassId() for item in views.outputParticles.iterItems()} == {1, 2, 3, 4}


def test_a_map_of_the_project_is_a_source(project):
    simulation = scipion_project.get_simulation()
    run = scipion_project.run_protocol(
        project,
        ProtPolarSimulate,
        {"inputVolumes": [(simulation, "outputVolume"), (simulation, "outputVolume")]},
        source=1,
        numberOfParticles=4,
        boxSize=64,
        numberOfThreads=1,
    )
    assert run.outputVolumes.getSize() == 2
    assert run.outputVolumes.getSamplingRate() == pytest.approx(
        simulation.outputVolume.getSamplingRate(), rel=1e-4
    )
    assert isinstance(run.outputVolumes.getFirstItem(), Volume)
    assert {item._polardenoiseSource.get() for item in run.outputParticles.iterItems()} == {1, 2}


def test_a_structure_of_the_project_is_a_source(project, shared_data):
    packed = shared_data / "structures" / "1onx.cif.gz"
    with gzip.open(packed) as source, open("molecule.cif", "wb") as plain:
        shutil.copyfileobj(source, plain)
    imported = scipion_project.run_protocol(
        project, ProtImportPdb, inputPdbData=1, pdbFile=os.path.abspath("molecule.cif")
    )
    assert isinstance(imported.outputPdb, AtomStruct)
    run = scipion_project.run_protocol(
        project,
        ProtPolarSimulate,
        {"inputStructures": [(imported, "outputPdb")]},
        source=2,
        numberOfParticles=4,
        boxSize=32,
        numberOfThreads=1,
    )
    assert run.outputParticles.getSize() == 4


def test_an_acquisition_is_copied_then_changed(project):
    """Box, pixel size and CTFs of a set; a changed parameter and Continue replaces all outputs."""
    simulation = scipion_project.get_simulation()
    given = simulation.outputParticles
    run = scipion_project.run_protocol(
        project,
        ProtPolarSimulate,
        {"likeParticles": (simulation, "outputParticles")},
        copyAcquisition=True,
        phantom=10002,
        numberOfParticles=6,
        numberOfThreads=1,
    )
    particles = run.outputParticles
    assert particles.getXDim() == given.getXDim()
    assert particles.getSamplingRate() == pytest.approx(given.getSamplingRate(), rel=1e-5)
    known = {item.getCTF().getDefocusU() for item in given.iterItems()}
    assert {item.getCTF().getDefocusU() for item in particles.iterItems()} <= known
    assert "6 particles of 64 px" in run.summary()[0]
    run.copyAcquisition.set(False)
    run.boxSize.set(32)
    run.doCTF.set(False)
    project.launchProtocol(run, wait=True)
    assert run.isFinished(), scipion_project.read_log(run)
    assert run.outputParticles.getXDim() == run.outputClean.getXDim() == 32
    assert not run.outputParticles.hasCTF()
    assert run.outputVolume.getDim() == (32, 32, 32)
    assert scipion_project.read_stack(run.outputParticles).shape == (6, 32, 32)


def test_what_is_missing_is_said_before_the_run(project):
    for source in (1, 2):
        assert project.newProtocol(ProtPolarSimulate, source=source).validate()
    assert project.newProtocol(ProtPolarSimulate, boxSize=63).validate()
    assert project.newProtocol(ProtPolarSimulate, copyAcquisition=True).validate()
    assert project.newProtocol(ProtPolarSimulate).validate() == []


def test_harder_noise_reaches_the_images_and_not_the_truth(project):
    """Electrons counted at the dose of the form, a neighbour in half of the images."""
    options = {"phantom": 10002, "numberOfParticles": 40, "boxSize": 32, "numberOfThreads": 1}
    white = scipion_project.run_protocol(project, ProtPolarSimulate, **options)
    hard = scipion_project.run_protocol(
        project,
        ProtPolarSimulate,
        **options,
        noise=1,
        dose=3.0,
        neighbours=0.5,
        ice=0.1,
        envelope=50.0,
        mtf="0.5",
    )
    clean = scipion_project.read_stack(white.outputClean)
    np.testing.assert_array_equal(scipion_project.read_stack(hard.outputClean), clean)
    plain, noisy = (scipion_project.read_stack(run.outputParticles) for run in (white, hard))
    assert not np.array_equal(plain, noisy)
    assert np.var(noisy) == pytest.approx(1, abs=0.1)
    electrons = 3.0 * hard.outputParticles.getSamplingRate() ** 2
    # Counts are whole numbers.
    counts = electrons - noisy * np.sqrt(electrons / 0.9)
    np.testing.assert_allclose(counts, counts.round(), atol=1e-2)
    assert "3 e/Å² counted" in " ".join(hard.summary())
    assert "neighbours in 0.5" in " ".join(hard.summary())
    assert len(white.summary()) == 3


def test_noise_is_coloured_like_that_of_a_set(project):
    given = scipion_project.get_views()
    run = scipion_project.run_protocol(
        project,
        ProtPolarSimulate,
        {"noiseParticles": (given, "outputParticles")},
        useNoiseParticles=True,
        phantom=10002,
        noise=2,
        snr=1e-6,
        numberOfParticles=100,
        boxSize=32,
        numberOfThreads=1,
    )
    power = np.abs(np.fft.fft2(scipion_project.read_stack(run.outputParticles))) ** 2
    fall = power[:, 1:4, 1:4].mean() / power[:, 14:18, 14:18].mean()
    # The corners of the given set hold white noise; those of real images would give 3.
    assert fall == pytest.approx(1, abs=0.4)
    assert "coloured noise" in " ".join(run.summary())


def test_an_mtf_that_is_none_is_said_before_the_run(project):
    for mtf in ("2", "0", "missing.star"):
        assert "MTF" in project.newProtocol(ProtPolarSimulate, mtf=mtf).validate()[0]
    assert project.newProtocol(ProtPolarSimulate, mtf="0.3").validate() == []
