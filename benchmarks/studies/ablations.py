"""Ablations: what each part of the polar transformer is worth, one thing changed at a time, all trained alike.

    python -m benchmarks ablations -o benchmarks/results [--steps 600] [--seeds 0 1] [--rows NAME ...] [--keep DIR]

Every row is trained from nothing, on the same images in the same order, for the same steps (96 images each, phantoms at
32 px, R=16, T=64), then judged on sets of phantoms and, where the shared data are, real molecules that nothing was
trained on. What is done is kept (in DIR, by row and seed) and not done again; a training that was stopped goes on.
Columns: relative MSE of one-view sets of 32 images at SNR 0.05 without CTF; the same with CTF, and with CTF and shifts
of up to 1.5 px, of what is kept (estimate and truth times |CTF|); of 32 images from a cone of views at SNR 0.1.
"""

import argparse
import dataclasses
import json
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.common.places import list_structures_of
from benchmarks.common.tables import write_table
from benchmarks.studies import ablation_networks as networks
from benchmarks.studies.attention_supervision import supervise_attention
from polardenoise.engine.imaging.ctf import apply_ctf
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.rings import average_rings, best_radial_filter
from polardenoise.engine.networks.polar_transformer import PolarTransformer, PolarTransformerConfig
from polardenoise.engine.runtime.files import write_json
from polardenoise.engine.simulate.sources import Density
from polardenoise.engine.train.loop import (
    Length,
    TrainingState,
    start_training,
    train,
)
from polardenoise.engine.train.loss import Objective, measure_objective
from polardenoise.engine.train.recipe import Recipe
from polardenoise.engine.train.resume_state import (
    read_resume_state,
    restore_state,
    save_resume_state,
)
from polardenoise.engine.train.simulated_sets import (
    TrainingBatch,
    draw_batch,
    draw_sets_of,
    load_molecule,
    stack_molecules,
)

SIZES = PolarTransformerConfig(
    box=32, rings=16, angles=64, hidden=64, query=32, value=64, before=4, after=4, passes=1
)
RECIPE = Recipe(
    snr=(0.02, 0.3),
    images_per_set=(16, 24, 32, 48),
    largest_shift=1.5,
    warmup_steps=100,
    precision="bfloat16",
)
TRAINED_ON = tuple(f"phantom:{seed}" for seed in range(80))
VALIDATED_ON = ("phantom:9990", "phantom:9991")
TESTED_ON = tuple(f"phantom:{seed}" for seed in range(10001, 10009))

