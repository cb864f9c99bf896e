"""Attack the commands with inputs that nobody wrote, inside a fence; what breaks is kept with a way to run it again.

python -m tests.fuzz --count 2000 --seed 1 -o DIR
python -m tests.fuzz --only card --seed 1 --number 17 -o DIR
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from tests.fuzz.attacks import ATTACKS
from tests.fuzz.runner import run_attack, run_attacks, write_report
from tests.fuzz.seeds import make_seeds


def prepare(place: Path) -> Path:
    """Make the seeds, with all that is heavy imported on the way; give their folder."""
    torch.set_num_threads(1)
    seeds = place / "seeds"
    seeds.mkdir(parents=True)
    before = Path.cwd()
    os.chdir(seeds)
    try:
        make_seeds(seeds)
    finally:
        os.chdir(before)
    for encoding in (
        "utf-16-le",
        "utf-32-le",
        "utf-32-be",
        "utf-8-sig",
        "idna",
        "ascii",
        "latin-1",
    ):
        b"".decode(encoding)  # Python imports these where they are asked for first
    return seeds


def main() -> int:
    """Run; 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="attacks (2000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--number", type=int, help="this attack only, with --only")
    parser.add_argument("--only", action="append", choices=sorted(ATTACKS), default=[])
    parser.add_argument("-o", "--output", type=Path, help="a new folder (one for temporary files)")
    arguments = parser.parse_args()
    if arguments.output is None:
        arguments.output = Path(tempfile.mkdtemp(prefix="polardenoise-fuzz-")) / "attacks"
        arguments.output.parent.chmod(0o755)
    place = arguments.output.resolve()
    place.mkdir(parents=True, exist_ok=False)
    seeds = prepare(place)
    if arguments.number is not None:
        (name,) = arguments.only
        outcome, failure = run_attack(name, arguments.seed, arguments.number, seeds, place)
        print(outcome, failure, sep="\n")
        return int(failure is not None)
    failures, codes, started = [], Counter(), time.monotonic()
    for number, name, outcome, failure in run_attacks(
        arguments.count, arguments.seed, seeds, place, arguments.only
    ):
        codes[outcome.code] += 1
        if failure is not None:
            failures.append(failure)
            print(f"{name} {number}: {'; '.join(failure.faults)[:300]}", flush=True)
        if (number + 1) % 100 == 0:
            rate = (number + 1) / (time.monotonic() - started)
            print(f"{number + 1} of {arguments.count}, {rate:.2f}/s, {dict(codes)}", flush=True)
            write_report(place / "report.txt", failures, codes)
    write_report(place / "report.txt", failures, codes)
    print(f"{arguments.count} attacks, {len(failures)} failures: {place / 'report.txt'}")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
