"""A short run of the fuzzer, every kind of attack in turn; `make fuzz` is the long one."""

import os
import tempfile
from pathlib import Path

import pytest

from tests.fuzz import fence
from tests.fuzz.__main__ import prepare
from tests.fuzz.attacks import ATTACKS
from tests.fuzz.fence import run_fenced, take_snapshot
from tests.fuzz.runner import find_faults, run_attacks
from tests.fuzz.seeds import copy_seeds

#: Five of each kind; the seed is fixed: a test that fails does so again.
COUNT, SEED = 5 * len(ATTACKS), 20_261_126


@pytest.fixture(scope="module")
def place():
    # Not in pytest's own folder, which is closed to nobody.
    with tempfile.TemporaryDirectory(prefix="polardenoise-fuzz-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def seeds(place):
    return prepare(place)


def test_no_attack_breaks_the_contract(seeds, place):
    failures = [failure for *_, failure in run_attacks(COUNT, SEED, seeds, place) if failure]
    assert not failures, failures


def test_seeds_are_right_and_the_fence_lets_them_pass(seeds, place):
    folder = place / "right"
    copy_seeds(seeds, folder)
    words = ["denoise", "in.star", "-o", "out.star", "--model", "model", "--device", "cpu"]
    outcome = run_fenced([*words, "--set-size", "4"], folder)
    assert outcome.code == 0, outcome.err
    assert (folder / "out.mrcs").stat().st_size > 1024


def test_the_fence_holds(seeds, place, monkeypatch):
    """Memory, time, the size of files and the rights of root end inside it, and are told."""
    from polardenoise.engine import cli

    monkeypatch.setattr(fence, "PROCESSOR", 2)

    def take_memory(_words):
        return len(bytearray(4 * 2**30)) and 0

    def take_time(_words):
        while True:
            pass

    def take_disk(_words):
        with open("large", "wb") as file:
            file.truncate(2**40)

    def take_rights(_words):
        assert os.geteuid() != 0
        (place / "outside").write_text("x")

    def write_over(_words):
        with open("in.star", "w") as file:
            file.write("x")
        return 0

    for number, (act, told) in enumerate(
        [
            (take_memory, "MemoryError"),
            (take_time, "took"),
            (take_disk, "File too large"),
            (take_rights, "Permission denied" if os.geteuid() == 0 else "AssertionError"),
            (write_over, "in.star was changed"),
        ]
    ):
        folder = place / f"fence{number}"
        copy_seeds(seeds, folder)
        before = take_snapshot(folder)
        with monkeypatch.context() as patch:
            patch.setattr(cli, "main", act)
            outcome = run_fenced(["models"], folder)
        faults = find_faults(outcome, folder, before, ["models"])
        if os.geteuid() != 0 and act is take_rights:
            continue
        assert told in outcome.err + " ".join(faults), (act, outcome, faults)
        assert faults