#: What is judged: column, set sizes apart. View mode and what the recipe is changed to.
CONDITIONS: dict[str, tuple[str, dict]] = {
    "one view": ("one", {"snr": (0.05, 0.05), "ctf_share": 0.0, "shift_share": 0.0}),
    "CTF": ("one", {"snr": (0.05, 0.05), "ctf_share": 1.0, "shift_share": 0.0}),
    "CTF and shifts": ("one", {"snr": (0.05, 0.05), "ctf_share": 1.0, "shift_share": 1.0}),
    "cone": ("cone", {"snr": (0.1, 0.1), "ctf_share": 0.0, "shift_share": 0.0}),
}
CPU = torch.device("cpu")
SET_SIZE = 32
SETS_EACH = 4  # of every test molecule


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the table: what is built, and what its training minimises."""

    says: str
    build: Callable[[PolarTransformerConfig], PolarTransformer]
    objective: Objective = measure_objective


ROWS = {
    "polar-transformer": Row("the paper's network: one block, one pass, told the CTF", networks.PlainAverage),
    "no-rotation-search": Row("attention without rotation search", networks.WithoutRotationSearch),
    "plane-convolutions": Row("2D convolution on the polar grid", networks.PlaneConvolutions),
    "bilinear-map": Row("bilinear instead of Gaussian polar map", networks.BilinearMap),
    "bare-adjoint": Row("bare adjoint instead of least-squares inverse", networks.BareAdjoint),
    "two-blocks": Row("two attention blocks", networks.TwoBlocks),
    "three-blocks": Row("three attention blocks", networks.ThreeBlocks),
    "no-raw-values": Row("no raw polar values in the attended sum", networks.WithoutRawValues),
    "dot-product": Row("dot-product instead of cosine logits", networks.DotProductLogits),
    "supervised": Row("attention supervised by who and at which rotation", networks.PlainAverage, supervise_attention),
    "phase-flip-only": Row("phase flipping alone: not told the CTF", networks.NotConditioned),
    "ctf-weighted": Row("attended average CTF-weighted, a group's Wiener solution", PolarTransformer),
    "fourier-polar": Row("polar grid in Fourier space, CTF-weighted", networks.InFourierSpace),
}  # fmt: skip


def train_row(
    row: Row, seed: int, steps: int, molecules: list[Density], folder: Path
) -> TrainingState:
    """Train one row with one seed, from where it was left."""
    torch.manual_seed(seed)
    state = start_training(row.build(SIZES), RECIPE)
    resume, facts = folder / "resume", {"row": row.says, "seed": seed, "steps": steps}
    if (resume / "state.json").exists():
        saved = read_resume_state(resume)
        if saved["facts"] == facts:
            restore_state(saved, state)
    folder.mkdir(parents=True, exist_ok=True)
    trained_on = stack_molecules(molecules[len(VALIDATED_ON) :], CPU)
    train(
        state,
        lambda step: draw_batch(trained_on, RECIPE, seed, step),
        draw_condition(molecules[: len(VALIDATED_ON)], "one view", 2),
        RECIPE,
        Length(steps, None),
        folder / "history.csv",
        lambda state: save_resume_state(resume, state, facts),
        objective=row.objective,
    )
    return state


def draw_condition(molecules: list[Density], condition: str, sets_each: int) -> TrainingBatch:
    """Draw the fixed sets of one column, `(sets, images, box, box)`."""
    mode, changes = CONDITIONS[condition]
    fixed = {"fill": (0.7, 0.7), "blur": (70.0, 70.0), "noise_only_share": 0.0}
    recipe = dataclasses.replace(RECIPE, view_modes={mode: 1.0}, **fixed, **changes)
    generator = np.random.default_rng(20_261_122)
    shown = np.arange(len(molecules)).repeat(sets_each)
    return draw_sets_of(stack_molecules(molecules, CPU), shown, SET_SIZE, recipe, generator)


def relative_error(estimate: Tensor, batch: TrainingBatch) -> float:
    """Mean over sets of the relative MSE on the disk, of what the microscope would have seen."""
    disk = disk_mask(SIZES.box, SIZES.box / 2 - 1)
    seen, truth = (apply_ctf(one, batch.abs_ctf) * disk for one in (estimate, batch.clean))
    error = (seen - truth).square().sum((-3, -2, -1)) / truth.square().sum((-3, -2, -1))
    return float(error.mean())


def judge(denoise: Callable[[TrainingBatch], Tensor], molecules: list[Density]) -> dict[str, float]:
    """Relative MSE of a denoiser in every column."""
    figures = {}
    for condition in CONDITIONS:
        batch = draw_condition(molecules, condition, SETS_EACH)
        with torch.inference_mode():
            figures[condition] = relative_error(denoise(batch), batch)
    return figures


def filter_radially(batch: TrainingBatch) -> Tensor:
    """Denoise each set with the best radial filter of its images."""
    pairs = zip(batch.noisy, batch.clean, strict=True)
    return torch.stack([best_radial_filter(noisy, clean) for noisy, clean in pairs])


def measure_row(name: str, seed: int, steps: int, molecules: list[Density], folder: Path) -> dict:
    """Train and judge one row with one seed, or read what is there."""
    result = folder / f"{name}-{seed}.json"
    if result.exists():
        done = json.loads(result.read_text())
        if done["steps"] == steps:
            return done
    fitted = molecules[: len(VALIDATED_ON) + len(TRAINED_ON)]
    state = train_row(ROWS[name], seed, steps, fitted, folder / f"{name}-{seed}")
    model = state.model.eval()
    done = {
        "row": name,
        "seed": seed,
        "steps": state.step,
        "images": state.images,
        "seconds": round(state.seconds, 1),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "machine": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads",
        "time": time.strftime("%Y-%m-%d %H:%M"),
        **judge(
            lambda batch: model(batch.noisy, average_rings(batch.abs_ctf)),
            molecules[len(fitted) :],
        ),
    }
    write_json(result, done)
    return done


def find_molecules() -> tuple[str, ...]:
    """Name validation, training and test sources; real test molecules where the shared data are."""
    return (*VALIDATED_ON, *TRAINED_ON, *TESTED_ON, *list_structures_of("test"))


def tabulate(measured: list[dict], baseline: dict[str, float]) -> list[dict[str, str]]:
    """Put means over seeds, and half their spread, into the rows of the table."""
    table = [
        {"row": "best radial filter", **{name: f"{baseline[name]:.4f}" for name in CONDITIONS}}
    ]
    for name, row in ROWS.items():
        runs = [one for one in measured if one["row"] == name]
        if not runs:
            continue
        cells = {"row": row.says}
        for condition in CONDITIONS:
            errors = np.array([one[condition] for one in runs])
            cells[condition] = f"{errors.mean():.4f} ± {np.ptp(errors) / 2:.4f}"
        cells["seeds"] = str(len(runs))
        cells["images"] = str(runs[0]["images"])
        cells["parameters"] = str(runs[0]["parameters"])
        cells["minutes"] = f"{np.mean([one['seconds'] for one in runs]) / 60:.1f}"
        table.append(cells)
    return [{column: row.get(column, "") for column in table[-1]} for row in table]


def main(words: Sequence[str]) -> None:
    """Measure what is asked for and write the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks ablations", description=__doc__.splitlines()[0]
    )
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--keep", type=Path, default=Path("training/ablations"), metavar="DIR")
    arguments = parser.parse_args(words)
    sources = find_molecules()
    molecules = [load_molecule(source, SIZES.box, RECIPE.fill[1]) for source in sources]
    tested = molecules[len(VALIDATED_ON) + len(TRAINED_ON) :]
    measured = []
    for seed in arguments.seeds:
        for name in arguments.rows:
            print(f"{name}, seed {seed}", flush=True)
            measured.append(measure_row(name, seed, arguments.steps, molecules, arguments.keep))
    write_json(arguments.output / "ablations.json", {"runs": measured})
    write_table(tabulate(measured, judge(filter_radially, tested)), arguments.output, "ablations")
    print((arguments.output / "ablations.csv").read_text())
