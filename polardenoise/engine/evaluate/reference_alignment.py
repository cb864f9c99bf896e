"""Align images to a reference, as a null test needs it: the best of some views at every in-plane rotation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf import phase_flip
from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.projections import VolumeTransform, take_projections

#: Viewing directions of the reference that images are aligned to, and the in-plane steps of a turn.
VIEWS, STEPS = 100, 96
IMAGES_ALIGNED_AT_ONCE = 64


def pass_over(count: int) -> None:
    """Tell nobody how many images are done."""


def align_to_reference(
    images: Tensor,
    transfer: Tensor,
    transform: VolumeTransform,
    generator: np.random.Generator,
    advance: Callable[[int], None] = pass_over,
) -> Tensor:
    """Give every image the view and in-plane rotation of a reference that it correlates best with.

    Parameters
    ----------
    images : Tensor
        `(n, N, N)`.
    transfer : Tensor
        `(n, N, N // 2 + 1)` their CTFs; phases are flipped first.
    transform : VolumeTransform
        Of the reference.
    generator : numpy.random.Generator
        Draws the views.
    advance : callable, optional
        Told how many more images are done.

    Returns
    -------
    Tensor
        `(n, 3)` rot, tilt, psi in degrees.
    """
    box = images.shape[-1]
    grid = PolarGrid(box, box // 2, STEPS)
    views = draw_orientations(VIEWS, generator)
    views[:, 2] = 0
    references = grid.to_polar(take_projections(transform, views))
    references = references / references.square().sum((-2, -1), keepdim=True).sqrt()
    references = torch.fft.rfft(references)  # (views, rings, frequencies)
    angles = torch.empty(len(images), 3, dtype=torch.float64)
    for start in range(0, len(images), IMAGES_ALIGNED_AT_ONCE):
        rows = slice(start, start + IMAGES_ALIGNED_AT_ONCE)
        polar = torch.fft.rfft(grid.to_polar(phase_flip(images[rows], transfer[rows])))
        product = torch.einsum("nkf,vkf->nvf", polar, references.conj())
        best = torch.fft.irfft(product, n=STEPS).flatten(1).argmax(1)
        angles[rows] = views[best // STEPS]
        # The image is its view turned counter-clockwise by so many steps; psi turns clockwise.
        angles[rows, 2] = -(best % STEPS).double() * 360 / STEPS
        advance(len(best))
    return angles
