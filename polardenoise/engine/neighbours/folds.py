"""Folds: the parts of a large half, each of whose images are estimated through what the others show.

What is learned from one fold and used in another has seen none of its pixels: an image that helped to make a template
or a volume would find its own noise in it. Two folds place each other's images in a volume, whose views are for those
of the third: so there are three folds in a ring. A micrograph is in one fold: boxes that overlap never meet.
"""

import numpy as np

from polardenoise.engine.neighbours.grouping import draw_parts
from polardenoise.engine.particles.shared_pixels import SharedPixels
from polardenoise.engine.particles.token_numbers import number_by_appearance

#: How many there are.
FOLDS = 3
FOLD_NUMBERS = range(1, FOLDS + 1)
#: Images of the smallest half that is divided: folds of fewer find too few neighbours (docs/templates.rst).
SMALLEST_HALF = 900
#: Share of a half that the smallest fold has at least: where micrographs are few they may not divide evenly.
SMALLEST_SHARE = 0.22


def divide_into_folds(halves: np.ndarray, shared: SharedPixels, seed: int) -> np.ndarray:
    """Divide the images of every large half into folds.

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
        `(n,)` int64 fold of each row, from 1; 0 in halves that are not divided.
    """
    folds = np.zeros(len(shared), dtype=np.int64)
    half_of_image = halves[shared.first_row]
    for half in np.unique(half_of_image):
        images = np.flatnonzero(half_of_image == half)
        if len(images) < SMALLEST_HALF:
            continue
        drawn = draw_parts(number_by_appearance(shared.fold[images]), FOLDS, seed)
        if np.bincount(drawn, minlength=FOLDS + 1)[1:].min() >= SMALLEST_SHARE * len(images):
            folds[images] = drawn
    return folds[shared.image_of_row]


def next_fold(fold: int) -> int:
    """Give the fold whose templates the images of a fold are seen through."""
    return fold % FOLDS + 1
