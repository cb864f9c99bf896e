"""Protocol `train denoiser`: a model that flows on, and a training that can be continued."""

import csv
import os

import pytest
from safetensors import safe_open

from polardenoise.tests import scipion_project

from polardenoise.constants import SHIPPED_MODELS  # isort: skip
from polardenoise.convert.particle_columns import OBJECT_ID  # isort: skip
from polardenoise.objects import PolarModel  # isort: skip
from polardenoise.protocols import ProtPolarTrain  # isort: skip
from polardenoise.protocols.run_settings import read_json  # isort: skip
from polardenoise.protocols.sources import list_phantoms  # isort: skip
from polardenoise.convert.star_loops import read_loop  # isort: skip

pytestmark = pytest.mark.usefixtures("project")


def count_steps(run, half=0):
    with open(run.getTrainingPath("history.csv", half=half), newline="") as file:
        return int(list(csv.DictReader(file))[-1]["step"])


def train(must_finish=True, inputs=None, **params):
    """Train a tiny network on the processor."""
    settings = {"preset": 1, "useGpu": False, "numberOfThreads": 1, "binThreads": 1, **params}
    project = scipion_project.get_project()
    return scipion_project.run_protocol(
        project, ProtPolarTrain, inputs, must_finish=must_finish, **settings
    )


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
    run = train(phantoms="1", steps=2, architecture=2)
    before = run.outputModel.getWeightsHash()
    run.steps.set(5)
    project.launchProtocol(run, wait=True)
    assert run.isFinished(), scipion_project.read_log(run)
    assert "--resume" in scipion_project.read_log(run)
    assert count_steps(run) == 5
    assert run.outputModel.getWeightsHash() != before

    # An earlier run trained longer: its steps and ours, and it stays as it was.
    longer = train(doContinue=True, steps=3, inputs={"continueRun": (run, None)})
    assert count_steps(longer) == 8
    assert count_steps(run) == 5
    assert longer.outputModel.getArchitecture() == "dncnn"
    assert longer.outputModel.getWeightsHash() != run.outputModel.getWeightsHash()
    assert read_json(longer.getTrainingPath("model", "model.json"))["trained_on"]["steps"] == 8

    # Other lengths are the same training; another seed is another one, and starts anew.
    run.minutes.set(5.0)
    assert run.findCheckpoint(run.getConfiguration())
    run.seed.set(1)
    assert not run.findCheckpoint(run.getConfiguration())
    assert not os.path.exists(run.getTrainingPath())


def test_a_model_of_each_half_of_a_pair_of_sets(project):
    """Each half learns from its own particles, matched with their truth by id."""
    views = scipion_project.get_views()
    inputs = {
        "inputParticles": (views, "outputParticles"),
        "referenceParticles": (views, "outputClean"),
    }
    run = train(trainOn=1, perHalf=True, steps=2, inputs=inputs)
    models = run.outputModelHalf1, run.outputModelHalf2
    assert [model.getTrainingHalf() for model in models] == [1, 2]
    assert models[0].getWeightsHash() != models[1].getWeightsHash()
    assert not hasattr(run, "outputModel")
    halves = {item.getObjId(): item._rlnRandomSubset.get() for item in views.outputParticles}
    for half in (1, 2):
        assert count_steps(run, half) == 2
        noisy, clean = (list(read_loop(path, "particles")) for path in run.getPairPaths(half))
        ids = [int(row[OBJECT_ID]) for row in noisy]
        assert ids == [number for number in sorted(halves) if halves[number] == half]
        assert ids == [int(row[OBJECT_ID]) for row in clean]
    # Pressing Continue after a change: the old models are gone, even while nothing new is there.
    run.perHalf.set(False)
    run.recipe.set(os.path.abspath("broken.json"))
    with open("broken.json", "w") as file:
        file.write("{")
    project.launchProtocol(run, wait=True)
    assert run.isFailed()
    assert "broken.json" in run.getErrorMessage()
    assert list(run.iterOutputAttributes()) == []
    assert list(project.getProtocol(run.getObjId()).iterOutputAttributes()) == []


def test_images_like_those_of_a_set_from_a_shipped_model(project):
    """The set's STAR file goes to the engine, and the network is the shipped one's."""
    simulation = scipion_project.get_simulation()
    run = project.newProtocol(ProtPolarTrain, startName=2, phantoms="1", useLikeParticles=True)
    scipion_project.set_input(run, "likeParticles", (simulation, "outputParticles"))
    words = [str(word) for word in run.getTrainingOptions(0)]
    assert run.validate() == []
    assert run.getArchitecture() == "dncnn"
    assert words[words.index("--init") + 1] == SHIPPED_MODELS[1]
    assert words[words.index("--like") + 1].endswith("like.star")


def test_starting_from_a_model_takes_its_network(project):
    training = scipion_project.get_training()
    run = project.newProtocol(ProtPolarTrain, architecture=2, useInputModel=True)
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
    assert any("earlier run" in error for error in validate(project, doContinue=True))
    assert any("both" in error for error in validate(project, trainOn=1))
    assert any("no recipe" in error for error in validate(project, recipe="/nowhere.json"))


def validate(project, **params):
    return project.newProtocol(ProtPolarTrain, **params).validate()
