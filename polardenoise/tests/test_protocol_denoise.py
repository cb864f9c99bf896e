"""Protocol `denoise particles`: the same set with other pixels, and what follows it in a project."""

import os

import mrcfile
import numpy as np
import pytest
import torch

from polardenoise.tests import scipion_project

from pwem.constants import ALIGN_2D, ALIGN_PROJ  # isort: skip
from pwem.protocols import ProtImportParticles, ProtSubSet  # isort: skip

from polardenoise.constants import SHIPPED_MODELS
from polardenoise.convert.shipped_models import get_default_model
from polardenoise.engine.imaging.ctf import apply_ctf, compute_ctf
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.protocols import ProtPolarDenoise, ProtPolarReconstruct
from polardenoise.protocols.forms.denoise_form import (
    CONTRAST_CHOICES,
    GROUP_ATTRIBUTE,
    GROUP_CLASS,
    GROUP_NEIGHBOURS,
    GROUP_RANDOM,
)
from polardenoise.tests.scipion_project import read_stack

pytestmark = pytest.mark.usefixtures("project")

# What a denoised particle has that the raw one has not, and what differs.
OWN = {"_polardenoiseModel"}
# And where neighbours were found, as they are by default.
SCORED = {*OWN, "_polardenoiseScore"}
CHANGED = {"_index", "_filename"}


def read_all(particles):
    return {item.getObjId(): dict(item.getObjDict()) for item in particles.iterItems()}


def import_star(path, pixel_size):
    """Import a STAR file of RELION as a user would; `pixel_size` in Angstrom."""
    return scipion_project.run_protocol(
        scipion_project.get_project(),
        ProtImportParticles,
        importFrom=ProtImportParticles.IMPORT_FROM_RELION,
        starFile=os.path.abspath(path),
        samplingRate=pixel_size,
    )


def denoise_with_trained_model(source, **params):
    """Denoise the particles of a run on the processor, with the project's own tiny model."""
    inputs = {
        "inputParticles": (source, "outputParticles"),
        "inputModel": (scipion_project.get_training(), "outputModel"),
    }
    return scipion_project.run_protocol(
        scipion_project.get_project(),
        ProtPolarDenoise,
        inputs,
        modelSource=1,
        useGpu=False,
        **{"numberOfThreads": 1, "binThreads": 1, **params},
    )


def read_truth(run):
    """What the microscope would have recorded without noise: the clean images through each one's CTF."""
    simulation = scipion_project.get_simulation()
    particles = read_particles(run._getExtraPath("particles.star"))
    clean = torch.from_numpy(read_stack(simulation.outputClean))
    ctf = compute_ctf(particles.ctf, torch.from_numpy(particles.pixel_size), particles.box)
    return apply_ctf(clean, ctf).numpy()


def check_same_items(before, after, own=OWN):
    """Every attribute of every item is the input's, but for the pixels' place and the model's name."""
    assert list(before) == list(after)
    for number, attributes in before.items():
        for name, value in attributes.items():
            if name not in CHANGED:
                assert str(after[number][name]) == str(value), (number, name)
        assert set(after[number]) - set(attributes) == own


def test_every_attribute_of_every_particle_is_kept():
    run = scipion_project.get_denoised()
    before, after = run.inputParticles.get(), run.outputParticles
    items = read_all(before)
    check_same_items(items, read_all(after), SCORED)
    # And these are there at all: a comparison of nothing would pass too.
    first = next(iter(items.values()))
    for name in (
        "_ctfModel._defocusU",
        "_transform._matrix",
        "_acquisition._voltage",
        "_coordinate._x",
        "_micId",
        "_rlnRandomSubset",
        "_samplingRate",
    ):
        assert first[name] not in (None, ""), name
    assert after.getAlignment() == ALIGN_PROJ
    for get in ("getSamplingRate", "getDim", "isPhaseFlipped", "isAmplitudeCorrected", "hasCTF"):
        assert getattr(before, get)() == getattr(after, get)(), get
    assert after.getAcquisition().equalAttributes(before.getAcquisition())


def test_pixels_are_nearer_to_the_truth_with_its_ctf():
    run = scipion_project.get_denoised()
    denoised = read_stack(run.outputParticles)
    assert np.isfinite(denoised).all()
    assert len({item.getFileName() for item in run.outputParticles.iterItems()}) == 1
    noisy, truth = read_stack(run.inputParticles.get()), read_truth(run)
    assert np.var(noisy - truth) == pytest.approx(1, rel=0.02)
    # Relative error: 10 for the noisy images (SNR 0.1), 1 for blank ones, 0.53 for the best radial filter.
    assert ((denoised - truth) ** 2).sum() < 0.8 * (truth**2).sum()


def test_texts_warn_and_cite():
    run = scipion_project.get_denoised()
    summary = " ".join(run.summary())
    assert str(scipion_project.PARTICLES) in summary
    assert "reconstruct from the raw particles" in summary
    assert run.warnings() == []
    assert run._citations() == ["anden2025"]
    assert f"model {SHIPPED_MODELS[get_default_model()]}, weights " in " ".join(run._methods())


