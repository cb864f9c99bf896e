"""Sets of random views that lie in one half: made, denoised and held against the truth by the command line.

Particles at 64 px that fill 0.7 of the box. A folder holds one set, its truth and its denoised images.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common.command import run
from benchmarks.common.study_sets import name_molecule

#: SNR and further options of `simulate`.
CASES = (
    (0.1, ("--no-ctf",)),
    (0.02, ("--no-ctf",)),
    (0.05, ("--ctf", "--max-shift", "2")),
)
NOISY, CLEAN, DENOISED = "particles.star", "clean.star", "out.star"


def simulate_half(
    folder: Path, source: str, count: int, snr: float, options: Sequence[str]
) -> None:
    """Simulate a set, and the truth beside it."""
    run(
        "simulate", source, "-o", str(folder), "--particles", str(count), "--snr", str(snr), *options, "--seed", "3",
    )  # fmt: skip


def denoise_half(folder: Path, *options: str) -> None:
    """Denoise the set by `base` as one half."""
    run(
        "denoise", str(folder / NOISY), "-o", str(folder / DENOISED), "--ignore-halves", *options,
    )  # fmt: skip


def evaluate_half(folder: Path) -> float:
    """Give the relative MSE of the denoised images after no scaling."""
    summary = folder / "figures.json"
    words = ("--truth", str(folder / CLEAN), "--json", str(summary))
    run("evaluate", str(folder / DENOISED), *words)
    return float(json.loads(summary.read_text())["relative_mse"])


def name_case(source: str, snr: float, options: Sequence[str]) -> dict[str, str]:
    """Begin the row of a set in a table."""
    return {
        "molecule": name_molecule(source),
        "SNR": f"{snr:g}",
        "CTF, shifts": "no" if "--no-ctf" in options else "yes, 2 px",
    }
