"""A whole training: sources to molecules, the loop, and the files in its folder."""

import csv
import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polardenoise.engine.checkpoint import ModelCard, load_model, save_model
from polardenoise.engine.devices import choose_device
from polardenoise.engine.errors import InputError
from polardenoise.engine.history_plot import plot_history
from polardenoise.engine.models import Denoiser, build_model
from polardenoise.engine.outputs import Progress, provenance
from polardenoise.engine.recipe import Recipe, choose_recipe
from polardenoise.engine.train import (
    Length,
    TrainingState,
    load_resume_state,
    save_resume_state,
    start_training,
    train,
)
from polardenoise.engine.training_data import (
    TrainingBatch,
    draw_batch,
    draw_set,
    load_molecule,
    stack_sets,
)
from polardenoise.engine.training_sources import expand_sources

#: Seed of the validation sets: the same in every training, so that histories compare.
VALIDATION_SEED = 20_250_611


@dataclass(frozen=True)
class TrainingPlan:
    """What `polardenoise train` was asked for; see its options."""

    sources: tuple[str, ...]
    folder: Path
    architecture: str
    preset: str
    recipe_file: Path | None
    init: str | None
    resume: bool
    steps: int | None
    minutes: float | None
    seed: int
    device: str
    command: tuple[str, ...]


def run_training(plan: TrainingPlan) -> dict[str, Any]:
    """Train a model into `plan.folder`.

    Writes model/, history.csv, history.png and resume/; killed at any moment, a run with `resume` goes on from the last
    checkpoint.

    Returns
    -------
    dict
        The summary.

    Raises
    ------
    InputError
        Before any work, if something given cannot be used.
    """
    recipe = choose_recipe(plan.preset, plan.architecture, plan.recipe_file)
    device = choose_device(plan.device)
    sources = expand_sources(list(plan.sources))
    resume_file = plan.folder / "resume" / "state.pt"
    if plan.resume and not resume_file.is_file():
        raise InputError(f"{resume_file}: nothing to resume; leave --resume out to start")
    torch.manual_seed(plan.seed)
    model = start_model(plan, recipe).to(device)
    state = start_training(model, recipe)
    facts = {
        "sources": list(sources.training),
        "architecture": plan.architecture,
        "recipe": recipe.as_dict(),
        "seed": plan.seed,
    }
    if plan.resume:
        check_same_training(resume_file, load_resume_state(resume_file, state), facts)
    plan.folder.mkdir(parents=True, exist_ok=True)
    box = model.config.box
    molecules = []
    with Progress("read", len(sources.training), "molecules") as progress:
        for source in sources.training:
            molecules.append(load_molecule(source, box, recipe.fill[1]))
            progress.advance(1)
    validation = draw_validation(sources.validation, recipe, box)
    history = plan.folder / "history.csv"
    started = time.strftime("%Y-%m-%d")

    def draw(step: int) -> TrainingBatch:
        return draw_batch(molecules, recipe, box, plan.seed, step)

    def checkpoint(state: TrainingState) -> None:
        save_resume_state(resume_file, state, facts)
        card = ModelCard(
            name=plan.folder.name,
            architecture=plan.architecture,
            sizes={},
            trained_on={
                **provenance(list(plan.command)),
                "started": started,
                "sources": [Path(source).name for source in sources.training],
                "validated_on": [Path(source).name for source in sources.validation],
                "recipe": recipe.as_dict(),
                "init": plan.init,
                "seed": plan.seed,
                "steps": state.step,
                "images": state.images,
                "minutes": round(state.seconds / 60, 2),
                "threads": torch.get_num_threads(),
                "device": str(device),
            },
            figures={"validation_relative_mse": read_last_error(history)},
            description=f"{plan.architecture}, {model.config.box} px, {len(molecules)} molecules",
        )
        save_model(plan.folder / "model", state.model, card)
        if history.exists():
            plot_history(history, plan.folder / "history.png")

    train(state, draw, validation, recipe, Length(plan.steps, plan.minutes), history, checkpoint)
    return {
        "model": str(plan.folder / "model"),
        "architecture": plan.architecture,
        "steps": state.step,
        "images": state.images,
        "minutes": state.seconds / 60,
        "validation_relative_mse": read_last_error(history),
        "molecules": len(molecules),
    }


def start_model(plan: TrainingPlan, recipe: Recipe) -> Denoiser:
    """Build the network, or load the one that the training starts from."""
    if plan.init is None:
        return build_model(plan.architecture, recipe.sizes)
    model, card = load_model(plan.init)
    if card.architecture != plan.architecture:
        raise InputError(
            f"--init {plan.init}: is a {card.architecture}; add --architecture {card.architecture}"
        )
    return model.train()


def check_same_training(resume_file: Path, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse to go on with another recipe, architecture, seed or other sources than a training began with."""
    for name, value in wanted.items():
        if saved[name] != value:
            raise InputError(
                f"{resume_file}: was trained with another {name.rstrip('s')}; give the same as before, "
                "or another -o to start anew"
            )


def draw_validation(sources: tuple[str, ...], recipe: Recipe, box: int) -> TrainingBatch:
    """Draw fixed validation sets: 32 images of one view, SNR 0.05, filling 0.7 of the box, no CTF, no shift."""
    fixed = dataclasses.replace(
        recipe,
        snr=(0.05, 0.05),
        fill=(0.7, 0.7),
        blur=(70.0, 70.0),
        ctf_share=0.0,
        shift_share=0.0,
        noise_only_share=0.0,
    )
    generator = np.random.default_rng(VALIDATION_SEED)
    molecules = [load_molecule(source, box, 0.7) for source in sources]
    sets = [
        draw_set(molecules[index % len(molecules)], fixed, box, 32, "one", generator)
        for index in range(recipe.validation_sets)
    ]
    return stack_sets(sets)


def read_last_error(history: Path) -> float | None:
    """Read the validation error in the last row of a history.csv."""
    if not history.exists():
        return None
    with history.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return float(rows[-1]["validation_relative_mse"]) if rows else None