def test_what_the_engine_warns_about_is_in_the_summary(monkeypatch):
    run = scipion_project.get_denoised()
    assert not [line for line in run.summary() if "WARNING" in line]
    doubt = "protein is dark in half 1 (-20.0 sigma), but --contrast bright was given"
    found = [{"warnings": [doubt], "overlapping": 7}, {"warnings": [doubt], "overlapping": 5}]
    monkeypatch.setattr(run, "readSummaries", lambda: found)
    summary = run.summary()
    assert [line for line in summary if "WARNING" in line] == [f"*WARNING*: {doubt}."]
    assert "12 images share pixels with others: these never met." in summary


def test_what_is_said_of_all_chunks_is_not_said_of_each(monkeypatch):
    run = scipion_project.get_denoised()
    doubt, taken = "several pixel sizes", "what was taken away is not noise alone"
    faint = (
        "3 of 9 particles show no more than pure noise would: their raw images stand there, faint"
    )
    one = {"faint": 3, "doubts": [doubt], "residual": {"said": taken}}
    found = [one | {"warnings": [faint, doubt, taken]}] * 2
    monkeypatch.setattr(run, "readSummaries", lambda: found)
    summary = "\n".join(run.summary())
    for said in (doubt, taken, "more than pure noise would"):
        assert summary.count(said) == 1, said
    assert "*6 particles* show no more than pure noise would" in summary


def test_a_large_half_is_told_in_the_summary(monkeypatch):
    run = scipion_project.get_denoised()
    assert not [line for line in run.summary() if "fold" in line]
    found = [{"whole_halves": {"1": {"templates": [2048, 2047]}}}]
    monkeypatch.setattr(run, "readSummaries", lambda: found)
    (told,) = [line for line in run.summary() if "fold" in line]
    assert "seen through 2048 images of another fold" in told


def test_contrast_is_detected_unless_somebody_says_otherwise():
    run = scipion_project.get_denoised()
    assert CONTRAST_CHOICES[run.contrast.get()] == "auto"
    with open(run.getStdoutLog()) as file:
        assert "--contrast auto" in file.read()


def test_the_command_in_the_log_can_be_pasted():
    run = scipion_project.get_denoised()
    with open(run.getStdoutLog()) as file:
        log = file.read()
    assert "-m polardenoise.engine denoise " in log
    assert "CUDA_VISIBLE_DEVICES=0 " in log
    assert "images/s" in log


def test_relion_goes_on_from_the_denoised_set(project, relion):
    """Import, denoise, reconstruct both halves with CTF, mask, postprocess: the user's whole way."""
    from relion.protocols import ProtRelionCreateMask3D, ProtRelionPostprocess

    halves = scipion_project.reconstruct_with_relion(scipion_project.get_denoised())
    volume = mrcfile.read(halves[0].outputVolume.getFileName())
    assert np.isfinite(volume).all()
    assert volume.std() > 0
    mask = scipion_project.run_protocol(
        project,
        ProtRelionCreateMask3D,
        {"inputVolume": (halves[0], "outputVolume")},
        initialLowPassFilterA=30.0,
        threshold=float(volume.mean() + 2 * volume.std()),
        edge=5,
    )
    final = scipion_project.run_protocol(
        project,
        ProtRelionPostprocess,
        {
            "inputHalf1": (halves[0], "outputVolume"),
            "inputHalf2": (halves[1], "outputVolume"),
            "solventMask": (mask, "outputMask"),
        },
        relionInput=False,
        inputType=1,
        bfactorLowRes=30.0,
    )
    sharpened = mrcfile.read(final.outputVolume.getFileName())
    assert np.isfinite(sharpened).all()
    truth = mrcfile.read(scipion_project.get_simulation().outputVolume.getFileName())
    assert np.corrcoef(volume.ravel(), truth.ravel())[0, 1] > 0.5


def test_half_maps_of_denoised_particles_are_called_consistency(project):
    denoised = scipion_project.get_denoised()
    run = scipion_project.run_protocol(
        project,
        ProtPolarReconstruct,
        {"inputParticles": (denoised, "outputParticles")},
        numberOfThreads=1,
    )
    (curve,) = [curve.clone() for curve in run.outputFSC.iterItems()]
    assert "consistency, not resolution" in curve.getObjLabel()
    assert "consistency, not resolution" in " ".join(run.summary())
    assert any("consistent" in warning for warning in run.warnings())


def test_an_unordered_subset_without_ctf_by_class_with_a_trained_model(project):
    """Ids with holes, groups by class, a model of the project, the CTF-free output: all at once."""
    views = scipion_project.get_views()
    subset = scipion_project.run_protocol(
        project,
        ProtSubSet,
        {"inputFullSet": (views, "outputParticles")},
        chooseAtRandom=True,
        nElements=24,
    )
    run = denoise_with_trained_model(subset, grouping=GROUP_CLASS, setSize=4, ctfOutput=1)
    before, after = read_all(subset.outputParticles), read_all(run.outputParticles)
    assert len(before) == 24
    check_same_items(before, after)
    assert list(before) != list(range(1, 25))
    assert run.outputParticles.isPhaseFlipped()
    assert run.outputParticles.isAmplitudeCorrected()
    log = scipion_project.read_log(run)
    assert "--group-by rlnClassNumber" in log
    assert "--device cpu" in log
    assert "CUDA_VISIBLE_DEVICES" not in log
    assert any("without* CTF correction" in warning for warning in run.warnings())


