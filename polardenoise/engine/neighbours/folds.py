"""Folds: the two parts of a large half whose images are estimated through one another's templates.

What is learned from one fold and used in the other has seen none of its pixels: an image that helped to make a template
would find its own noise in it. A micrograph is in one fold, so that boxes that overlap never meet through a template.
"""

import numpy as np

from polardenoise.engine.neighbours.grouping import draw_halves
from polardenoise.engine.particles.shared_pixels import SharedPixels
from polardenoise.engine.particles.token_numbers import number_by_appearance

#: Images of the smallest half that is divided: folds of fewer find too few neighbours (docs/templates.rst).
SMALLEST_HALF = 4096
#: Share of a half that the smaller fold has at least: where micrographs are few they may not divide evenly.
SMALLEST_SHARE = 0.35


def divide_into_folds(halves: np.ndarray, shared: SharedPixels, seed: int) -> np.ndarray:
    """Divide the images of every large half into two folds.

    Parameters
    ----------
    halves : ndarray
        `(n,)` the half of each row.
    shared : SharedPixels
        Which rows show one image, and which images share pixels.
    seed : int
        Fixes the draw.

    Returns
    -------
    ndarray
        `(n,)` int64 fold of each row, 1 or 2; 0 in halves that are not divided.
    """
    folds = np.zeros(len(shared), dtype=np.int64)
    half_of_image = halves[shared.first_row]
    for half in np.unique(half_of_image):
        images = np.flatnonzero(half_of_image == half)
        if len(images) < SMALLEST_HALF:
            continue
        drawn = draw_halves(number_by_appearance(shared.fold[images]), seed)
        if np.bincount(drawn, minlength=3)[1:].min() >= SMALLEST_SHARE * len(images):
            folds[images] = drawn
    return folds[shared.image_of_row]
