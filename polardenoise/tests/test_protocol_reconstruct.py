"""Protocol `reconstruct`: half maps and curves in Scipion, and the same resolution as RELION."""

import functools

import mrcfile
import numpy as np
import pytest

from polardenoise.tests import scipion_project

from pwem.objects import FSC, Volume  # isort: skip

from polardenoise.protocols import ProtPolarReconstruct

pytestmark = pytest.mark.usefixtures("project")

ONE_SHELL = 1


@functools.lru_cache(maxsize=None)
def reconstruct_raw():
    imported, simulation = scipion_project.get_import(), scipion_project.get_simulation()
    return scipion_project.run_protocol(
        scipion_project.get_project(),
        ProtPolarReconstruct,
        {
            "inputParticles": (imported, "outputParticles"),
            "referenceVolume": (simulation, "outputVolume"),
        },
        useReferenceVolume=True,
        numberOfThreads=1,
    )


def correlate(first, second):
    """Fourier shell correlation of two maps, shell by shell up to Nyquist; plain numpy."""
    one, two = (np.fft.fftn(mrcfile.read(path)) for path in (first, second))
    box = one.shape[0]
    axes = np.meshgrid(*[np.fft.fftfreq(box, 1 / box)] * 3, indexing="ij")
    shell = np.rint(np.sqrt(sum(axis**2 for axis in axes))).astype(int).ravel()

    def sum_shells(values):
        return np.bincount(shell, values.ravel())[: box // 2 + 1]

    cross = sum_shells((one * two.conj()).real)
    return cross / np.sqrt(sum_shells(np.abs(one) ** 2) * sum_shells(np.abs(two) ** 2))


def find_crossing(curve, threshold=0.143):
    """First shell under the threshold, to a fraction of a shell."""
    shell = int(np.argmax(curve < threshold))
    assert shell > 0, curve
    return shell - 1 + (curve[shell - 1] - threshold) / (curve[shell - 1] - curve[shell])


def test_volume_carries_its_half_maps():
    run = reconstruct_raw()
    volume = run.outputVolume
    assert isinstance(volume, Volume)
    assert volume.getDim() == (64, 64, 64)
    assert volume.getSamplingRate() == run.inputParticles.get().getSamplingRate()
    halves = volume.getHalfMaps(asList=True)
    assert len(halves) == 2
    for path in [volume.getFileName(), *halves]:
        with mrcfile.open(path) as file:
            assert np.isfinite(file.data).all()
            assert file.voxel_size.x == pytest.approx(volume.getSamplingRate(), rel=1e-4)


def test_curves_are_those_of_the_half_maps():
    run = reconstruct_raw()
    curves = [curve.clone() for curve in run.outputFSC.iterItems()]
    assert [curve.getObjLabel() for curve in curves] == ["half maps", "map against reference"]
    assert all(isinstance(curve, FSC) for curve in curves)
    frequencies, values = (np.array(list(axis), float) for axis in curves[0].getData())
    box, pixel_size = 64, run.outputVolume.getSamplingRate()
    np.testing.assert_allclose(frequencies, np.arange(1, 33) / (box * pixel_size), rtol=1e-3)
    own = correlate(*run.outputVolume.getHalfMaps(asList=True))
    np.testing.assert_allclose(values[:24], own[1:25], atol=0.02)
    resolution = float(curves[0].calculateResolution())
    assert resolution == pytest.approx(
        run.readSummary("summary.json")["fsc_0.143_angstrom"], rel=0.02
    )
    summary = " ".join(run.summary())
    assert "FSC 0.143 of the half maps" in summary
    assert "(resolution)" in summary
    assert "symmetry: c1." in summary
    assert "Warning" not in summary
    assert "*Next*: a mask, then post-processing" in summary


def test_the_map_is_the_molecule():
    run = reconstruct_raw()
    truth = correlate(run.outputVolume.getFileName(), run.referenceVolume.get().getFileName())
    # 600 particles at SNR 0.1: better than 0.5 to a third of Nyquist.
    assert truth[1:11].min() > 0.5
    assert run.readSummary("summary.json")["ctf"] == "signed"


def test_same_resolution_as_relion_within_one_shell(relion):
    runs = scipion_project.reconstruct_with_relion(scipion_project.get_import())
    halves = [run.outputVolume.getFileName() for run in runs]
    theirs = find_crossing(correlate(*halves))
    ours = find_crossing(correlate(*reconstruct_raw().outputVolume.getHalfMaps(asList=True)))
    assert abs(ours - theirs) <= ONE_SHELL, (ours, theirs)
    # And the maps themselves agree where both see the molecule.
    both = correlate(reconstruct_raw().outputVolume.getHalfMaps(asList=True)[0], halves[0])
    assert both[1 : int(theirs)].min() > 0.9


def test_what_cannot_work_is_said_before_the_run(project):
    views = scipion_project.get_views()
    run = project.newProtocol(ProtPolarReconstruct, doCTF=1, useReferenceVolume=True)
    scipion_project.set_input(run, "inputParticles", (views, "outputParticles"))
    assert any("no CTF" in error for error in run.validate())
    scipion_project.set_input(
        run, "referenceVolume", (scipion_project.get_simulation(), "outputVolume")
    )
    assert any("64 voxels" in error for error in run.validate())
    assert project.newProtocol(ProtPolarReconstruct).validate()


def test_a_changed_parameter_leaves_no_stale_output_even_if_it_fails(project):
    """Continue with another symmetry, then with none that exists: the engine's own words reach the user."""
    run = scipion_project.run_protocol(
        project,
        ProtPolarReconstruct,
        {"inputParticles": (scipion_project.get_views(), "outputParticles")},
        numberOfThreads=1,
    )
    before = mrcfile.read(run.outputVolume.getFileName()).copy()
    run.symmetryGroup.set("c2")
    project.launchProtocol(run, wait=True)
    assert run.isFinished(), scipion_project.read_log(run)
    assert not np.allclose(mrcfile.read(run.outputVolume.getFileName()), before)
    run.symmetryGroup.set("q7")
    project.launchProtocol(run, wait=True)
    assert run.isFailed()
    assert "q7" in run.getErrorMessage()
    assert "Traceback" not in run.getErrorMessage()
    assert list(run.iterOutputAttributes()) == []
    assert list(project.getProtocol(run.getObjId()).iterOutputAttributes()) == []
