"""Protocol `train denoiser`: a model that flows on, and a training that can be continued."""

import csv
import os

import pytest
from safetensors import safe_open

from polardenoise.tests import scipion_project

from polardenoise.objects import PolarModel  # isort: skip
from polardenoise.protocols import ProtPolarTrain  # isort: skip
from polardenoise.protocols.sources import list_phantoms  # isort: skip

pytestmark = pytest.mark.usefixtures("project")


def count_steps(run):
    with open(run.getTrainingPath("history.csv"), newline="") as file:
        return int(list(csv.DictReader(file))[-1]["step"])


def test_the_model_says_what_it_is():
    run = scipion_project.get_training()
    model = run.outputModel
    assert isinstance(model, PolarModel)
    assert model.getArchitecture() == "polar-transformer"
    assert model.getBoxSize() == 32
    assert len(model.getWeightsHash()) == 64
    assert model.getVersion()
    assert {os.path.basename(path) for path in model.getFiles()} == {
        "model.json",
        "weights.safetensors",
    }
    assert "polar-transformer, 32 px" in str(model)
    with safe_open(os.path.join(model.getPath(), "weights.safetensors"), "numpy") as weights:
        assert list(weights.keys())
    assert count_steps(run) == 4
    assert any("4 steps" in line for line in run.summary())


def test_the_model_survives_in_the_project(project):
    model = project.getProtocol(scipion_project.get_training().getObjId()).outputModel
    assert model.getWeightsHash() == scipion_project.get_training().outputModel.getWeightsHash()
    assert model.getBoxSize() == 32


def test_more_steps_go_on_from_the_checkpoint(project):
    run = scipion_project.run_protocol(
        project,
        ProtPolarTrain,
        phantoms="1",
        preset=1,
        steps=2,
        architecture=2,
        useGpu=False,
        numberOfThreads=1,
    )
    before = run.outputModel.getWeightsHash()
    run.steps.set(5)
    project.launchProtocol(run, wait=True)
    assert run.isFinished(), scipion_project.read_log(run)
    assert "--resume" in scipion_project.read_log(run)
    assert count_steps(run) == 5
    assert run.outputModel.getWeightsHash() != before
    # Other lengths are the same training; another seed is another one, and starts anew.
    run.minutes.set(5.0)
    assert run.findCheckpoint(run.getConfiguration())
    run.seed.set(1)
    assert not run.findCheckpoint(run.getConfiguration())
    assert not os.path.exists(run.getTrainingPath())


def test_starting_from_a_model_takes_its_network(project):
    training = scipion_project.get_training()
    run = project.newProtocol(ProtPolarTrain, architecture=2)
    scipion_project.set_input(run, "inputModel", (training, "outputModel"))
    assert run.getArchitecture() == "polar-transformer"


def test_phantoms_are_numbers_and_ranges():
    assert list_phantoms("1-20, 35 40 - 42") == ["phantom:1-20", "phantom:35", "phantom:40-42"]
    assert list_phantoms("") == []
    for text in ("a", "1-", "10000", "3-10001", "1.5"):
        with pytest.raises(ValueError, match=r"[Pp]hantoms"):
            list_phantoms(text)


def test_what_cannot_be_learnt_from_is_said_before_the_run(project):
    assert project.newProtocol(ProtPolarTrain).validate() == []
    assert project.newProtocol(ProtPolarTrain, phantoms="").validate()
    assert any(
        "tests" in error
        for error in project.newProtocol(ProtPolarTrain, phantoms="10001").validate()
    )
