"""Protocol `adapt denoiser`: a model of the set's own, or the one that came in with the reason why."""

import json
import os

import pytest

from polardenoise.tests import scipion_project

from polardenoise.objects import PolarModel  # isort: skip
from polardenoise.protocols import ProtPolarAdapt, ProtPolarDenoise, ProtPolarSimulate

pytestmark = pytest.mark.usefixtures("project")

ON_PROCESSOR = {"useGpu": False, "numberOfThreads": 1, "binThreads": 1}
TRAINED = 1


@pytest.fixture(scope="module")
def particles(module_project):
    """Enough small particles for both halves."""
    return scipion_project.run_protocol(
        module_project,
        ProtPolarSimulate,
        numberOfParticles=240,
        boxSize=32,
        snr=1.0,
        doCTF=False,
        numberOfThreads=1,
    )


@pytest.fixture(scope="module")
def adapted(module_project, particles):
    return scipion_project.run_protocol(
        module_project,
        ProtPolarAdapt,
        {
            "inputParticles": (particles, "outputParticles"),
            "inputModel": (scipion_project.get_training(), "outputModel"),
        },
        modelSource=TRAINED,
        minutes=0.2,
        **ON_PROCESSOR,
    )


def test_the_model_is_the_engines_and_the_summary_tells_the_gates(adapted):
    model = adapted.outputModel
    assert isinstance(model, PolarModel)
    assert model.getBoxSize() == 32
    with open(os.path.join(model.getPath(), "model.json")) as file:
        card = json.load(file)
    summary = adapted.readSummary("summary.json")
    came_in = scipion_project.get_training().outputModel.getWeightsHash()
    # Something was taken, and is in the card; or the weights are those that came in.
    assert (model.getWeightsHash() != came_in) == summary["adapted"]
    assert bool(card.get("adapted")) == summary["adapted"]
    lines = adapted.summary()
    assert [line.startswith("*Not adapted*") for line in lines[:1]] == [not summary["adapted"]]
    for half, known in summary["halves"].items():
        (line,) = [line for line in lines if line.startswith(f"Half {half}:")]
        assert ("left as it was" in line) == (not known["taken"])


def test_these_particles_are_denoised_with_it(project, adapted, particles):
    run = scipion_project.run_protocol(
        project,
        ProtPolarDenoise,
        {
            "inputParticles": (particles, "outputParticles"),
            "inputModel": (adapted, "outputModel"),
        },
        modelSource=TRAINED,
        **ON_PROCESSOR,
    )
    assert run.outputParticles.getSize() == 240
    log = scipion_project.read_log(run)
    assert "--set-size" not in log
    assert "adapted to other particles" not in log


def test_what_cannot_be_adapted_is_refused_on_the_form(project, particles):
    run = project.newProtocol(ProtPolarAdapt, modelName=1)
    scipion_project.set_input(run, "inputParticles", (particles, "outputParticles"))
    assert run.getModel() == "base-dncnn"
    assert any("by itself" in error for error in run.validate())
