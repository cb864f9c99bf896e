"""Large halves as one set: what templates of the other fold add to an image's own neighbours, and what they cost.

    python -m benchmarks whole_halves -o benchmarks/results [SOURCE ...]

Particles of random orientations at 64 px, filling 0.7 of the box, all in one half; denoised by `base` as it does by
default, and by neighbours alone (halves are then not divided). Relative MSE after no scaling, and seconds of each.
Beside it the average of the 64 images whose true viewing directions are the nearest, turned onto the image, after the
best radial filter, which knows the truth.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import torch

from benchmarks.common.half_sets import (
    CASES,
    CLEAN,
    NOISY,
    denoise_half,
    evaluate_half,
    name_case,
    simulate_half,
)
from benchmarks.common.places import list_molecules
from benchmarks.common.tables import write_table
from benchmarks.quality.baselines import sum_in_frames
from polardenoise.engine.evaluate.against_truth import relative_mse
from polardenoise.engine.imaging.euler_angles import matrices_from_angles
from polardenoise.engine.imaging.rings import best_radial_filter
from polardenoise.engine.neighbours import folds
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles

PHANTOMS = ("phantom:122", "phantom:127")
#: Molecules of split `validation`.
STRUCTURES = ("6rku.cif.gz",)
AVERAGED, ASKED = 64, 256


def measure_set(
    folder: Path, source: str, count: int, snr: float, options: Sequence[str], smallest_half: int
) -> dict:
    """Figures of one set: errors and seconds; halves of so many images or more are divided."""
    simulate_half(folder, source, count, snr, options)
    figures: dict[str, float] = {}
    for way, smallest in (("neighbours", 10**9), ("whole half", smallest_half)):
        start = time.perf_counter()
        with patch.object(folds, "SMALLEST_HALF", smallest):
            denoise_half(folder)
        figures[f"{way}, s"] = time.perf_counter() - start
        figures[way] = evaluate_half(folder)
    if "--no-ctf" in options:
        figures["64 true neighbours"] = average_true_neighbours(folder / NOISY, folder / CLEAN)
    return figures


def average_true_neighbours(noisy: Path, clean: Path) -> float:
    """Relative MSE of averages of the raw images whose true viewing directions are the nearest, after a filter."""
    particles = read_particles(noisy)
    poses = matrices_from_angles(torch.from_numpy(particles.angles)).float()
    images = torch.from_numpy(read_images(particles, slice(None)))
    truth = torch.from_numpy(read_images(read_particles(clean), slice(0, ASKED)))
    directions = poses[:, :, 2]
    nearest = (directions[:ASKED] @ directions.T).topk(AVERAGED, dim=1).indices
    # The filter makes averages of the sums.
    sums = sum_in_frames(images, poses, nearest)
    return relative_mse(best_radial_filter(sums, truth), truth)


def main(words: Sequence[str]) -> None:
    """Measure everything and write the tables."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks whole_halves", description=__doc__.splitlines()[0]
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--particles", type=int, nargs="+", default=[5000, 10000], metavar="N")
    parser.add_argument(
        "--smallest-half",
        type=int,
        default=folds.SMALLEST_HALF,
        metavar="N",
        help="that is divided",
    )
    parser.add_argument("--case", type=int, nargs="+", default=range(len(CASES)), metavar="NUMBER")
    arguments = parser.parse_args(words)
    rows: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for snr, options in (CASES[number] for number in arguments.case):
            for source in arguments.sources or list_molecules(PHANTOMS, STRUCTURES):
                for count in arguments.particles:
                    figures = measure_set(
                        Path(scratch), source, count, snr, options, arguments.smallest_half
                    )
                    row = {**name_case(source, snr, options), "images": str(count)}
                    for name in ("64 true neighbours", "neighbours", "whole half"):
                        row[name] = f"{figures[name]:.4f}" if name in figures else ""
                    row["ratio"] = f"{figures['whole half'] / figures['neighbours']:.2f}"
                    row["time"] = f"{figures['whole half, s'] / figures['neighbours, s']:.2f}"
                    rows.append(row)
                    print(row, flush=True)
                    write_table(rows, arguments.output, "whole_halves")
