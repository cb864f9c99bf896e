"""Models that were adapted to particles: each half is denoised with the numbers of its own, the other half's never."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from polardenoise.engine.neighbours.set_sizes import MOST_TOGETHER
from polardenoise.engine.networks.adapted_numbers import (
    HalfNumbers,
    digest_images,
    give_numbers,
)
from polardenoise.engine.networks.checkpoint import ModelCard
from polardenoise.engine.networks.denoiser import Denoiser
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.runtime.errors import InputError

#: K, images of one half that are denoised together, where nobody has said otherwise.
DEFAULT_SET_SIZE = 32
#: Images of each half whose pixels are looked at before the work, evenly spread over it.
LOOKED_AT = 256


def choose_networks(
    model: Denoiser, known: Mapping[int, HalfNumbers], halves: np.ndarray
) -> dict[int, Denoiser]:
    """Give each half of `(n,)` rows its network: one for all, unless the model was adapted to the half."""
    return {
        half: give_numbers(as_joint(model), known[half].numbers) if half in known else model
        for half in np.unique(halves).tolist()
    }


def choose_set_sizes(
    asked: int | None, card: ModelCard, halves: np.ndarray, searched: bool
) -> dict[int, int]:
    """Choose K for each half of `(n,)` rows: what was asked for, or what the model was adapted to, or the default.

    `searched` says whether neighbours are looked for: only then is a K worth what it was when the model was adapted.
    """
    adapted = card.adapted.get("halves", {}) if searched else {}
    return {
        half: asked or adapted.get(str(half), {}).get("set_size", DEFAULT_SET_SIZE)
        for half in np.unique(halves).tolist()
    }


def choose_widest_sets(
    asked: int | None, card: ModelCard, set_sizes: Mapping[int, int], searched: bool
) -> dict[int, int]:
    """Choose the most that K may be for an image of each half, where neighbours are near (`neighbours.set_sizes`).

    More than the K of `choose_set_sizes` only where nobody has asked for a K, and no model was adapted to one.
    """
    adapted = card.adapted.get("halves", {})
    return {
        half: size if asked or not searched or str(half) in adapted else max(size, MOST_TOGETHER)
        for half, size in set_sizes.items()
    }


def check_adapted_halves(
    model: str,
    card: ModelCard,
    known: Mapping[int, HalfNumbers],
    particles: ParticleSet,
    halves: np.ndarray,
    ignored: bool,
) -> list[str]:
    """Hold the halves of a set against those that a model was adapted to.

    Parameters
    ----------
    model : str
        As it was named.
    card : ModelCard
        Of the model.
    known : mapping
        What the model holds for each half; empty where it was never adapted.
    particles : ParticleSet
        The set.
    halves : ndarray
        `(n,)` the half of each row.
    ignored : bool
        Whether halves are to be ignored.

    Returns
    -------
    list of str
        What is to be said: that these are other particles, or other halves, than the model was adapted to.

    Raises
    ------
    InputError
        If halves are ignored, or an image is in another half than it was when the model was adapted to it: the numbers
        of the one half would meet images of the other.
    """
    if not known:
        return []
    if ignored:
        raise InputError(
            f"--ignore-halves: {model} was adapted to each half by itself; leave it out, or take another --model"
        )
    adapted_to = Path(card.adapted["particles"]).name
    doubts, met, seen = [], 0, 0
    for half in np.unique(halves).tolist():
        rows = np.flatnonzero(halves == half)
        rows = rows[:: -(-len(rows) // LOOKED_AT)]
        digests = torch.from_numpy(digest_images(read_images(particles, rows)))
        seen += len(rows)
        for other, numbers in known.items():
            there = torch.isin(digests, numbers.digests).numpy()
            if other == half:
                met += int(there.sum())
            elif there.any():
                row = particles.row_number(rows[there][0])
                raise InputError(
                    f"{particles.star_path}: row {row} is in half {half}, and {model} was adapted to its image as one "
                    f"of half {other}; give the same rlnRandomSubset (drawn halves: the same --seed and rows) as to "
                    "adapt, or another --model"
                )
        if half not in known:
            doubts.append(f"{model} was adapted to no half {half}: the model as it was denoises it")
    if met < seen:
        doubts.append(
            f"{model} was adapted to other particles ({adapted_to}): {seen - met} of {seen} images looked at are not "
            "among them; adapt it to these, or take the model that it came from"
        )
    return doubts
