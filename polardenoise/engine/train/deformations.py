"""Molecules made unlike those of the list: each set's is shrunken along three directions of its own, half are mirrored.

Three million images of 210 molecules, and a network knows these by heart: its loss fell by a fifth, its error in others
by next to nothing (docs/training.rst). A transform sampled at `S k` instead of `k` is that of the volume shrunken by
`S`, so another molecule for every set costs one small matrix product.
"""

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.euler_angles import draw_orientations, matrices_from_angles
from polardenoise.engine.train.recipe import Recipe


def draw_deformations(sets: int, recipe: Recipe, generator: np.random.Generator) -> Tensor | None:
    """Draw by what the molecules of sets are deformed.

    Parameters
    ----------
    sets : int
        How many.
    recipe : Recipe
        Its `shrinking`.
    generator : numpy.random.Generator
        Source of randomness, not touched where nothing is deformed.

    Returns
    -------
    Tensor or None
        `(sets, 3, 3)` float64, to be multiplied from the left to orientations: symmetric, with eigenvalues between
        1 - `shrinking` and 1, times -1 for half of the sets. Never more than 1: a transform is known to the Nyquist
        frequency only. None where nothing is deformed.
    """
    if not recipe.shrinking:
        return None
    axes = matrices_from_angles(draw_orientations(sets, generator))
    factors = torch.from_numpy(generator.uniform(1 - recipe.shrinking, 1.0, (sets, 3)))
    # The longest axis stays as it is: it fills the box as it did.
    factors = factors / factors.amax(-1, keepdim=True)
    signs = torch.from_numpy(np.where(generator.random(sets) < 0.5, -1.0, 1.0))
    return (axes * factors[:, None, :]) @ axes.mT * signs[:, None, None]
