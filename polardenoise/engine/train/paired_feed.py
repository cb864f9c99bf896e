"""A pair of particle sets as what a training is fed."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polardenoise.counts import word_count
from polardenoise.engine.particles.set_checks import most_common_pixel_size
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.file_list import check_room
from polardenoise.engine.train.paired_sets import (
    ParticlePair,
    draw_pair_batch,
    draw_pair_sets,
    hold_out,
    prepare_pair,
)
from polardenoise.engine.train.recipe import Recipe
from polardenoise.engine.train.simulated_feed import (
    VALIDATION_IMAGES,
    VALIDATION_SEED,
    TrainingFeed,
)

#: Settings of a recipe that say how images are simulated: a training on pairs has no use for them.
SIMULATION_SETTINGS = (
    "view_modes",
    "snr",
    "fill",
    "blur",
    "ctf_share",
    "microscopes",
    "amplitude_contrast",
    "defocus",
    "phase_plate_share",
    "shift_share",
    "largest_shift",
    "noise_only_share",
    "junk_share",
    "coloured_share",
    "whitened_share",
    "neighbour_share",
    "contrast_spread",
    "slope",
    "ice",
    "ice_spread",
    "defocus_error",
    "shrinking",
    "joined_share",
    "whitening_error",
    "noise_spectrum",
)


def feed_from_pair(
    pair: ParticlePair,
    recipe: Recipe,
    box: int,
    seed: int,
    folder: Path,
    device: torch.device,
    resources: ExitStack,
) -> TrainingFeed:
    """Prepare a pair of sets and draw training sets from it.

    Parameters
    ----------
    pair : ParticlePair
        The sets.
    recipe : Recipe
        Images of a step and of a set, and the number of validation sets.
    box : int
        The network's box in pixels.
    seed : int
        Fixes every draw.
    folder : Path
        The training's folder, there or not: the scratch files lie in it or in the nearest folder above that is there.
    device : torch.device
        Where to prepare.
    resources : ExitStack
        Closes the scratch files.

    Raises
    ------
    InputError
        If the disk is too small or the pixels cannot be used.
    """
    scratch = next(path for path in (folder, *folder.resolve().parents) if path.is_dir())
    check_room(scratch, 2 * 4 * len(pair) * box**2)
    prepared = prepare_pair(pair, box, scratch, device, resources)
    training, held_out = hold_out(pair.halves, pair.shared, seed)
    images = min(VALIDATION_IMAGES, *map(len, held_out.values()))
    validation = draw_pair_sets(
        prepared, held_out, recipe.validation_sets, images, np.random.default_rng(VALIDATION_SEED)
    )
    if not validation.clean.any():
        raise InputError(
            f"--pairs {pair.clean.star_path}: the truth of the particles held out is zero; give more particles"
        )
    name = pair.noisy.star_path.name
    settings = recipe.as_dict()
    trained_on: dict[str, Any] = {
        "sources": [],
        "pairs": {
            "noisy": name,
            "clean": pair.clean.star_path.name,
            "count": len(pair),
            "held_out": sum(map(len, held_out.values())),
            "halves": "drawn" if pair.halves_drawn else "rlnRandomSubset",
            "classes": 0 if pair.classes is None else int(pair.classes.max()) + 1,
            "box": pair.noisy.box,
            "pixel_size": most_common_pixel_size(pair.noisy),
            "ctf_state": pair.noisy.ctf_state,
        },
        "validated_on": [f"particles of {name} held out"],
        "recipe": {key: settings[key] for key in settings if key not in SIMULATION_SETTINGS},
    }
    return TrainingFeed(
        draw=lambda step: draw_pair_batch(prepared, training, recipe, seed, step),
        validation=validation,
        trained_on=trained_on,
        description=f"{word_count(len(pair), 'particle')} of {name}",
        counts={"particles": len(pair)},
    )
