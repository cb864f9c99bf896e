"""Sets of images that are denoised together: K of one half and one group."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from polardenoise.engine.particles.shared_pixels import SharedPixels, share_nothing


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


def draw_halves(units: np.ndarray, seed: int) -> np.ndarray:
    """Divide particles at random into two halves, as `draw_parts` does: 1 and 2, as `rlnRandomSubset`."""
    return draw_parts(units, 2, seed)


def draw_parts(units: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Divide particles at random into parts of equal size, as far as units can be divided so.

    Parameters
    ----------
    units : ndarray
        `(n,)` int64 from 0, by appearance: particles of equal number stay together.
    count : int
        How many parts.
    seed : int
        Fixes the draw.

    Returns
    -------
    ndarray
        `(n,)` int64 from 1 to `count`.
    """
    sizes = np.bincount(units)
    generator = np.random.default_rng([seed, 1])
    parts = generator.permutation(np.arange(len(sizes), dtype=np.int64) % count + 1)
    if sizes.min(initial=1) != sizes.max(initial=1):
        parts = balance_parts(sizes, parts, count, generator.permutation(len(sizes)))
    return parts[units]


def balance_parts(
    sizes: np.ndarray, drawn: np.ndarray, count: int, order: np.ndarray
) -> np.ndarray:
    """Give units `(k,)` of unequal sizes to the part that has fewest particles, the largest first, else in an order.

    A unit goes to the part that was drawn for it where no other has fewer.
    """
    parts = drawn.copy()
    counts = dict.fromkeys(range(1, count + 1), 0)
    for unit in order[np.argsort(-sizes[order], kind="stable")].tolist():
        fewest = min(counts.values())
        if counts[int(parts[unit])] != fewest:
            parts[unit] = min(counts, key=lambda part: counts[part])
        counts[int(parts[unit])] += int(sizes[unit])
    return parts


def form_sets(
    halves: np.ndarray,
    groups: np.ndarray,
    images_per_set: int,
    seed: int,
    shared: SharedPixels | None = None,
) -> list[ImageSet]:
    """Cut every group of every half into sets at random.

    Images of different halves or groups never meet, nor do images that share pixels. A group of more than K images is
    cut into sets of K; the last one is filled up with further images of the same group and half. A smaller group is one
    smaller set. In a crowded group sets are as even as they can be, and each is filled up as far as that goes.

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
    shared : SharedPixels, optional
        Which rows show one image, of which the first stands for all, and which images share pixels. By default each row
        has an image of its own, and none do.

    Returns
    -------
    list of ImageSet
        In which every image is kept exactly once; sets of equal size follow one another.
    """
    shared = share_nothing(len(halves)) if shared is None else shared
    halves, groups = halves[shared.first_row], groups[shared.first_row]
    generator = np.random.default_rng([seed, 2])
    group_number = np.unique(groups, return_inverse=True)[1]
    shuffled = generator.permutation(len(halves))
    # A stable sort by (half, group) leaves each group in its shuffled order.
    order = shuffled[np.lexsort((group_number[shuffled], halves[shuffled]))]
    changes = (np.diff(halves[order]) != 0) | (np.diff(group_number[order]) != 0)
    members_of_groups = np.split(order, np.flatnonzero(changes) + 1)
    sets = [
        ImageSet(shared.first_row[images], kept)
        for members in members_of_groups
        for images, kept in cut_group(members, images_per_set, shared)
    ]
    return sorted(sets, key=lambda one: -len(one.rows))


def cut_group(
    members: np.ndarray, images_per_set: int, shared: SharedPixels
) -> Iterator[tuple[np.ndarray, int]]:
    """Cut one group of images, in its given random order, into sets of at most `images_per_set`; see `ImageSet`."""
    if shared.crowded[members].any():
        yield from cut_crowded_group(members, images_per_set, shared)
        return
    for start in range(0, len(members), images_per_set):
        images = members[start : start + images_per_set]
        kept = len(images)
        missing = min(images_per_set, len(members)) - kept
        if missing:
            images = np.concatenate([images, members[:missing]])
        yield images, kept


def cut_crowded_group(
    members: np.ndarray, images_per_set: int, shared: SharedPixels
) -> Iterator[tuple[np.ndarray, int]]:
    """Cut a group like `cut_group`, in sets in which no two images share pixels."""
    dealt = shared.deal_apart(members, -(-len(members) // images_per_set))
    for places in dealt:
        own = members[places].tolist()
        after = int(places[-1]) + 1
        others = chain(members[after:], members[:after])
        added = shared.fill_up(own, others, images_per_set)
        yield np.array([*own, *added]), len(own)
