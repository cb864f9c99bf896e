"""What may not be divided between random halves, and given halves that are not independent.

Halves are only worth something if no pixel is in both. The images of a stack that several rows name stay together, and
so do the segments of a filament, which overlap (as in RELION: by micrograph and `rlnHelicalTubeID`).
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from polardenoise.engine.particles.cryosparc.column_names import name_column
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.shared_pixels import (
    SharedPixels,
    lay_out,
    number_sources,
)
from polardenoise.engine.particles.token_numbers import number_by_appearance, number_tokens


def find_inseparable(particles: ParticleSet) -> tuple[np.ndarray, np.ndarray]:
    """Find what halves may not divide.

    Returns
    -------
    tuple of ndarray
        `(n,)` number of the image that each row names, from 0 by appearance; and `(images,)` number of the unit that
        each of them belongs to, likewise: the image itself, or its filament.
    """
    source = number_sources(particles)
    tubes = number_tubes(particles)
    images = int(source.max(initial=-1)) + 1
    if tubes is None:
        return source, np.arange(images)
    ends = (source, images + tubes)
    nodes = images + int(tubes.max(initial=-1)) + 1
    links = coo_array((np.ones(len(source), dtype=np.int8), ends), shape=(nodes, nodes))
    return source, number_by_appearance(connected_components(links, directed=False)[1][:images])


def number_tubes(particles: ParticleSet) -> np.ndarray | None:
    """Give rows of one tube of one micrograph equal numbers, `(n,)` from 0; None without `rlnHelicalTubeID`."""
    tubes = particles.column("rlnHelicalTubeID")
    if tubes is None:
        return None
    micrographs = particles.column("rlnMicrographName")
    places = particles.stack_of_row if micrographs is None else number_tokens(micrographs)
    tokens = number_tokens(tubes)
    return number_by_appearance(places * (tokens.max(initial=0) + 1) + tokens)


def doubt_halves(particles: ParticleSet, halves: np.ndarray) -> list[str]:
    """Word what is wrong with given halves `(n,)`: images, or filaments, that stand in both."""
    doubts = []
    tubes = number_tubes(particles)
    for units, what in ((number_sources(particles), "image"), (tubes, "filament")):
        if units is None:
            continue
        first = np.full(int(units.max(initial=-1)) + 1, 0, dtype=halves.dtype)
        first[units] = halves
        divided = np.unique(units[halves != first[units]])
        if len(divided):
            row = particles.row_number(np.flatnonzero(np.isin(units, divided))[0])
            column = name_column(particles.star_path, "rlnRandomSubset")
            some = f"{what}s stand" if len(divided) > 1 else f"{what} stands"
            doubts.append(
                f"{len(divided)} {some} in both halves ({column}; the first in row {row}): the halves are not "
                "independent, and their FSC means nothing"
            )
    return doubts


def doubt_lone_half(halves: np.ndarray) -> list[str]:
    """Word that given halves `(n,)` are all one and the same."""
    if len(halves) < 2 or len(np.unique(halves)) != 1:
        return []
    return [
        f"all particles are in half {halves[0]} (rlnRandomSubset): there is no other half, and nothing can be compared "
        "between halves; take the column out, and halves are drawn"
    ]


def count_overlaps(shared: SharedPixels, halves: np.ndarray) -> tuple[int, int]:
    """Count the images that share pixels with another, and those whose boxes overlap one of another half.

    Parameters
    ----------
    shared : SharedPixels
        The images.
    halves : ndarray
        `(n,)` the half of each row.
    """
    known = np.flatnonzero(shared.micrograph >= 0)
    if len(known) == 0:
        return int(shared.crowded.sum()), 0
    half, reach = halves[shared.first_row][known], shared.reach[known]
    points = lay_out(shared.micrograph[known], shared.centre[known], reach)
    across = np.zeros(len(known), dtype=bool)
    for one in np.unique(half):
        own, others = np.flatnonzero(half == one), np.flatnonzero(half != one)
        if len(others):
            nearest = cKDTree(points[others]).query(points[own], p=np.inf)[0]
            across[own] = nearest < reach[own] + reach.max()
    return int(shared.crowded.sum()), int(across.sum())
