"""The standing training goes on after a kill, waits when it must, and keeps what any other machine goes on from."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.common.quiet import is_quiet_wanted, keeping_quiet
from benchmarks.models import standing
from benchmarks.models.stages import STAGES, choose_stage, lay_recipe, read_stages
from polardenoise.engine.cli import main as polardenoise
from polardenoise.engine.networks.checkpoint import find_model, load_model, read_card
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.train.history import read_history
from polardenoise.engine.train.loss import measure_validation
from polardenoise.engine.train.recipe import choose_preset, recipe_from_dict
from polardenoise.engine.train.simulated_feed import feed_from_sources
from polardenoise.engine.train.sources import expand_sources
from tests.places import REPOSITORY

AUTOGROUP = Path("/proc/self/autogroup")

SECONDS = 120


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A tiny model that has learnt a little."""
    folder = tmp_path_factory.mktemp("shipped") / "run"
    command = ["train", "phantom:1", "--preset", "tiny", "--steps", "2", "-o", str(folder)]
    assert polardenoise(command) == 0
    shutil.copy2(folder / "history.csv", folder / "model")
    return folder / "model"


def write_stages(folder, start, steps=(6, 5)):
    settings = {"images_per_step": 16, "images_per_set": [8], "warmup_steps": 2, "averaging": 0.9}
    settings["precision"] = "float32"
    text = {
        "recipe": {**settings, "validation_sets": 2, "noise_images": 16, "learning_rate": 3e-3},
        "models": {"toy": {"start": str(start)}},
        "stages": [
            {"name": name, "steps": length, "recipe": {"snr": [least, 0.3]}}
            for name, length, least in zip(("one", "two"), steps, (0.02, 0.05), strict=False)
        ],
    }
    (folder / "stages.json").write_text(json.dumps(text))


class Standing:
    """Commands of the standing training in a folder."""

    def __init__(self, folder):
        self.folder, self.state, self.checkpoint = folder, folder / "state", folder / "kept"

    def command(self, action, *words):
        places = ["--state", self.state, "--checkpoint", self.checkpoint]
        options = ["--stages", self.folder / "stages.json", "--sources", "phantom:1-2", *places]
        command = [action, "--name", "toy", *options, "--report-every", "0", *words]
        return [str(word) for word in command]

    def run(self, action, *words):
        return standing.main(self.command(action, *words))

    def steps(self, stage="one"):
        history = self.state / stage / "history.csv"
        return [int(row["step"]) for row in read_history(history)] if history.exists() else []

    def log(self):
        log = self.state / "log"
        return log.read_text() if log.exists() else ""


