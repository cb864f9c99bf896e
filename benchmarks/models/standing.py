"""The standing training of the next base: it goes on where it was, in the background, whenever it is started.

    python -m benchmarks.models.standing start     in the background (`make train-base`); `train`: in the foreground
    python -m benchmarks.models.standing stop      between two steps, with its state saved (`make stop-base`)
    python -m benchmarks.models.standing keep      the compact checkpoint, also while it trains (`make keep-base`)

It goes through the stages of benchmarks/models/standing.json, from the compact checkpoint in benchmarks/checkpoints or,
where there is none, from a shipped model. Its state is in training/NAME. It waits while there is a file training/pause,
and while anyone keeps the machine quiet (`benchmarks.common.quiet`).
"""

import argparse
import fcntl
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.common.places import CHECKPOINTS, REPOSITORY
from benchmarks.common.quiet import is_quiet_wanted
from benchmarks.models.compact_checkpoint import copy_start, keep_stage, read_lineage
from benchmarks.models.stages import STAGES, Stage, choose_stage, lay_recipe, read_stages
from polardenoise.engine.cli import EXIT_BAD_INPUT, EXIT_INTERRUPTED
from polardenoise.engine.networks.checkpoint import find_model, read_card
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import make_folder, write_json
from polardenoise.engine.runtime.stopping import unwinding_when_terminated
from polardenoise.engine.train.options import TrainingPlan
from polardenoise.engine.train.run import run_training

#: As seen from the repository, unlike `places.find_structures`: the words go into the model's card, where no path of a
#: machine may stand, and a training goes on only from the sources that it began with.
SOURCES = ("phantom:0-119", "phantom:8000-8039", "../shared/data/structures/MANIFEST.tsv")
#: A heap that is not given back keeps the page faults of large tensors away, a third of a step.
HEAP = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0"
    ":glibc.malloc.trim_threshold=100000000000:glibc.malloc.top_pad=268435456"
)
SECONDS_BETWEEN_REPORTS = 600.0
LEAST_PRIORITY = 19
#: Seconds that a training may take to end its step, its report and its files.
SECONDS_TO_STOP = 180


@dataclass(frozen=True)
class Places:
    """Folders of a standing training."""

    state: Path
    checkpoint: Path

    def stage(self, stage: Stage) -> Path:
        """Name the folder that a stage trains in."""
        return self.state / stage.name

    def start(self, stage: Stage) -> Path:
        """Name the folder of the model that a stage starts from."""
        return self.state / f"{stage.name}-start"


def train(arguments: argparse.Namespace, places: Places) -> int:
    """Train stage after stage, until all have ended or the minutes are over."""
    take_least_priority()
    torch.set_num_threads(arguments.threads)
    found = read_stages(arguments.stages)
    model = found.models[arguments.name]
    wait = tell_waiting(REPOSITORY / "training" / "pause")
    minutes = math.inf if arguments.minutes is None else arguments.minutes
    pause_at = time.monotonic() + 60 * minutes
    with holding(places.state):
        while stage := choose_stage(found.stages, read_lineage(places.checkpoint).ended):
            folder, start = places.stage(stage), places.start(stage)
            begun = (folder / "resume" / "state.json").exists()
            if not begun:
                kept = (places.checkpoint / "model.json").exists()
                copy_start(places.checkpoint if kept else find_model(model.start), start)
            recipe_file = places.state / f"{stage.name}.json"
            card = read_card(start)
            write_json(recipe_file, lay_recipe(found, model, stage, card.sizes))
            while wait():
                time.sleep(1.0)
            print(f"standing: stage {stage.name}, {stage.steps} steps", flush=True)
            summary = run_training(
                TrainingPlan(
                    sources=tuple(arguments.sources),
                    output=folder,
                    architecture=card.architecture,
                    recipe=recipe_file,
                    init=None if begun else str(start),
                    resume=begun,
                    steps=stage.steps,
                    seed=arguments.seed,
                    device=arguments.device,
                    command=("python", "-m", "benchmarks.models.standing", *arguments.words),
                    pause_at=pause_at,
                    seconds_between_reports=arguments.report_every,
                    must_wait=wait,
                )
            )
            if summary["paused"]:
                print(f"standing: paused in stage {stage.name}, step {summary['steps']}")
                return 0
            keep_stage(start, folder, places.checkpoint, stage.name, ended=True)
            print(f"standing: stage {stage.name} has ended; commit {places.checkpoint}", flush=True)
    print(f"standing: all stages have ended; add one to {arguments.stages}")
    return 0


