"""Protocol `evaluate`: the truth, pure noise, and half against half, each with its numbers and curves."""

import re

import numpy as np
import pytest

from polardenoise.tests import scipion_project

from polardenoise.engine.evaluate.against_truth import compare_particles  # isort: skip
from polardenoise.engine.particles.particle_set import read_particles  # isort: skip
from polardenoise.protocols import ProtPolarEvaluate  # isort: skip
from polardenoise.convert.star_loops import read_loop  # isort: skip
from polardenoise.tests.scipion_project import read_stack  # isort: skip

# Several launches each: minutes on a machine that is busy with other work.
pytestmark = [pytest.mark.usefixtures("project"), pytest.mark.timeout(900)]

TRUTH, NULL, HALVES = 0, 1, 2


def evaluate(inputs, **params):
    settings = {"useGpu": False, "numberOfThreads": 1, **params}
    return scipion_project.run_protocol(
        scipion_project.get_project(), ProtPolarEvaluate, inputs, **settings
    )


def read_curves(run):
    return {
        curve.getObjLabel(): np.array(list(curve.getData()[1]), float)
        for curve in (item.clone() for item in run.outputFSC.iterItems())
    }


def test_the_error_against_the_truth_then_half_against_half(project):
    """One run, continued with another test: its numbers and curves replace the first ones."""
    denoised, views = scipion_project.get_denoised_views(), scipion_project.get_views()
    inputs = {
        "inputParticles": (denoised, "outputParticles"),
        "referenceParticles": (views, "outputClean"),
        "rawParticles": (views, "outputParticles"),
    }
    run = evaluate(inputs)
    summary = run.readSummary("summary.json")
    stars = [run._getExtraPath(name) for name in ("particles.star", "clean.star")]
    own = compare_particles(*map(read_particles, stars), "test")
    assert summary["relative_mse"] == pytest.approx(own.relative_mse())
    # The disk and the whole box differ little; another order of the rows would give far more than 1.
    images, truth = read_stack(denoised.outputParticles), read_stack(views.outputClean)
    by_hand = ((images - truth) ** 2).sum() / (truth**2).sum()
    assert summary["relative_mse"] == pytest.approx(by_hand, rel=0.1)
    curves = read_curves(run)
    name = "denoised against truth (mean FRC)"
    assert name in curves
    np.testing.assert_allclose(curves[name], summary["frc"][1:], atol=1e-4)
    text = " ".join(run.summary())
    assert "Relative squared error of 64 images" in text
    assert "*Next*: " in text
    # The raw side beside it, although the form names none: the run that denoised says what it took.
    stars = [run._getExtraPath(name) for name in ("raw.star", "clean.star")]
    noisy = compare_particles(*map(read_particles, stars), "test")
    assert summary["relative_mse_noisy"] == pytest.approx(noisy.relative_mse())
    assert noisy.relative_mse() > 2 * own.relative_mse()
    assert f"(raw {summary['relative_mse_noisy']:.2f})" in text
    np.testing.assert_allclose(curves["noisy against truth"], summary["frc_noisy"][1:], atol=1e-4)
    assert "64 denoised images were compared with their truth" in run._methods()[0]

    run.test.set(HALVES)
    run.useRawParticles.set(True)
    project.launchProtocol(run, wait=True)
    assert run.isFinished(), scipion_project.read_log(run)
    curves = read_curves(run)
    assert list(curves) == ["half maps, denoised (consistency, not resolution)", "half maps, raw"]
    summary = run.readSummary("summary.json")
    assert summary["particles"]["denoised"]
    assert not summary["raw"]["denoised"]
    text = " ".join(run.summary())
    assert "Denoised: FSC 0.143" in text
    assert "(consistency, not resolution)" in text
    assert "Raw: FSC 0.143" in text
    # 64 particles in 4 views.
    assert "(of too few views, not resolution)" in text
    few = r"Warning \((raw|denoised)\): the particles are seen from too few sides \(\d views\)"
    assert re.search(few, text)
    assert "*Next*: add particles of other views" in text
    # The same particles, poses and halves in both, other pixels.
    rows = [
        list(read_loop(run._getExtraPath(name), "particles"))
        for name in ("particles.star", "raw.star")
    ]
    assert len(rows[0]) == len(rows[1]) == 64
    for one, other in zip(*rows):
        for label in ("polardenoiseObjId", "rlnAngleRot", "rlnAnglePsi", "rlnRandomSubset"):
            assert one[label] == other[label]
        assert one["rlnImageName"] != other["rlnImageName"]


def test_a_model_is_tested_on_noise():
    training = scipion_project.get_training()
    run = evaluate(
        {"inputModel": (training, "outputModel")}, test=NULL, modelSource=1, numberOfImages=32
    )
    summary = run.readSummary("summary.json")
    assert summary["images"] == 32
    assert summary["box"] == 32
    curves = read_curves(run)
    assert list(curves) == [
        "raw, random poses",
        "denoised, random poses",
        "raw, aligned",
        "denoised, aligned",
    ]
    assert all(len(curve) == 16 for curve in curves.values())
    assert re.search(r"(passed|missed) \d of 6 checks", run.summary()[0])
    assert "Of pure noise" in run.summary()[1]
    missed = {name: bar for name, bar in summary["bars"].items() if not bar["met"]}
    assert all(name in run.summary()[0] for name in missed)
    expected = "do not trust" if missed else "denoise with it, look, sort and align"
    if missed and all(bar["within_chance"] for bar in missed.values()):
        expected = "test it again with another seed"
    assert run.summary()[-1].startswith(f"*Next*: {expected}")
    sha = run.getModelHash()[:12]
    assert f"weights {sha}" in run._methods()[0]
    assert "polardenoise 0." in run._methods()[0]


def test_what_cannot_be_judged_is_said_before_the_run(project):
    views, training = scipion_project.get_views(), scipion_project.get_training()

    def validate(inputs, **params):
        run = project.newProtocol(ProtPolarEvaluate, **params)
        for name, source in inputs.items():
            scipion_project.set_input(run, name, source)
        return " ".join(run.validate())

    noisy = (views, "outputParticles")
    assert "Choose the denoised" in validate({})
    assert "Choose the truth" in validate({"inputParticles": noisy})
    other = (scipion_project.get_simulation(), "outputClean")
    wide = {"inputParticles": noisy, "referenceParticles": other}
    assert "64 pixels wide" in validate(wide)
    for images in (noisy, (scipion_project.get_denoised_views(), "outputParticles")):
        # As Scipion fills in a new form from the selected run.
        itself = {"inputParticles": images, "referenceParticles": images}
        assert "*outputClean* of *simulate particles*" in validate(itself)
    halves = {"test": HALVES, "useRawParticles": True}
    assert validate({"inputParticles": noisy, "rawParticles": noisy}, **halves) == ""
    assert "answer *Raw particles beside them?* with No" in validate(
        {"inputParticles": noisy}, **halves
    )
    assert "trained model" in validate({}, test=NULL, modelSource=1)
    assert "Name the model" in validate({}, test=NULL, modelSource=2)
    assert validate({"inputModel": (training, "outputModel")}, test=NULL, modelSource=1) == ""
    assert validate({}, test=NULL) == ""
