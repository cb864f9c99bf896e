"""What a training is fed: the sets of every step, the sets it is judged on, and what its card says of them."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from polardenoise.engine.outputs import Progress
from polardenoise.engine.recipe import Recipe
from polardenoise.engine.training_data import (
    DrawOne,
    Molecule,
    TrainingBatch,
    draw_batch,
    draw_set,
    load_molecule,
    stack_sets,
)
from polardenoise.engine.training_sources import TrainingSources

#: Seed of the simulated validation sets: the same in every training, so that histories compare.
VALIDATION_SEED = 20_250_611
#: What loading a source gives.
Loaded = TypeVar("Loaded")
#: Images of a validation set.
VALIDATION_IMAGES = 32


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
    sources: TrainingSources, recipe: Recipe, box: int, seed: int
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
    """
    molecules = load_molecules(
        sources.training, lambda source: load_molecule(source, box, recipe.fill[1])
    )
    validated_on = sources.validation[: recipe.validation_sets]  # a molecule a set
    validation = [load_molecule(source, box, 0.7) for source in validated_on]
    fixed = dataclasses.replace(fix_validation(recipe), fill=(0.7, 0.7), ctf_share=0.0)
    return TrainingFeed(
        draw=lambda step: draw_batch(molecules, recipe, box, seed, step),
        validation=draw_validation(validation, fixed, box, draw_set),
        trained_on=describe_sources(sources.training, validated_on, recipe),
        description=f"{len(molecules)} molecules",
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
    """Take chance out of a recipe: SNR 0.05, one blur, no shift, a particle in every image."""
    return dataclasses.replace(
        recipe, snr=(0.05, 0.05), blur=(70.0, 70.0), shift_share=0.0, noise_only_share=0.0
    )


def draw_validation(
    molecules: list[Molecule], fixed: Recipe, box: int, draw_one: DrawOne
) -> TrainingBatch:
    """Draw fixed sets of 32 images of one view, `fixed.validation_sets` of them, the molecules in turn."""
    generator = np.random.default_rng(VALIDATION_SEED)
    sets = [
        draw_one(molecules[index % len(molecules)], fixed, box, VALIDATION_IMAGES, "one", generator)
        for index in range(fixed.validation_sets)
    ]
    return stack_sets(sets)


def describe_sources(
    training: tuple[str, ...], validation: tuple[str, ...], recipe: Recipe
) -> dict[str, Any]:
    """Say on a card which molecules a training saw."""
    return {
        "sources": [Path(source).name for source in training],
        "validated_on": [Path(source).name for source in validation],
        "recipe": recipe.as_dict(),
    }