def take_least_priority(autogroup: Path = Path("/proc/self/autogroup")) -> None:
    """Leave the processor to others: the process, and on Linux its session, if it is alone in it.

    Linux shares processors between sessions first ("autogroups"): a nice process in a session of its own, as `start`
    makes it, has its full share all the same.
    """
    os.setpriority(os.PRIO_PROCESS, 0, LEAST_PRIORITY)
    if os.getsid(0) == os.getpid() and autogroup.exists():
        autogroup.write_text(str(LEAST_PRIORITY))


def tell_waiting(pause: Path) -> Callable[[], bool]:
    """Make what a training asks between two steps; it says once that it waits, and once that it goes on."""
    waits = False

    def must_wait() -> bool:
        nonlocal waits
        now = pause.exists() or is_quiet_wanted()
        if now != waits:
            reason = f"waits ({'pause' if pause.exists() else 'quiet is wanted'})"
            print(f"standing: {reason if now else 'goes on'}", flush=True)
        waits = now
        return now

    return must_wait


@contextmanager
def holding(state: Path) -> Iterator[None]:
    """Hold a folder of state: of two trainings the second is refused. The file names the process that holds it."""
    make_folder(state)
    with (state / "process").open("a+", encoding="ascii") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{state}: is being trained already; stop that first") from error
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        yield


def find_process(state: Path) -> int | None:
    """Find the process that trains in a folder; None where none does."""
    try:
        with (state / "process").open(encoding="ascii") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(stream.read())
    except FileNotFoundError:
        pass
    return None


def start(arguments: argparse.Namespace, places: Places) -> int:
    """Start the training in the background, unless it runs."""
    if (process := find_process(places.state)) is not None:
        print(f"standing: runs already, process {process}")
        return 0
    make_folder(places.state)
    log = places.state / "log"
    place = arguments.words.index("start")
    words = [*arguments.words[:place], "train", *arguments.words[place + 1 :]]
    environment = {"GLIBC_TUNABLES": HEAP, "OMP_NUM_THREADS": str(arguments.threads), **os.environ}
    with log.open("a") as stream:
        child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.models.standing", *words],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            env=environment,
        )
    print(f"standing: process {child.pid}; what it says is in {log}")
    return 0


def stop(_arguments: argparse.Namespace, places: Places) -> int:
    """Ask the training to end, and wait until it has."""
    process = find_process(places.state)
    if process is None:
        print("standing: does not run")
        return 0
    os.kill(process, signal.SIGTERM)
    for _ in range(10 * SECONDS_TO_STOP):
        if find_process(places.state) is None:
            print("standing: has stopped; start goes on")
            return 0
        time.sleep(0.1)
    raise InputError(f"{places.state}: process {process} has not stopped; look at its log")


def keep(arguments: argparse.Namespace, places: Places) -> int:
    """Write the compact checkpoint of the stage that is under way."""
    stages = read_stages(arguments.stages).stages
    stage = choose_stage(stages, read_lineage(places.checkpoint).ended)
    if stage is None or not places.stage(stage).is_dir():
        raise InputError(
            f"{places.state}: no stage is under way; the checkpoint is as it should be"
        )
    keep_stage(places.start(stage), places.stage(stage), places.checkpoint, stage.name, ended=False)
    print(f"standing: kept stage {stage.name} in {places.checkpoint}; commit it")
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Declare the options."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.models.standing", description=__doc__.splitlines()[0]
    )
    parser.add_argument("action", choices=["train", "start", "stop", "keep"])
    parser.add_argument("--name", default="base-next", help="one of the list's models")
    parser.add_argument("--stages", type=Path, default=STAGES, help="the list of stages")
    parser.add_argument("--sources", nargs="+", default=SOURCES, help="as for `polardenoise train`")
    parser.add_argument("--state", type=Path, help="folder of the state (default: training/NAME)")
    parser.add_argument("--checkpoint", type=Path, help="(default: benchmarks/checkpoints/NAME)")
    parser.add_argument("--minutes", type=float, help="stop after so many, with the state saved")
    parser.add_argument("--report-every", type=float, default=SECONDS_BETWEEN_REPORTS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Do what is asked; what cannot be used is told in one line."""
    words = list(sys.argv[1:] if words is None else words)
    arguments = build_parser().parse_args(words)
    arguments.words = words
    places = Places(
        arguments.state or Path("training") / arguments.name,
        arguments.checkpoint or CHECKPOINTS / arguments.name,
    )
    actions = {"train": train, "start": start, "stop": stop, "keep": keep}
    try:
        if arguments.name not in (models := read_stages(arguments.stages).models):
            raise InputError(f"--name {arguments.name}: is none of {', '.join(models)}")
        with unwinding_when_terminated():
            return actions[arguments.action](arguments, places)
    except InputError as error:
        print(f"standing: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
