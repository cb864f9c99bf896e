"""Killed at 20 random moments each, a denoising comes back with the same bytes and a training with the same steps."""

import csv
import hashlib
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from polardenoise.engine.cli import main
from polardenoise.engine.networks.checkpoint import hash_file
from tests.denoise_files import write_set_and_model

PROGRAM = [sys.executable, "-m", "polardenoise.engine"]
DENOISE = [
    *("denoise", "in.star", "-o", "out.star", "--model", "model", "--device", "cpu", "--set-size"),
    *("8", "--matches", "found.npz", "--report", "report"),
]
TRAIN = [
    *("train", "phantom:1", "-o", "run", "--preset", "tiny", "--steps", "30", "--device", "cpu"),
    *("--seed", "3"),
]
RESULTS = {
    "denoise": (DENOISE, ["out.star", "out.mrcs", "found.npz", "report/index.html"]),
    "train": (TRAIN, ["run/model/weights.safetensors"]),
}
KILLS = 20
#: The moments are random; each run of the tests prints the seed of its own.
SEED = 15


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_set_and_model(tmp_path_factory.mktemp("kills"), count=96)


def hash_result(path):
    """Hash a file; of a report, which says when it was made, the pictures."""
    if path.suffix != ".html":
        return hash_file(path)
    pictures = re.findall(r"data:image/png;base64,[A-Za-z0-9+/=]+", path.read_text())
    assert len(pictures) > 10
    return hashlib.sha256("".join(pictures).encode()).hexdigest()


def run_to_the_end(words, folder):
    return subprocess.run([*PROGRAM, *words], cwd=folder, capture_output=True, text=True)


def clear(folder):
    import shutil

    for path in folder.iterdir():
        if path.name in ("in.star", "stack.mrcs", "model"):
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="module")
def undisturbed(folder):
    """Hashes of the results, and how long each command takes."""
    found = {}
    for name, (words, files) in RESULTS.items():
        started = time.monotonic()
        assert run_to_the_end(words, folder).returncode == 0
        found[name] = [hash_result(folder / file) for file in files], time.monotonic() - started
        clear(folder)
    return found


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("command", sorted(RESULTS))
def test_a_killed_run_comes_back(folder, undisturbed, command, number):
    words, files = RESULTS[command]
    expected, seconds = undisturbed[command]
    clear(folder)
    moment = random.Random(f"{SEED} {command} {number}").uniform(0.1, 1.0) * seconds
    process = subprocess.Popen(
        [*PROGRAM, *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.wait()
    begun = command == "denoise" or (folder / "run" / "resume" / "state.json").exists()
    finished = run_to_the_end([*words, "--resume"] if begun else words, folder)
    assert finished.returncode == 0, (moment, finished.stderr)
    assert [hash_result(folder / file) for file in files] == expected, moment
    assert not [path for path in folder.rglob(".*") if path.name != ".cache"], moment
    if command == "train":
        with (folder / "run" / "history.csv").open() as stream:
            steps = [int(row["step"]) for row in csv.DictReader(stream)]
        assert steps == sorted(set(steps))
        assert steps[-1] == 30


def test_a_run_killed_in_its_middle_comes_back(tmp_path, monkeypatch):
    """One of them in every run of the tests, at a moment that is known: when a batch has been written."""
    monkeypatch.chdir(tmp_path)
    write_set_and_model(tmp_path, count=16)
    words = [*DENOISE[:-4], "--group-by", "random", "--batch", "8"]
    assert main(words) == 0
    expected = hash_file(tmp_path / "out.mrcs")
    for kept in (True, False):
        if not kept:
            (tmp_path / "out.mrcs").unlink()
        kill_in_the_middle(words, tmp_path)
        assert (tmp_path / ".out.unfinished").is_dir()
        assert main([*words, "--resume"]) == 0
        assert hash_file(tmp_path / "out.mrcs") == expected
        assert not list(tmp_path.glob(".*"))


def kill_in_the_middle(words, folder):
    """Kill a run when it has written its first batch."""
    code = (
        "import os, signal\n"
        "from polardenoise.engine.denoise import resume_stack\n"
        "write = resume_stack.UnfinishedStack.write\n"
        "def once(self, *arguments):\n"
        "    write(self, *arguments)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "resume_stack.UnfinishedStack.write = once\n"
        "from polardenoise.engine.cli import main\n"
        f"main({words!r})\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
