"""What `denoise` is best told, judged on validation molecules: how images are grouped, K, and precision.

    python -m benchmarks settings -o benchmarks/results [--model base]

Molecules of split `validation` and phantoms that trainings are validated on, 64 px; relative MSE of all images of a
case together, and processor time over that of the defaults. Writes `settings.csv` and `.rst`.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common.command import run
from benchmarks.common.places import list_molecules
from benchmarks.common.tables import Row, write_table
from benchmarks.quality.images import simulate_images
from benchmarks.quality.points import Images
from benchmarks.studies.acceptance import denoise
from polardenoise.engine.evaluate.against_truth import relative_mse

PHANTOMS = ("phantom:122",)
STRUCTURES = ("6rku.cif.gz", "8tso.cif.gz")

CASES = {
    "4 views, SNR 0.02": Images(256, 4),
    "random views, CTF, SNR 0.05": Images(600, 0, 0.05, True),
}
SETTINGS = {
    "neighbours, K 32 (defaults)": ("--set-size", "32"),
    "neighbours, K 16": ("--set-size", "16"),
    "neighbours, K 64": ("--set-size", "64"),
    "neighbours, K 128": ("--set-size", "128"),
    "random sets of 64": ("--group-by", "random", "--set-size", "64"),
    "neighbours, K 32, float32": ("--set-size", "32", "--precision", "float32"),
}


def main(words: Sequence[str]) -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks settings", description=__doc__.splitlines()[0]
    )
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="base", help="name or folder of a polar transformer")
    arguments = parser.parse_args(words)
    sources = list_molecules(PHANTOMS, STRUCTURES)
    run("models")  # loads what is loaded once
    rows: list[Row] = []
    for case, images in CASES.items():
        errors: dict[str, list[float]] = {name: [] for name in SETTINGS}
        seconds = dict.fromkeys(SETTINGS, 0.0)
        for source in sources:
            with tempfile.TemporaryDirectory() as scratch:
                data = simulate_images(source, images, Path(scratch))
                for name, options in SETTINGS.items():
                    start = time.process_time()
                    estimate = denoise(data, arguments.model, ("--ignore-halves", *options))
                    seconds[name] += time.process_time() - start
                    errors[name].append(relative_mse(estimate, data.truth))
        default = seconds[next(iter(SETTINGS))]
        for name, values in errors.items():
            rows.append(
                {
                    "case": case,
                    "setting": name,
                    "relative MSE, mean": float(np.mean(values)),
                    **{Path(s).name.split(".")[0]: v for s, v in zip(sources, values, strict=True)},
                    "time over the defaults'": seconds[name] / default,
                }
            )
            print(rows[-1], flush=True)
        write_table(rows, arguments.output, "settings")
