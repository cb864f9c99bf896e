"""A fence for runs on inputs that nobody wrote: a forked process with limits, a folder of its own, and no rights.

The parent has imported all that is heavy; a run is a fork of it and costs what the command costs. The child may take
`MEMORY` more than the parent has, `PROCESSOR` seconds and `WALL` seconds, writes no file larger than `FILE`, and, where
the parent is root, is nobody: it reads what all may read and writes its own folder only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import signal
import stat
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

MEMORY = 2 * 2**30
#: Seconds of the processor: a run of more hangs.
PROCESSOR = 10
#: Seconds of the clock, for runs that wait for something; the machine may be shared.
WALL = 90
FILE = 512 * 2**20
NOBODY = 65_534


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes
    ----------
    code : int
        Exit code; minus a signal's number.
    out, err : str
        Standard output and error.
    seconds : float
        Of the processor.
    memory : int
        Largest resident size, bytes.
    timed_out : bool
        Whether it was ended for the time it took.
    """

    code: int
    out: str
    err: str
    seconds: float
    memory: int
    timed_out: bool


def measure_data() -> int:
    """Measure the private memory of this process, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def run_fenced(words: list[str], folder: Path) -> Outcome:
    """Run a command line of `polardenoise` in a folder, in a fork of this process."""
    logs = folder.parent / f"{folder.name}.log"
    logs.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        give_away(folder)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        run_child(words, folder, logs)
    started, timed_out = time.monotonic(), False
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() - started > WALL:
            timed_out = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            done, status, usage = os.wait4(child, 0)
            break
        time.sleep(0.005)
    seconds = usage.ru_utime + usage.ru_stime
    texts = [(logs / name).read_text(encoding="utf-8", errors="replace") for name in ("out", "err")]
    code = os.waitstatus_to_exitcode(status)
    return Outcome(code, *texts, seconds, usage.ru_maxrss * 1024, timed_out or seconds > PROCESSOR)


def run_child(words: list[str], folder: Path, logs: Path) -> None:
    """Be the child: set the limits, run, exit."""
    code = 99
    try:
        os.setsid()
        for number, name in ((1, "out"), (2, "err")):
            log = os.open(logs / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(log, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115
        os.chdir(folder)
        os.environ["TMPDIR"] = os.environ["HOME"] = str(folder / "tmp")
        for limit, most in (
            (resource.RLIMIT_DATA, measure_data() + MEMORY),
            (resource.RLIMIT_CPU, PROCESSOR + 2),
            (resource.RLIMIT_FSIZE, FILE),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, 256),
        ):
            resource.setrlimit(limit, (most, most))
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        from polardenoise.engine.cli import main

        code = main(words)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def give_away(folder: Path) -> None:
    """Give a folder and all in it to nobody; links are not followed."""
    os.lchown(folder, NOBODY, NOBODY)
    for path in folder.rglob("*"):
        os.lchown(path, NOBODY, NOBODY)


def take_snapshot(folder: Path) -> dict[str, str]:
    """Give for every file of a folder what it is: a hash, or the kind of it; links are not followed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            word = hashlib.blake2b(path.read_bytes(), digest_size=12).hexdigest()
        elif stat.S_ISLNK(status.st_mode):
            word = f"link to {os.readlink(path)}"
        else:
            word = f"kind {stat.S_IFMT(status.st_mode):o}"
        found[str(path.relative_to(folder))] = word
    return found
