"""What a training is fed: the sets of every step, the sets it is judged on, and what its card says of them."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from polardenoise.counts import word_count
from polardenoise.engine.runtime.progress import Progress
from polardenoise.engine.train.optics import DrawOptics, draw_optics
from polardenoise.engine.train.recipe import Recipe
from polardenoise.engine.train.simulated_sets import (
    Molecules,
    TrainingBatch,
    draw_batch,
    draw_sets_of,
    load_molecule,
    stack_molecules,
)
from polardenoise.engine.train.sources import TrainingSources

#: Seed of the simulated validation sets: the same in every training, so that histories compare.
VALIDATION_SEED = 20_250_611
#: What loading a source gives.
Loaded = TypeVar("Loaded")
#: Images of a validation set.
VALIDATION_IMAGES = 32
#: How much of the box the molecules of the validation sets fill.
VALIDATION_FILL = 0.7
#: Validation sets are made here, so that trainings on any device are judged on the same images.
CPU = torch.device("cpu")


@dataclass(frozen=True)
class TrainingFeed:
    """Training and validation sets.

    Attributes
    ----------
    draw : callable
        From a step number to its training sets: the same whenever it is asked.
    validation : TrainingBatch
        Fixed sets that the history's relative MSE is measured on.
    trained_on : dict
        What the model's card says of them.
    description : str
        The same in a few words.
    counts : dict
        For the summary: what was trained on, and how much of it.
    """

    draw: Callable[[int], TrainingBatch]
    validation: TrainingBatch
    trained_on: dict[str, Any]
    description: str
    counts: dict[str, int]


def feed_from_sources(
    sources: TrainingSources, recipe: Recipe, box: int, seed: int, device: torch.device
) -> TrainingFeed:
    """Simulate molecules as the recipe says.

    Parameters
    ----------
    sources : TrainingSources
        The molecules.
    recipe : Recipe
        The distribution.
    box : int
        The network's box in pixels.
    seed : int
        Fixes every draw.
    device : torch.device
        Where the images are made.
    """
    densities = load_molecules(
        sources.training, lambda source: load_molecule(source, box, recipe.fill[1])
    )
    molecules = stack_molecules(densities, device)
    validated_on = sources.validation[: recipe.validation_sets]  # a molecule a set
    validation = [load_molecule(source, box, VALIDATION_FILL) for source in validated_on]
    fixed = dataclasses.replace(
        fix_validation(recipe), fill=(VALIDATION_FILL, VALIDATION_FILL), ctf_share=0.0
    )
    return TrainingFeed(
        draw=lambda step: draw_batch(molecules, recipe, seed, step),
        validation=draw_validation(stack_molecules(validation, CPU), fixed, draw_optics),
        trained_on=describe_sources(sources.training, validated_on, recipe),
        description=word_count(len(molecules), "molecule"),
        counts={"molecules": len(molecules)},
    )


def load_molecules(sources: tuple[str, ...], load: Callable[[str], Loaded]) -> list[Loaded]:
    """Load the molecules to train on, with a line of progress."""
    molecules = []
    with Progress("read", len(sources), "molecules") as progress:
        for source in sources:
            molecules.append(load(source))
            progress.advance(1)
    return molecules


def fix_validation(recipe: Recipe) -> Recipe:
    """Take chance out of a recipe: one view, SNR 0.05, white noise, one blur, no shift, its molecule in every image."""
    return dataclasses.replace(
        recipe,
        view_modes={"one": 1.0},
        snr=(0.05, 0.05),
        blur=(70.0, 70.0),
        shift_share=0.0,
        noise_only_share=0.0,
        junk_share=0.0,
        coloured_share=0.0,
        whitened_share=0.0,
        neighbour_share=0.0,
        contrast_spread=0.0,
        slope=0.0,
        ice=0.0,
        defocus_error=0.0,
        shrinking=0.0,
        joined_share=0.0,
    )


def draw_validation(molecules: Molecules, fixed: Recipe, draw_optics: DrawOptics) -> TrainingBatch:
    """Draw fixed sets of 32 images of one view, `fixed.validation_sets` of them, the molecules in turn."""
    generator = np.random.default_rng(VALIDATION_SEED)
    shown = np.arange(fixed.validation_sets) % len(molecules)
    return draw_sets_of(molecules, shown, VALIDATION_IMAGES, fixed, generator, draw_optics)


def describe_sources(
    training: tuple[str, ...], validation: tuple[str, ...], recipe: Recipe
) -> dict[str, Any]:
    """Say on a card which molecules a training saw."""
    return {
        "sources": [Path(source).name for source in training],
        "validated_on": [Path(source).name for source in validation],
        "recipe": recipe.as_dict(),
    }
