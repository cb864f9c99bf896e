"""A session on a lent GPU machine, at toy size: tests, tables, trainings that are brought back and go on elsewhere."""

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
from polardenoise.engine.train.history import read_history
from polardenoise.engine.train.simulated_sets import load_molecule
from tests.places import BENCHMARKS, REPOSITORY

NAMES = {"base-next": "polar-transformer", "base-dncnn-next": "dncnn"}


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


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """A list of stages for two tiny networks that have learnt a little."""
    folder = tmp_path_factory.mktemp("stages")
    models = {}
    for name, architecture in NAMES.items():
        trained = folder / architecture
        words = ["phantom:1", "--preset", "tiny", "--architecture", architecture, "--steps", "1"]
        assert polardenoise(["train", *words, "-o", str(trained)]) == 0
        shutil.copy2(trained / "history.csv", trained / "model")
        models[name] = {"start": str(trained / "model")}
    recipe = {"images_per_set": [8], "warmup_steps": 2, "averaging": 0.9, "validation_sets": 2}
    stage = {"name": "endless", "steps": 100_000}
    text = {"recipe": {**recipe, "junk_share": 0.1}, "models": models, "stages": [stage]}
    (folder / "stages.json").write_text(json.dumps(text))
    return folder / "stages.json"


@pytest.mark.timeout(900)
@pytest.mark.long
def test_tests_first_then_both_trainings_which_go_on_with_what_came_back(carry, stages, tmp_path):
    toy = {"CARRY": carry, "STAGES": stages, "IMAGES": 16, "SECONDS_EACH": 0.2, "RESERVE": 0}
    toy |= {"POLARDENOISE_QUIET": tmp_path / "quiet", "PHASES": "tests training"}

    def call(number, minutes):
        out = tmp_path / f"out{number}"
        settings = {name: str(value) for name, value in toy.items()}
        work = str(tmp_path / f"machine{number}")
        said = run(
            "sh", BENCHMARKS / "models" / "gpu_session.sh", out, minutes, **settings, WORK=work
        )
        for archive in ("models.tar", "session.tar.gz"):
            with tarfile.open(out / archive) as files:
                files.extractall(out, filter="data")
        return out, said

    def read_steps(out, name):
        return [int(row["step"]) for row in read_history(out / name / "history.csv")]

    first, said = call(1, 1)
    assert said.index("tests: exit status 0") < said.index("speed of base-next: simulation ")
    assert "skipped" in (first / "said" / "tests.log").read_text()  # there is no GPU here
    files = [path for path in first.iterdir() if path.is_file()]
    assert len(files) <= 8
    assert max(path.stat().st_size for path in files) < 16 * 2**20
    (carry / "parts").mkdir()
    for part in first.glob("training.tar.*"):
        shutil.copy2(part, carry / "parts")
    second, said = call(2, 0.7)
    assert "exit status" not in said  # what was done travels along
    assert "speed of" not in said
    for name, architecture in NAMES.items():
        steps = [read_steps(out, name) for out in (first, second)]
        assert steps[1] == sorted(set(steps[1]))
        assert steps[1][: len(steps[0])] == steps[0]
        assert steps[1][-1] > steps[0][-1] > 0
        # Any machine goes on from what was kept: the average of the weights, and where it stands.
        model, card = load_model(str(second / name))
        assert card.architecture == architecture
        assert model.config.box == 32
        under_way = card.trained_on["standing"]["under_way"]
        assert (under_way["name"], under_way["steps"]) == ("endless", steps[1][-1])
        assert card.trained_on["sources"] == ["phantom-1.mrc.gz", "phantom-2.mrc.gz"]
        assert card.trained_on["recipe"]["images_per_step"] == 16


@pytest.mark.timeout(900)
@pytest.mark.long
def test_the_speed_tables_alone(carry, tmp_path):
    """Toy sizes: whole sets are denoised; the tables themselves have a test of their own."""
    toy = {"CARRY": str(carry), "PHASES": "speed", "SPEED": "none", "PARTICLES": "64"}
    work = tmp_path / "machine"
    out = tmp_path / "out"
    said = run("sh", BENCHMARKS / "models" / "gpu_session.sh", out, 10, **toy, WORK=str(work))
    assert "speed: exit status 0" in said
    assert [path.name for path in out.iterdir()] == ["session.tar.gz"]
    for grouping in ("random", "neighbours"):
        tables = work / "said" / "tables"
        denoised = json.loads((tables / f"denoise_{grouping}.json").read_text())
        assert denoised["particles"] == 64
        assert (tables / f"evaluate_{grouping}.json").exists()


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
    assert card.trained_on["recipe"]["shrinking"] == (0.0 if turn == "first" else 0.35)
    assert card.noise_energy
    _, card = load_model(str(tmp_path / "out" / "gpu-dncnn" / "model"))
    assert card.architecture == "dncnn"
