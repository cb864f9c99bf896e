"""Denoising beside ASPIRE's class averaging: the same particles, one run, speed and error."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common.places import REPOSITORY
from benchmarks.common.tables import Row
from benchmarks.common.timing import run_python
from benchmarks.speed.denoise import run_polardenoise, simulate_set
from polardenoise.engine.evaluate.against_truth import Comparison, compare_images
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.runtime.errors import InputError

ASPIRE_SCRIPT = REPOSITORY / "benchmarks" / "aspire" / "class_averages.py"

#: Images averaged into a class, and neighbours looked for.
NEIGHBOURS = 20


def compare_with_aspire(
    source: str,
    particles: int,
    aspire_python: str | None,
    many: Row,
    device: str,
    folder: Path,
) -> list[dict[str, Any]]:
    """Denoise and class-average one set of random views at SNR 0.1; the error is that of the images against the truth.

    Times are without start-up (libraries); `folder` is an absolute path.

    Parameters
    ----------
    source : str
        The molecule.
    particles : int
        Size of the set that both get.
    aspire_python : str or None
        An interpreter that imports `aspire`; None leaves its row empty, and says so.
    many : Row
        A row of `measure_sets`: our rate on a set so large that starting up does not count.
    device : str
        What we compute on; ASPIRE computes on the CPU.
    folder : Path
        Where the images are written.

    Returns
    -------
    list of dict
        Ours, ours on many particles, ASPIRE's.
    """
    star = simulate_set(source, particles, folder / "common")
    out = folder / "common.star"
    seconds, _ = run_polardenoise(["denoise", str(star), "-o", str(out), "--device", device])
    clean = read_stack_of(star.with_name("clean.star"))
    comparison = compare_images(read_stack_of(out), clean)
    rows = [describe("polardenoise", particles, particles / seconds, comparison)]
    baselines = measure_aspire(star.with_suffix(".mrcs"), clean, aspire_python, folder)
    count, rate = int(str(many["particles"])), float(str(many["particles/s"]))
    rows += [describe("polardenoise", count, rate, None), *baselines]
    baseline = baselines[0]["particles/s"]
    for row in rows:
        rate = row["particles/s"]
        row["rate / ASPIRE's"] = None if baseline is None or rate is None else rate / baseline
    return rows


def measure_aspire(
    stack: Path, clean: torch.Tensor, python: str | None, folder: Path
) -> list[dict[str, Any]]:
    """Average classes as ASPIRE does by default, which searches shifts, and by rotations only, which is enough here."""
    if python is None:
        return [describe("ASPIRE: not measured, no --aspire-python", len(clean), None, None)]
    averages = folder / "averages.npy"
    words = [ASPIRE_SCRIPT, stack, averages, "--neighbours", NEIGHBOURS]
    rows = []
    for options, remark in (([], ""), (["--no-shifts"], ", rotations only")):
        measured = run_python([str(word) for word in (*words, *options)], python, folder)
        images = torch.from_numpy(np.load(averages))
        name = f"ASPIRE {measured['version']} class averages{remark}"
        rate = len(clean) / measured["seconds"]
        rows.append(describe(name, len(clean), rate, compare_images(images, clean)))
    return rows


def read_stack_of(star: Path) -> torch.Tensor:
    """Read all images of a STAR file, `(particles, box, box)`."""
    return torch.from_numpy(read_images(read_particles(star), slice(None)))


def describe(
    method: str, particles: int, rate: float | None, comparison: Comparison | None
) -> dict[str, Any]:
    """Make a row of the table."""
    return {
        "method": method,
        "particles": particles,
        "rate / ASPIRE's": None,
        "relative MSE": comparison and comparison.relative_mse(),
        "relative MSE, best scale": comparison and comparison.relative_mse_scaled(),
        "particles/s": rate,
    }


def check_aspire(python: str) -> None:
    """Refuse, before the work is done, an interpreter or a source tree that cannot compare.

    Raises
    ------
    InputError
        If the script is not beside this package, or the interpreter does not import `aspire`.
    """
    if not ASPIRE_SCRIPT.is_file():
        raise InputError(f"--aspire-python: {ASPIRE_SCRIPT} is missing; run from a source tree")
    done = subprocess.run(
        [python, "-c", "import aspire, mrcfile"], capture_output=True, check=False
    )
    if done.returncode != 0:
        raise InputError(
            f"--aspire-python {python}: cannot import aspire; pip install aspire there"
        )
