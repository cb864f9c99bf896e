"""Boxes in which there is nothing, among simulated particles: junk as in every set that was picked."""

from __future__ import annotations

from typing import Any

import mrcfile
import numpy as np


def empty_last_boxes(particles: Any, count: int, seed: int = 1) -> set[int]:
    """Overwrite the last images of a simulated set by white noise as strong as the images before them.

    Parameters
    ----------
    particles : SetOfParticles
        All in one stack.
    count : int
        How many images.
    seed : int
        Of the noise.

    Returns
    -------
    set of int
        The ids of their particles.
    """
    _, path = particles.getFirstItem().getLocation()
    with mrcfile.open(path, "r+") as stack:
        first = len(stack.data) - count
        noise = np.random.default_rng(seed).standard_normal(stack.data[first:].shape)
        stack.data[first:] = noise * stack.data[:first].std()
    return {item.getObjId() for item in particles if item.getLocation()[0] > first}
