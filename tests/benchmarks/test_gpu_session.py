"""Sessions on a lent GPU machine, at toy size: tests and tables, and both trainings at the same time."""

import json
import os
import shutil
import subprocess
import sys
import tarfile

import pytest

from polardenoise.engine.cli import main as polardenoise
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.simulate.sources import read_density
from polardenoise.engine.train.simulated_sets import load_molecule
from tests.places import BENCHMARKS, REPOSITORY


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


@pytest.mark.long
def test_the_speed_of_a_training_is_measured(carry, tmp_path):
    """Whoever trains on a machine is told first what it does: images a second, and whether to compile."""
    trained = tmp_path / "trained"
    words = ["phantom:1", "--preset", "tiny", "--steps", "1", "-o", str(trained)]
    assert polardenoise(["train", *words]) == 0
    recipe = {"images_per_set": [8], "validation_sets": 2}
    models = {"toy": {"start": str(trained / "model")}}
    text = {"recipe": recipe, "models": models, "stages": [{"name": "only", "steps": 1}]}
    (tmp_path / "stages.json").write_text(json.dumps(text))
    measure = [sys.executable, "-m", "benchmarks.models.train_base_speed", "--name", "toy"]
    options = ["--stages", tmp_path / "stages.json", "--images-per-step", 16, "--seconds", 0.2]
    said = run(*measure, *options, "-o", tmp_path / "speed.json", carry / "molecules/MANIFEST.tsv")
    speed = json.loads((tmp_path / "speed.json").read_text())
    assert f"speed of toy: simulation {speed['simulation']:.4g}\n" in said
    assert speed["images_per_step"] == 16
    # Both in turn take as long as each of them together, roughly; on a processor nothing is compiled.
    in_turn = 1 / (1 / speed["simulation"] + 1 / speed["step"])
    assert 0.2 * in_turn < speed["training"] < 5 * in_turn
    assert not speed["compile"]


@pytest.mark.timeout(900)
@pytest.mark.long
def test_tests_first_then_the_speed_tables(carry, tmp_path):
    """Toy sizes: whole sets are denoised; the tables themselves have a test of their own."""
    toy = {"CARRY": str(carry), "SPEED": "none", "PARTICLES": "64"}
    work = tmp_path / "machine"
    out = tmp_path / "out"
    said = run("sh", BENCHMARKS / "models" / "gpu_session.sh", out, 10, **toy, WORK=str(work))
    assert said.index("tests: exit status 0") < said.index("speed: exit status 0")
    assert [path.name for path in out.iterdir()] == ["session.tar.gz"]
    with tarfile.open(out / "session.tar.gz") as files:
        files.extractall(out, filter="data")
    assert "skipped" in (out / "said" / "tests.log").read_text()  # there is no GPU here
    for grouping in ("random", "neighbours"):
        tables = out / "said" / "tables"
        denoised = json.loads((tables / f"denoise_{grouping}.json").read_text())
        assert denoised["particles"] == 64
        assert (tables / f"evaluate_{grouping}.json").exists()


@pytest.mark.timeout(900)
@pytest.mark.long
def test_a_session_does_what_it_is_asked_for(tmp_path):
    toy = {"CARRY": str(tmp_path), "PHASES": "tests", "WORK": str(tmp_path / "machine")}
    said = run("sh", BENCHMARKS / "models" / "gpu_session.sh", tmp_path / "out", 10, **toy)
    assert "tests: exit status 0" in said
    assert "speed" not in said


@pytest.mark.timeout(900)
@pytest.mark.long
@pytest.mark.parametrize("turn", ["first", "second"])
def test_both_are_trained_at_once_and_the_deeper_network_starts_from_the_trained_one(
    carry, tmp_path, turn
):
    for name, architecture in {"gpu": "polar-transformer", "gpu-dncnn": "dncnn"}.items():
        words = ["phantom:1", "--preset", "tiny", "--architecture", architecture, "--steps", "1"]
        assert polardenoise(["train", *words, "-o", str(tmp_path / architecture)]) == 0
        shutil.copytree(tmp_path / architecture / "model", tmp_path / "start" / name)
    toy = {"CARRY": str(carry), "START": str(tmp_path / "start"), "WORK": str(tmp_path / "machine")}
    script = BENCHMARKS / "models" / "train_base_gpu.sh"
    run("sh", script, tmp_path / "out", 0.001, turn, **toy)
    with tarfile.open(tmp_path / "out" / "models.tar") as files:
        files.extractall(tmp_path / "out", filter="data")
    started, _ = load_model(str(tmp_path / "start" / "gpu"))
    model, card = load_model(str(tmp_path / "out" / "gpu" / "model"))
    blocks = (6, 8) if turn == "first" else (started.config.before, started.config.after)
    assert (model.config.before, model.config.after) == blocks
    recipe = card.trained_on["recipe"]
    unlisted = (0.0, 0.0) if turn == "first" else (0.25, 0.7)
    assert (recipe["shrinking"], recipe["joined_share"]) == unlisted
    assert card.noise_energy
    _, card = load_model(str(tmp_path / "out" / "gpu-dncnn" / "model"))
    assert card.architecture == "dncnn"
