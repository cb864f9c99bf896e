"""How fast a whole particle set is denoised, from disk to disk through the command line, and in how much memory."""

from pathlib import Path

from benchmarks.common.tables import Row
from benchmarks.common.timing import run_python
from polardenoise.engine.cli import main


def simulate_set(source: str, particles: int, folder: Path) -> Path:
    """Simulate a set of random views of a molecule at 64 px and SNR 0.1, without CTF; its STAR file."""
    options = ["--particles", str(particles), "--snr", "0.1", "--no-ctf"]
    if main(["simulate", source, "-o", str(folder), *options]) != 0:
        raise RuntimeError(f"simulating {particles} particles of {source} failed")
    return folder / "particles.star"


def run_polardenoise(words: list[str]) -> tuple[float, int]:
    """Run a command in a process of its own: its seconds without the loading of libraries, its peak memory in bytes."""
    measured = run_python(["-m", "benchmarks.speed.measured_run", *words])
    return measured["seconds"], measured["peak_bytes"]


def measure_sets(source: str, counts: tuple[int, ...], device: str, folder: Path) -> list[Row]:
    """Denoise sets of several sizes, one run after the other, grouped as the command line does by default.

    Returns
    -------
    list of Row
        A row a size; the ratios are to the first one.
    """
    rows: list[Row] = []
    first_seconds = first_bytes = 0.0
    for count in counts:
        star = simulate_set(source, count, folder / f"{count}")
        seconds, peak = run_polardenoise(
            ["denoise", str(star), "-o", str(folder / f"{count}.star"), "--device", device]
        )
        first_seconds, first_bytes = first_seconds or seconds / count, first_bytes or peak
        rows.append(
            {
                "particles": count,
                "time per particle / first": seconds / count / first_seconds,
                "peak memory / first": peak / first_bytes,
                "particles/s": count / seconds,
                "seconds": seconds,
                "peak MB": peak / 1e6,
            }
        )
    return rows
