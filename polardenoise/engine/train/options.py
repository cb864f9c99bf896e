"""What `polardenoise train` can be asked for: each option once. Nothing here is slow to import."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from polardenoise.architectures import ARCHITECTURES, DEFAULT_ARCHITECTURE, DEFAULT_MODEL
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.options import make_file_list, option, settle_plan
from polardenoise.engine.simulate.source_names import split_sources

if TYPE_CHECKING:
    from polardenoise.engine.runtime.file_list import FileList

#: A thousand years of steps; two years.
MOST_STEPS, MOST_MINUTES = 10**9, 10**6
#: How long a training is where nobody says so.
DEFAULT_MINUTES = 60.0
#: Of which one at most is given.
LENGTHS = ("--steps", "--minutes")


def check_steps(steps: int | None) -> int | None:
    """Give a number of steps that a training can have, or None; refuse others."""
    if steps is not None and not 1 <= steps <= MOST_STEPS:
        raise InputError(f"--steps {steps}: must be at least 1 and at most {MOST_STEPS}")
    return steps


def check_minutes(name: str, minutes: float | None) -> float | None:
    """Give minutes that a training can take, or None; refuse others, naming the option."""
    if minutes is not None and not 0 < minutes <= MOST_MINUTES:
        raise InputError(f"{name} {minutes}: must be more than 0 and at most {MOST_MINUTES}")
    return minutes


def take_pair(paths: list[Path] | None) -> tuple[Path, Path] | None:
    """Take the two files of `--pairs`, or None."""
    return None if paths is None else (paths[0], paths[1])


@dataclass(frozen=True)
class TrainingPlan:
    """What `polardenoise train` was asked for."""

    sources: tuple[str, ...] = option(
        "sources",
        nargs="*",
        metavar="SOURCE",
        read=split_sources,
        help=".pdb/.cif(.gz), .mrc/.map, phantom:SEED, phantom:FIRST-LAST, or a MANIFEST.tsv (its split train); "
        "several with spaces or commas between them (phantom:1-20,35)",
    )
    output: Path = option("-o", "--output", required=True, type=Path, metavar="DIR")
    pairs: tuple[Path, Path] | None = option(
        default=None,
        nargs=2,
        type=Path,
        read=take_pair,
        metavar=("NOISY.star", "CLEAN.star"),
        help="instead of SOURCEs: noisy particles and their truth without CTF, in the same order",
    )
    #: None: that of `init`, or the default one.
    architecture: str | None = option(
        default=None,
        choices=ARCHITECTURES,
        help=f"the network (default: that of --init, else {DEFAULT_ARCHITECTURE}, as the model {DEFAULT_MODEL} is)",
    )
    recipe: Path | None = option(
        default=None, type=Path, metavar="FILE", help="JSON with settings of the recipe"
    )
    preset: str = option(default="base", choices=["tiny", "base"])
    like: Path | None = option(
        default=None,
        type=Path,
        metavar="PARTICLES.star",
        help="simulate the SOURCEs at the field of view and with the CTFs of these particles",
    )
    init: str | None = option(
        default=None, metavar="MODEL", help="start from a shipped model or a model folder"
    )
    resume: bool = option(default=False, action="store_true", help="go on from DIR/resume")
    steps: int | None = option(
        default=None,
        type=int,
        read=check_steps,
        one_of=LENGTHS,
        metavar="S",
        help="gradient steps in all",
    )
    minutes: float | None = option(
        default=None,
        type=float,
        read=partial(check_minutes, "--minutes"),
        one_of=LENGTHS,
        metavar="M",
        help=f"minutes of training in all (default: {DEFAULT_MINUTES:g})",
    )
    pause_after: float | None = option(
        default=None,
        type=float,
        read=partial(check_minutes, "--pause-after"),
        metavar="M",
        help="stop this run after so many minutes, loading not counted, to go on with --resume",
    )
    compile: bool = option(
        default=False,
        action="store_true",
        help="compile the network's convolutions first: takes a minute, pays on a GPU",
    )
    seed: int = option(default=0, type=int)
    device: str = option(default="auto", choices=["auto", "cpu", "cuda"])
    command: tuple[str, ...] = ()
    #: Time of `time.monotonic` to stop at, loading counted.
    pause_at: float = math.inf
    #: Seconds between lines of the history; None: as often as the state is saved.
    seconds_between_reports: float | None = None
    #: Asked between two steps: whether to wait.
    must_wait: Callable[[], bool] = lambda: False
    #: What the command line reads and writes besides.
    files: FileList = field(default_factory=make_file_list)

    def __post_init__(self) -> None:
        """Take paths and numbers as text too, and refuse what the command line refuses."""
        settle_plan(self)
        refuse_mixed_inputs(self)

    @property
    def all_minutes(self) -> float | None:
        """Minutes of training in all; None where the steps are counted."""
        unsaid = self.steps is None and self.minutes is None
        return DEFAULT_MINUTES if unsaid else self.minutes


def refuse_mixed_inputs(plan: TrainingPlan) -> None:
    """Refuse a training that learns from nothing, or from two kinds of things."""
    if plan.pairs is None:
        if not plan.sources:
            raise InputError(
                "SOURCE: name at least one structure, map, phantom:SEED or MANIFEST.tsv, or give --pairs"
            )
        return
    if plan.sources:
        raise InputError(
            f"--pairs: goes without SOURCEs; leave out {' '.join(plan.sources)}, or --pairs"
        )
    if plan.like is not None:
        raise InputError("--like: is for SOURCEs; leave it out with --pairs")
