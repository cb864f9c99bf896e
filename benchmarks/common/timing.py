"""Timing on machines that others use too: alternately in one process, the least of several, ratios before times."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.places import REPOSITORY
from benchmarks.common.quiet import keeping_quiet
from polardenoise.engine.runtime.devices import read_process_memory


def time_alternately(
    works: Sequence[Callable[[], object]], repeats: int, device: torch.device
) -> list[float]:
    """Time several pieces of work in turn, so that what disturbs one disturbs the others.

    Parameters
    ----------
    works : sequence of callables
        Each has been warmed up by one call that does not count.
    repeats : int
        Rounds.
    device : torch.device
        Where the work is done; it is waited for.

    Returns
    -------
    list of float
        Seconds of each piece: the least of its rounds, which other jobs have disturbed least.
    """
    with keeping_quiet():
        for work in works:
            work()
        rounds = [[time_once(work, device) for work in works] for _ in range(repeats)]
    return [min(times) for times in zip(*rounds, strict=True)]


def time_once(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the wall clock that `work` takes on a device."""
    wait_for(device)
    start = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - start


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def read_peak_memory() -> int:
    """Peak resident memory of this process in bytes; 0 where the system does not tell."""
    return read_process_memory("VmHWM") or 0


def read_memory() -> int:
    """Resident memory of this process in bytes, as it is now; 0 where the system does not tell."""
    return read_process_memory("VmRSS") or 0


def read_processor_seconds() -> float:
    """Processor time of this process and of all it has waited for, seconds: other work hardly moves it."""
    return sum(os.times()[:4])


def run_python(
    words: Sequence[str], python: str = sys.executable, folder: Path | None = None
) -> dict[str, Any]:
    """Run a Python program whose last line of output is JSON.

    Parameters
    ----------
    words : sequence of str
        What follows the interpreter's name.
    python : str
        The interpreter.
    folder : Path, optional
        Working directory, for programs that leave files there.

    Returns
    -------
    dict
        What that line says.

    Raises
    ------
    RuntimeError
        If the program fails; the end of what it said on stderr is in the message.
    """
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [python, *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words[:4])} failed: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def describe_device(device: torch.device) -> str:
    """Name the device: the GPU's name, or the processor's from `/proc/cpuinfo`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(encoding="utf-8").splitlines() if cpus.is_file() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), "CPU"
    )