def test_neighbours_give_classes_averages_and_a_score():
    """Of the input particles, within each half, and every particle in one class."""
    views = scipion_project.get_views()
    run = denoise_with_trained_model(views, grouping=GROUP_NEIGHBOURS, setSize=8)
    given, denoised = views.outputParticles, run.outputParticles
    halves = {item.getObjId(): item._rlnRandomSubset.get() for item in given.iterItems()}
    scores = [item._polardenoiseScore.get() for item in denoised.iterItems()]
    assert len(scores) == 64
    assert all(0 <= score <= 1 for score in scores)
    classes, averages = run.outputClasses, run.outputAverages
    assert classes.getImages().getFileName() == given.getFileName()
    assert classes.getSize() == averages.getSize() >= 2
    assert averages.getXDim() == 32
    found = []
    for one in classes.iterItems():
        assert one.getAlignment() == ALIGN_2D
        members = {item.getObjId(): item.getFileName() for item in one.iterItems()}
        assert {halves[number] for number in members} == {one._polardenoiseHalf.get()}
        # The raw particles: what is made of a class goes on from the data.
        assert set(members.values()) == {views.getResultPath("particles.mrcs")}
        assert mrcfile.read(one.getRepresentative().getFileName()).std() > 0
        found += members
    assert sorted(found) == sorted(halves)
    check_same_items(read_all(given), read_all(denoised), {*OWN, "_polardenoiseScore"})


def test_a_changed_parameter_changes_the_output(project):
    """Continue mode: what depends on the parameter runs again, all of it."""
    views = scipion_project.get_views()
    run = denoise_with_trained_model(views, setSize=4, grouping=GROUP_RANDOM)
    before = read_stack(run.outputParticles)
    run.setSize.set(16)
    project.launchProtocol(run, wait=True)
    assert run.isFinished(), scipion_project.read_log(run)
    after = read_stack(run.outputParticles)
    assert not np.array_equal(before, after)
    assert "--set-size 16" in scipion_project.read_log(run)


def test_particles_without_halves_get_them():
    """The drawn halves are written to the items, and the user is told before."""
    simulation = scipion_project.get_views()
    bare = "bare.star"
    with open(simulation.getResultPath("particles.star")) as source, open(bare, "w") as target:
        for line in source:
            target.write(line.replace("_rlnRandomSubset", "_someNumber"))
    imported = import_star(bare, simulation.outputParticles.getSamplingRate())
    run = denoise_with_trained_model(imported)
    assert any("no random halves" in warning for warning in run.warnings())
    halves = [item._rlnRandomSubset.get() for item in run.outputParticles.iterItems()]
    assert halves.count(1) == halves.count(2) == 32
    own = {*SCORED, "_rlnRandomSubset"}
    check_same_items(read_all(imported.outputParticles), read_all(run.outputParticles), own)


def test_what_cannot_work_is_said_before_the_run(project):
    views = (scipion_project.get_views(), "outputParticles")

    def validate(**params):
        run = project.newProtocol(ProtPolarDenoise, **params)
        scipion_project.set_input(run, "inputParticles", views)
        return " ".join(run.validate())

    assert validate(grouping=GROUP_CLASS) == ""
    assert "no attribute _nothing" in validate(grouping=GROUP_ATTRIBUTE, groupAttribute="_nothing")
    assert "trained model" in validate(modelSource=1)
    assert "Images per set" in validate(setSize=0)
    assert project.newProtocol(ProtPolarDenoise).validate()


def test_a_bad_pixel_is_named_and_nothing_is_left():
    views = scipion_project.get_views()
    pixels = read_stack(views.outputParticles)
    os.makedirs("bad", exist_ok=True)
    with mrcfile.new("bad/images.mrcs", overwrite=True) as file:
        file.set_data(pixels)
        file.set_image_stack()
    with mrcfile.mmap("bad/images.mrcs", mode="r+") as file:
        file.data[6, 3, 3] = np.nan
    original = views.getResultPath("particles.mrcs")
    with open(views.getResultPath("particles.star")) as source, open("bad.star", "w") as target:
        for line in source:
            target.write(line.replace(original, "bad/images.mrcs"))
    imported = import_star("bad.star", views.outputParticles.getSamplingRate())
    run = denoise_with_trained_model(imported, must_finish=False)
    assert run.isFailed()
    assert "row 7" in run.getErrorMessage()
    assert "Traceback" not in run.getErrorMessage()
    assert not hasattr(run, "outputParticles")
    assert not os.path.exists(run._getExtraPath("denoised.star"))
    assert not os.path.exists(run._getExtraPath("denoised.mrcs"))
