"""Sets of images that are denoised together: K of one half and one group."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImageSet:
    """Images that attend to one another.

    Attributes
    ----------
    rows : ndarray
        `(K,)` int64 rows of the particle set, each once.
    kept : int
        The first `kept` rows take their output from this set; the others only fill it up.
    """

    rows: np.ndarray
    kept: int


def draw_halves(count: int, seed: int) -> np.ndarray:
    """Divide particles at random into two halves of equal size (to one).

    Parameters
    ----------
    count : int
        Particles.
    seed : int
        Fixes the draw.

    Returns
    -------
    ndarray
        `(count,)` int64 of 1 and 2, as `rlnRandomSubset`.
    """
    halves = np.arange(count, dtype=np.int64) % 2 + 1
    return np.random.default_rng([seed, 1]).permutation(halves)


def form_sets(
    halves: np.ndarray, groups: np.ndarray, images_per_set: int, seed: int
) -> list[ImageSet]:
    """Cut every group of every half into sets at random.

    Images of different halves or groups never meet. A group of more than K images is cut into sets of K; the last one
    is filled up with further images of the same group and half. A smaller group is one smaller set.

    Parameters
    ----------
    halves : ndarray
        `(n,)` the half of each row.
    groups : ndarray
        `(n,)` the group of each row, any sortable values.
    images_per_set : int
        K, which counts images of one half.
    seed : int
        Fixes the draw.

    Returns
    -------
    list of ImageSet
        In which every row is kept exactly once; sets of equal size follow one another.
    """
    generator = np.random.default_rng([seed, 2])
    group_number = np.unique(groups, return_inverse=True)[1]
    shuffled = generator.permutation(len(halves))
    # A stable sort by (half, group) leaves each group in its shuffled order.
    order = shuffled[np.lexsort((group_number[shuffled], halves[shuffled]))]
    changes = (np.diff(halves[order]) != 0) | (np.diff(group_number[order]) != 0)
    members_of_groups = np.split(order, np.flatnonzero(changes) + 1)
    sets = [one for members in members_of_groups for one in cut_group(members, images_per_set)]
    return sorted(sets, key=lambda one: -len(one.rows))


def cut_group(members: np.ndarray, images_per_set: int) -> Iterator[ImageSet]:
    """Cut one group, in its given random order, into sets of at most `images_per_set` images."""
    for start in range(0, len(members), images_per_set):
        rows = members[start : start + images_per_set]
        kept = len(rows)
        missing = min(images_per_set, len(members)) - kept
        if missing:
            rows = np.concatenate([rows, members[:missing]])
        yield ImageSet(rows, kept)
