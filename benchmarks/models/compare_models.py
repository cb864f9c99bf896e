"""How much error models leave in fixed simulated sets, of one view, among views with CTFs, and as real boxes are.

    python -m benchmarks.models.compare_models base NAME=training/NAME/model ... -o benchmarks/results

Two minutes a model on a core: what a training gains is seen here before any set is denoised. (The validation error of a
history is of 8 sets of one view without CTFs: it says when a training goes astray, and little else.) Molecules are the
structures of split `validation`, and phantoms that nothing is trained on, two of them cages. Sets hold 64 images of one
molecule and no junk. The error is that of images as the microscope would have seen them, |CTF| included, on the disk,
relative to their energy: of each set, and averaged over the sets.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.common.places import list_structures_of
from benchmarks.common.tables import Row, write_table
from polardenoise.engine.imaging.ctf import apply_ctf
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.networks.checkpoint import find_model, load_model
from polardenoise.engine.networks.denoiser import Denoiser
from polardenoise.engine.runtime.devices import choose_precision, mixed_precision
from polardenoise.engine.train.recipe import PRESETS, Recipe, lay_file_over
from polardenoise.engine.train.simulated_sets import (
    Molecules,
    TrainingBatch,
    draw_sets_of,
    load_molecule,
    stack_molecules,
)

BOX, IMAGES, SEED = 64, 64, 77
PHANTOMS = ("phantom:9990", "phantom:9991", "phantom:8990", "phantom:8991")
HERE = Path(__file__).resolve().parent
#: Sets with a CTF and coloured noise, as the search for neighbours finds them.
AS_REAL_BOXES = {
    "snr": (0.05, 0.3),
    "view_modes": {"cone": 1.0},
    "ctf_share": 1.0,
    "coloured_share": 1.0,
}
#: Recipe, what of it is fixed, and how many sets are drawn.
CASES: dict[str, tuple[str, dict, int]] = {
    "one view, SNR 0.02": (
        "base_matched_cpu.json",
        {
            "snr": (0.02, 0.02),
            "view_modes": {"one": 1.0},
            "ctf_share": 0.0,
            "coloured_share": 0.0,
            "shift_share": 0.0,
        },
        16,
    ),
    "views of a cone, CTF, SNR 0.05": (
        "base_matched_cpu.json",
        {"snr": (0.05, 0.05), "view_modes": {"cone": 1.0}, "ctf_share": 1.0},
        16,
    ),
    "the recipe of base": ("base_matched_cpu.json", {}, 24),
    "as real boxes, noise left coloured": (
        "real_cpu.json",
        {**AS_REAL_BOXES, "whitened_share": 0.0},
        16,
    ),
    "as real boxes, noise whitened": (
        "real_cpu.json",
        {**AS_REAL_BOXES, "whitened_share": 1.0},
        16,
    ),
}


def load_molecules(phantoms: Sequence[str], structures: Sequence[str]) -> Molecules:
    """Load what the sets show."""
    densities = [load_molecule(source, BOX, 0.9) for source in (*structures, *phantoms)]
    return stack_molecules(densities, torch.device("cpu"))


def draw_case(molecules: Molecules, recipe: Recipe, sets: int) -> Iterator[TrainingBatch]:
    """Draw one set after another, of the molecules in turn; the same ones whenever it is asked."""
    generator = np.random.default_rng(SEED)
    for number in range(sets):
        shown = np.array([number % len(molecules)])
        yield draw_sets_of(molecules, shown, IMAGES, recipe, generator)


def lay_case(name: str) -> Recipe:
    """Make the recipe of a case."""
    file, fixed, _ = CASES[name]
    recipe = lay_file_over(PRESETS["base"], "polar-transformer", HERE / file)
    return replace(recipe, **{"noise_only_share": 0.0, "junk_share": 0.0, **fixed})


@torch.inference_mode()
def measure_error(model: Denoiser, batch: TrainingBatch) -> float:
    """Measure the relative error of one set."""
    rings = batch.average_ctf_rings()
    device = batch.noisy.device
    with mixed_precision(device, choose_precision(device, "auto")):
        estimate = model(batch.noisy, rings).float()
    disk = disk_mask(BOX, BOX / 2 - 1)
    seen, truth = (apply_ctf(one, batch.abs_ctf) * disk for one in (estimate, batch.clean))
    return float((seen - truth).square().sum() / truth.square().sum())


def compare_models(
    models: Mapping[str, str], molecules: Molecules, share: float = 1.0
) -> list[Row]:
    """Measure all models on all cases, or on the first sets of each; a row a case."""
    loaded = {name: load_model(find_model(place))[0].eval() for name, place in models.items()}
    rows: list[Row] = []
    for case, (_, _, sets) in CASES.items():
        count = max(1, round(share * sets))
        errors: dict[str, list[float]] = {name: [] for name in loaded}
        for batch in draw_case(molecules, lay_case(case), count):
            for name, model in loaded.items():
                errors[name].append(measure_error(model, batch))
        rows.append(
            {"sets": case, **{name: float(np.mean(found)) for name, found in errors.items()}}
        )
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    return rows


def name_models(words: Sequence[str]) -> dict[str, str]:
    """Read `NAME=MODEL`, or a model that is its own name."""
    return dict(word.split("=", 1) if "=" in word else (word, word) for word in words)


def main(words: Sequence[str] | None = None) -> None:
    """Compare models and write the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.models.compare_models", description=__doc__
    )
    parser.add_argument("models", nargs="+", metavar="MODEL|NAME=MODEL")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args(words)
    molecules = load_molecules(PHANTOMS, list_structures_of("validation"))
    rows = compare_models(name_models(arguments.models), molecules)
    write_table(rows, arguments.output, "compared_models")


if __name__ == "__main__":
    main()
