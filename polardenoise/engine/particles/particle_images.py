"""The pixels of a particle set, read on demand, in the order of the files; what cannot be denoised: `image_checks`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from polardenoise.engine.particles.mrc import read_images_at
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.runtime.errors import InputError


def read_images(particles: ParticleSet, rows: np.ndarray | slice) -> np.ndarray:
    """Read the images of some particles.

    Parameters
    ----------
    particles : ParticleSet
        The set.
    rows : ndarray | slice
        `(m,)` particles in any order, repeated or not. The files are read in their own order, in large
        pieces, so that memory hardly exceeds the result.

    Returns
    -------
    ndarray
        `(m, N, N)` float32, in the order of `rows`.

    Raises
    ------
    InputError
        If a pixel is not a finite number; names the row and the stack.
    """
    if isinstance(rows, slice):
        rows = np.arange(len(particles))[rows]
    rows = np.asarray(rows, dtype=np.int64)
    images = read_images_raw(particles, rows)
    bad = ~np.isfinite(images).all(axis=(1, 2))
    if bad.any():
        row = int(rows[bad].min())
        raise InputError(
            f"{particles.star_path}: row {particles.row_number(row)}: {name_image(particles, row)} has pixels that"
            " are not finite numbers; remove the row or extract it again"
        )
    return images


def read_images_raw(particles: ParticleSet, rows: np.ndarray) -> np.ndarray:
    """Read the images of some particles, whatever their pixels are; parameters and result as for `read_images`."""
    images = np.empty((len(rows), particles.box, particles.box), dtype=np.float32)
    for places, pixels in _read_in_file_order(particles, rows):
        images[places] = pixels
    return images


def _read_in_file_order(
    particles: ParticleSet, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give the places in `rows` and the pixels of images, some at a time."""
    stacks, indices = particles.stack_of_row[rows], particles.index_in_stack[rows]
    order = np.lexsort((indices, stacks))
    bounds = np.flatnonzero(np.diff(stacks[order])) + 1
    for places in np.split(order, bounds) if len(order) else []:
        header = particles.headers[int(stacks[places[0]])]
        for part, pixels in read_images_at(header, indices[places]):
            yield places[part], pixels


def name_image(particles: ParticleSet, row: int) -> str:
    """Word which image belongs to a row (from 0)."""
    index = particles.index_in_stack[row] + 1
    return f"image {index} of {particles.headers[particles.stack_of_row[row]].path}"
