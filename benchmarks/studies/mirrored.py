"""Own noise taken off, mirrored neighbours, and the expectation over the others: what each is worth in small halves.

    python -m benchmarks mirrored -o benchmarks/results [SOURCE ...]

Particles of random orientations at 64 px, filling 0.7 of the box, all in one half of fewer images than are divided into
folds; denoised by `base` with none of these, with one more of them after another, and with all, as it does by default.
Relative MSE after no scaling, and processor seconds of each.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

from benchmarks.common.half_sets import (
    CASES,
    denoise_half,
    evaluate_half,
    name_case,
    simulate_half,
)
from benchmarks.common.places import list_molecules
from benchmarks.common.tables import write_table
from polardenoise.engine.neighbours import centred_denoising, expectation, search
from polardenoise.engine.neighbours.encoded_cluster import Cluster

PHANTOMS = ("phantom:122",)
#: Molecules of split `validation`.
STRUCTURES = ("6rku.cif.gz", "3ddo.pdb.gz")
WAYS = ("none of these", "own noise taken off", "and mirrored", "and the expectation")


def measure_set(folder: Path, source: str, count: int, snr: float, options: Sequence[str]) -> dict:
    """Figures of one set: errors and seconds of every way."""
    simulate_half(folder, source, count, snr, options)
    figures: dict[str, float] = {}
    for way in WAYS:
        with ExitStack() as changes:
            if way == WAYS[0]:
                changes.enter_context(patch.object(search, "OWN_NOISE_KEPT", 0.0))
            if way != WAYS[-1]:
                changes.enter_context(patch.object(expectation, "LEAST_IMAGES", sys.maxsize))
            if way in WAYS[:2]:
                for module in (search, centred_denoising):
                    changes.enter_context(patch.object(module, "encode_mirrored", leave_as_it_is))
            start = time.process_time()
            denoise_half(folder, "--ctf-output", "corrected")
            figures[f"{way}, s"] = time.process_time() - start
        figures[way] = evaluate_half(folder)
    return figures


def leave_as_it_is(model: object, cluster: Cluster) -> Cluster:
    """Stand in for `encode_mirrored` where mirrored images are not to count."""
    return cluster


def main(words: Sequence[str]) -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks mirrored", description=__doc__.splitlines()[0]
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--particles", type=int, default=1000, metavar="N")
    parser.add_argument("--case", type=int, nargs="+", default=range(len(CASES)), metavar="NUMBER")
    arguments = parser.parse_args(words)
    rows: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory() as scratch:
        # What is loaded and built once counts for none of the ways.
        measure_set(Path(scratch), PHANTOMS[0], 64, 0.1, ("--no-ctf",))
        for snr, options in (CASES[number] for number in arguments.case):
            for source in arguments.sources or list_molecules(PHANTOMS, STRUCTURES):
                figures = measure_set(Path(scratch), source, arguments.particles, snr, options)
                row = name_case(source, snr, options)
                row |= {way: f"{figures[way]:.4f}" for way in WAYS}
                row["ratio"] = f"{figures[WAYS[-1]] / figures[WAYS[0]]:.2f}"
                row["time"] = f"{figures[f'{WAYS[-1]}, s'] / figures[f'{WAYS[0]}, s']:.2f}"
                rows.append(row)
                print(row, flush=True)
                write_table(rows, arguments.output, "mirrored")
