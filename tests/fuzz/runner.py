"""Run attacks inside the fence and hold what came of each against the contract."""

from __future__ import annotations

import json
import random
import shutil
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.fuzz.attacks import ATTACKS
from tests.fuzz.fence import MEMORY, Outcome, run_fenced, take_snapshot
from tests.fuzz.seeds import copy_seeds

GOOD_CODES = (0, 2, 130, 143)
#: What the commands may write in the folder of a run, by the beginning of the name.
OUTPUTS = ("out.", "new/", "rep/", "target", "part.", "done.", "trained/", "tmp/")


@dataclass(frozen=True)
class Failure:
    """A run that broke the contract: enough to run it again."""

    attack: str
    seed: int
    number: int
    words: list[str]
    faults: list[str]
    error: str


def run_attack(
    name: str, seed: int, number: int, seeds: Path, place: Path
) -> tuple[Outcome, Failure | None]:
    """Run one attack; its number and the seed fix all that is drawn."""
    generator = random.Random(f"{seed} {number} {name}")
    folder = place / f"{number:06d}"
    copy_seeds(seeds, folder)
    words = [word.replace("\0", "") for word in ATTACKS[name](folder, generator)]
    before = take_snapshot(folder)
    outcome = run_fenced(words, folder)
    faults = find_faults(outcome, folder, before, words)
    failure = None
    if faults:
        failure = Failure(name, seed, number, words, faults, outcome.err[-3000:])
    else:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(place / f"{folder.name}.log", ignore_errors=True)
    return outcome, failure


def find_faults(
    outcome: Outcome, folder: Path, before: dict[str, str], words: Sequence[str]
) -> list[str]:
    """List what a run has done that it must not do."""
    faults = []
    if outcome.timed_out:
        faults.append(f"took {outcome.seconds:.1f} s of the processor, or too long")
    elif outcome.code not in GOOD_CODES:
        faults.append(f"exit code {outcome.code}")
    if "Traceback" in outcome.err:
        faults.append("traceback")
    elif outcome.code == 2 and outcome.err.count("\n") != 1:
        faults.append(f"{outcome.err.count(chr(10))} lines on stderr")
    if outcome.memory > MEMORY or "out of memory" in outcome.err:
        faults.append(f"{outcome.memory / 2**30:.1f} GiB")
    after = take_snapshot(folder)
    for name, mark in before.items():
        if after.get(name) != mark and not may_change(name, words):
            faults.append(f"{name} was changed")
    for name in after.keys() - before.keys():
        faults += judge_new_file(name, folder, outcome)
    return faults


def may_change(name: str, words: Sequence[str]) -> bool:
    """Tell whether a command may change a file that was there: what it goes on with."""
    if "--resume" not in words:
        return name.startswith("target") and "-o" in words  # an earlier output of the same kind
    return name.startswith((".part.unfinished", "trained/", "done.", ".done"))


def judge_new_file(name: str, folder: Path, outcome: Outcome) -> list[str]:
    """Say what is wrong with a file that a run has left."""
    if ".partial" in name or ".former" in name or ".copy" in name:
        return [f"{name} was left half-written"]
    if ".unfinished" in name:
        kept = outcome.code in (130, 143) or "--resume" in outcome.err
        return [] if kept else [f"{name} was left behind"]
    status = (folder / name).lstat()
    if outcome.code == 2 and stat.S_ISREG(status.st_mode) and not is_training(name):
        return [f"{name} was written by a run that failed"]
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        return [f"{name} is empty"]
    return []


def is_training(name: str) -> bool:
    """Tell whether a file is one that a training keeps after every step."""
    return "/resume/" in name or "/model/" in name or "/history." in name


def run_attacks(
    count: int, seed: int, seeds: Path, place: Path, only: Sequence[str] = ()
) -> Iterator[tuple[int, str, Outcome, Failure | None]]:
    """Run so many attacks, all kinds in turn."""
    names = sorted(only or ATTACKS)
    for number in range(count):
        name = names[number % len(names)]
        yield number, name, *run_attack(name, seed, number, seeds, place)


def write_report(path: Path, failures: Sequence[Failure], codes: Counter[int]) -> None:
    """Write what failed, and how each can be run again."""
    lines = [f"exit codes: {dict(sorted(codes.items()))}", f"failures: {len(failures)}", ""]
    for one in failures:
        lines += [
            f"{one.attack} {one.number}: {'; '.join(one.faults)}",
            f"    python -m tests.fuzz --only {one.attack} --seed {one.seed} --number {one.number}",
            f"    polardenoise {' '.join(word[:200] for word in one.words)}",
            *(f"    | {line[:300]}" for line in one.error.splitlines()[-12:]),
            "",
        ]
    path.write_text("\n".join(lines), encoding="utf-8", errors="backslashreplace")
    failed = [asdict(one) for one in failures]
    text = json.dumps(failed, indent=1)
    path.with_suffix(".json").write_text(text, encoding="utf-8")
