"""Whether a network's error depends on how what it sees is rotated.

    python benchmarks/rotation_study.py MODEL ... -o benchmarks/results/honesty

For each model, on sets of 32 images at SNR 0.05 without CTF, of a phantom that no model is trained on: how far the
output for images turned by 90 degrees is from the turned output (same noise), and by how much the relative MSE of
the most elongated view changes when the molecule and all noise below Nyquist are turned by so many 128ths of a turn,
with its standard error over the sets. Each row is kept in `rotation/` and not computed again. Writes a table.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from polardenoise.engine.benchmark_rotation import (
    STEPS,
    compare_errors,
    draw_one_view_set,
    find_elongated_view,
    measure_quarter_turn,
    measure_rotated_sets,
)
from polardenoise.engine.benchmark_tables import write_table
from polardenoise.engine.checkpoint import load_model
from polardenoise.engine.molecules import read_density
from polardenoise.engine.outputs import write_json
from polardenoise.engine.projections import prepare_volume

MOLECULE, B_FACTOR = "phantom:10002", 150.0
SNR, IMAGES_PER_SET = 0.05, 32
#: 2.8, 14.1, 45 and 75.9 degrees.
ROTATIONS = (1, 5, 16, 27)


def main() -> None:
    """Measure what is not there yet and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL", help="names or folders")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--sets", type=int, default=8, help="of each rotation (default: 8)")
    arguments = parser.parse_args()
    rows = []
    for model in arguments.models:
        path = arguments.output / "rotation" / f"{Path(model).name}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, measure(model, arguments.sets))
        rows.append({"model": Path(model).name, **json.loads(path.read_text())})
        write_table(rows, arguments.output, "rotation")


def measure(name: str, count: int) -> dict[str, Any]:
    """Measure one model on `count` sets of each rotation."""
    model, card = load_model(name)
    transform = prepare_volume(read_density(MOLECULE, card.sizes["box"], None, B_FACTOR).volume)
    generator = np.random.default_rng(0)
    view = find_elongated_view(transform, generator)
    quarter = measure_quarter_turn(
        model, draw_one_view_set(transform, IMAGES_PER_SET, SNR, generator)
    )
    errors = {
        steps: measure_rotated_sets(
            model, transform, view, steps, count, IMAGES_PER_SET, SNR, seed=1
        )
        for steps in (0, *ROTATIONS)
    }
    row: dict[str, Any] = {
        "sets": count,
        "90 degrees: change of the output": quarter,
        "relative MSE": float(errors[0].mean()),
    }
    for steps in ROTATIONS:
        change, uncertainty = compare_errors(errors[steps], errors[0])
        degrees = f"{steps * 360 / STEPS:.1f} degrees"
        row |= {
            f"{degrees}: change of the error": change,
            f"{degrees}: standard error": uncertainty,
        }
    return row


if __name__ == "__main__":
    main()