@pytest.fixture
def toy(tmp_path, shipped, monkeypatch):
    """The tests' own processes stay as quick as they were, and hold the usual quiet file: this one has another."""
    monkeypatch.setattr(os, "setpriority", lambda *_: None)
    monkeypatch.setenv("POLARDENOISE_QUIET", str(tmp_path / "quiet"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(REPOSITORY)
    threads = torch.get_num_threads()
    write_stages(tmp_path, shipped)
    toy = Standing(tmp_path)
    yield toy
    toy.run("stop")
    torch.set_num_threads(threads)


def wait_until(happens):
    end = time.monotonic() + SECONDS
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_stages_follow_one_another_and_end(toy, capsys):
    assert toy.run("train") == 0
    card = read_card(toy.checkpoint)
    stages = card.trained_on["standing"]["stages"]
    assert [(one["name"], one["steps"], one["images"]) for one in stages] == [
        ("one", 6, 96),
        ("two", 5, 80),
    ]
    assert card.noise_energy.keys() == {"none", "ctf"}
    assert card.trained_on["recipe"]["snr"] == [0.05, 0.3]
    assert "host" not in card.trained_on["machine"]
    assert "working_directory" not in card.trained_on
    # One history of both, counted from the first step; each rate decays by steps, to nothing at the stage's end.
    with (toy.checkpoint / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == list(range(1, 12))
    assert [int(row["images"]) for row in rows] == list(range(16, 177, 16))
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates[2] > rates[5] < rates[7]
    assert (toy.checkpoint / "history.png").read_bytes().startswith(b"\x89PNG")
    # Read again the checkpoint has the error of its last row.
    model, _ = load_model(str(toy.checkpoint))
    preset = choose_preset("base", card.architecture)
    recipe = recipe_from_dict(card.trained_on["recipe"], preset, "")
    cpu = torch.device("cpu")
    feed = feed_from_sources(expand_sources(["phantom:1"]), recipe, 32, 0, cpu)
    error = measure_validation(model, feed.validation, torch.float32)
    assert f"{error:.5f}" == rows[-1]["validation_relative_mse"]
    assert card.figures["validation_relative_mse"] == pytest.approx(error, abs=1e-5)
    capsys.readouterr()
    assert toy.run("train") == 0
    assert "all stages have ended" in capsys.readouterr().out


def test_a_killed_training_goes_on_as_if_nothing_had_happened(toy, tmp_path, shipped):
    write_stages(tmp_path, shipped, steps=(10,))
    assert toy.run("start") == 0
    wait_until(lambda: len(toy.steps()) > 2)
    os.kill(int((toy.state / "process").read_text()), signal.SIGKILL)
    wait_until(lambda: standing.find_process(toy.state) is None)
    assert toy.run("train") == 0
    whole = Standing(tmp_path)
    whole.state, whole.checkpoint = tmp_path / "whole", tmp_path / "whole-kept"
    assert whole.run("train") == 0
    assert toy.steps() == whole.steps() == list(range(1, 11))
    weights = [one.checkpoint / "weights.safetensors" for one in (toy, whole)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_it_waits_while_quiet_is_wanted(toy, tmp_path, shipped):
    write_stages(tmp_path, shipped, steps=(100000,))
    assert toy.run("start") == 0
    wait_until(lambda: len(toy.steps()) > 2)
    with keeping_quiet():
        wait_until(lambda: "waits (quiet is wanted)" in toy.log())
        waited = toy.steps()[-1]
        time.sleep(1.5)
        assert toy.steps()[-1] == waited
    wait_until(lambda: toy.steps()[-1] > waited)
    assert "goes on" in toy.log()
    # Whoever waits is stopped all the same, and a second one is not started.
    with keeping_quiet():
        wait_until(lambda: toy.log().count("waits (quiet is wanted)") == 2)
        process = standing.find_process(toy.state)
        assert toy.run("start") == 0
        assert toy.run("train") == 2
        assert standing.find_process(toy.state) == process
        assert toy.run("stop") == 0
    assert standing.find_process(toy.state) is None


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="a kernel that does not group sessions")
def test_it_leaves_the_processor_to_other_sessions():
    code = (
        "import os; from benchmarks.models.standing import take_least_priority; take_least_priority();"
        "print(os.getpriority(os.PRIO_PROCESS, 0), open('/proc/self/autogroup').read())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        start_new_session=True,
        check=True,
        capture_output=True,
        text=True,
    )
    nice, _, autogroup = told.stdout.partition(" ")
    assert nice == "19"
    assert autogroup.split()[-1] == "19"


def test_a_file_or_a_measurement_makes_it_wait(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("POLARDENOISE_QUIET", str(tmp_path / "quiet"))
    must_wait = standing.tell_waiting(tmp_path / "pause")
    assert not must_wait()
    (tmp_path / "pause").touch()
    assert must_wait()
    (tmp_path / "pause").unlink()
    assert not must_wait()
    with keeping_quiet(), keeping_quiet():
        assert must_wait()
    assert not must_wait()
    assert capsys.readouterr().out.splitlines() == [
        "standing: waits (pause)",
        "standing: goes on",
        "standing: waits (quiet is wanted)",
        "standing: goes on",
    ]


def test_these_tests_keep_the_machine_quiet():
    assert is_quiet_wanted()


def test_the_lock_of_a_dead_process_does_not_count(tmp_path, monkeypatch):
    monkeypatch.setenv("POLARDENOISE_QUIET", str(tmp_path / "quiet"))
    command = [sys.executable, "-m", "benchmarks.common.quiet", "sleep", "60"]
    holder = subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True)
    wait_until(is_quiet_wanted)
    os.killpg(holder.pid, signal.SIGKILL)
    holder.wait()
    assert not is_quiet_wanted()


def test_another_machine_goes_on_from_a_checkpoint_kept_in_the_middle(toy, tmp_path):
    assert toy.run("train", "--minutes", "0.02") == 0
    assert toy.run("keep") == 0
    card = read_card(toy.checkpoint)
    kept = card.trained_on["standing"]
    assert kept["stages"] == []
    assert kept["under_way"]["name"] == "one"
    done = kept["under_way"]["steps"]
    assert toy.run("keep") == 0  # kept again it is not counted twice
    assert read_card(toy.checkpoint).trained_on["standing"] == kept
    shutil.rmtree(toy.state)
    assert toy.run("train") == 0
    stages = read_card(toy.checkpoint).trained_on["standing"]["stages"]
    assert [one["name"] for one in stages] == ["part of one", "one", "two"]
    rows = read_history(toy.checkpoint / "history.csv")
    assert int(rows[-1]["step"]) == done + 11
    assert toy.run("keep") == 2


def test_the_stages_of_base_can_be_trained():
    found = read_stages(STAGES)
    for name, model in found.models.items():
        card = read_card(find_model(model.start))
        preset = choose_preset("base", card.architecture)
        for stage in found.stages:
            laid = lay_recipe(found, model, stage, card.sizes)
            recipe = recipe_from_dict(laid, preset, name)
            assert recipe.averaging > 0
            assert recipe.sizes == card.sizes
            assert {voltage for voltage, _ in recipe.microscopes} == {120, 200, 300}
            # Convolutions that are compiled see one number of images.
            assert all(recipe.images_per_step % images == 0 for images in recipe.images_per_set)
            assert max(recipe.images_per_set) <= 128


def test_the_first_stage_that_has_not_ended_comes_next(tmp_path, shipped):
    write_stages(tmp_path, shipped)
    stages = read_stages(tmp_path / "stages.json").stages
    assert choose_stage(stages, []).name == "one"
    assert choose_stage(stages, ["one"]).name == "two"
    assert choose_stage(stages, ["two", "one"]) is None
    text = json.loads((tmp_path / "stages.json").read_text())
    text["stages"][1]["name"] = "one"
    (tmp_path / "stages.json").write_text(json.dumps(text))
    with pytest.raises(InputError, match="two have one name"):
        read_stages(tmp_path / "stages.json")
