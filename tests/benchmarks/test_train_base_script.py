"""The training of `base` on a lent machine, at toy size: packed, paused, brought back, gone on with elsewhere."""

import csv
import json
import os
import shutil
import subprocess
import sys
import tarfile

import pytest

from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.simulate.sources import read_density
from polardenoise.engine.train.recipe import choose_recipe
from polardenoise.engine.train.simulated_sets import load_molecule
from tests.places import BENCHMARKS, REPOSITORY

NAMES = ("base", "base-dncnn")


def run(*words, **environment):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHON": sys.executable, **environment}
    command = [str(word) for word in words]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=450
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def carry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("carry")
    pack = [sys.executable, "-m", "benchmarks.models.pack_structures", "phantom:1-2", "--box", "32"]
    run(*pack, "-o", folder / "molecules")
    return folder


def test_a_packed_molecule_is_the_molecule(carry):
    packed = load_molecule(str(carry / "molecules" / "phantom-1.mrc.gz"), 32, 0.9)
    plain = load_molecule("phantom:1", 32, 0.9)
    assert packed.pixel_size == pytest.approx(plain.pixel_size, abs=1e-4)
    scale = (plain.volume * packed.volume).sum() / packed.volume.square().sum()
    error = (plain.volume - scale * packed.volume).square().sum()
    assert error < 5e-4 * plain.volume.square().sum()
    # Those to validate on are filled as the history's figure wants them.
    packed = read_density(str(carry / "molecules" / "phantom-9990.mrc.gz"), 32, None, 80.0)
    plain = load_molecule("phantom:9990", 32, 0.7)
    assert packed.pixel_size == pytest.approx(plain.pixel_size, abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_recipes_of_base_can_be_read(name):
    architecture = "dncnn" if name.endswith("dncnn") else "polar-transformer"
    recipe = choose_recipe("base", architecture, BENCHMARKS / "models" / f"{name}.json")
    assert recipe.snr == (0.01, 0.3)
    assert recipe.fill == (0.35, 0.9)
    assert {voltage for voltage, _ in recipe.microscopes} == {120, 200, 300}
    # Convolutions that are compiled see one number of images.
    assert all(recipe.images_per_step % images == 0 for images in recipe.images_per_set)


@pytest.mark.timeout(900)
@pytest.mark.long
def test_both_trainings_go_on_with_what_came_back(carry, tmp_path):
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    for name in NAMES:
        (recipes / f"{name}.json").write_text('{"junk_share": 0.1, "coloured_share": 0.5}')
    toy = {"CARRY": str(carry), "RECIPES": str(recipes), "PRESET": "tiny", "SECONDS_EACH": "0.2"}

    def call(number, pause_after):
        out = tmp_path / f"out{number}"
        script = ["sh", BENCHMARKS / "models" / "train_base.sh", "0.3", pause_after, out]
        return out, run(*script, **toy, WORK=str(tmp_path / f"machine{number}"))

    def read_steps(out, name):
        with tarfile.open(out / "models.tar") as archive:
            archive.extractall(out, filter="data")
        with (out / name / "history.csv").open() as stream:
            return [int(row["step"]) for row in csv.DictReader(stream)]

    first, said = call(1, "0.05")
    assert "speed of polar-transformer: simulation " in said
    assert "paused" in (first / "base.log").read_text()
    files = list(first.iterdir())
    assert len(files) <= 8
    assert max(path.stat().st_size for path in files) < 16 * 2**20
    paused = {
        name: json.loads((tmp_path / "machine1" / f"{name}.json").read_text()) for name in NAMES
    }

    (carry / "parts").mkdir()
    for part in first.glob("training.tar.*"):
        shutil.copy2(part, carry / "parts")
    second, said = call(2, "5")
    assert "speed of" not in said  # it travels along
    for name in NAMES:
        ended = json.loads((tmp_path / "machine2" / f"{name}.json").read_text())
        assert ended["steps"] > paused[name]["steps"] > 0
        assert ended["images"] > paused[name]["images"]
        assert not ended["paused"]
        assert ended["minutes"] >= 0.3
        steps = read_steps(second, name)
        assert steps == sorted(set(steps))
        assert {paused[name]["steps"], ended["steps"]} <= set(steps)
        model, card = load_model(str(second / name))
        assert model.config.box == 32
        assert card.trained_on["sources"] == ["phantom-1.mrc.gz", "phantom-2.mrc.gz"]
        assert card.trained_on["steps"] == ended["steps"]
