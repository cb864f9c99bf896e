"""In-plane rotation of images: by splines, or on the polar grid, where many turned images are summed cheaply.

RELION's psi and our degrees run against one another: psi turns what lies at +x towards -y, counter-clockwise degrees
turn it towards +y (rows count y).
"""

import math
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from polardenoise.engine.imaging.fourier import filter_images, fourier_pad
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.rings import ring_index

#: Images are sampled so much more finely before they are interpolated: bicubic splines are then good to 1e-4.
FINER = 3
IMAGES_AT_ONCE = 256

Degrees = TypeVar("Degrees", Tensor, np.ndarray)


def wrap_degrees(degrees: Degrees) -> Degrees:
    """Bring angles to [-180, 180)."""
    return (degrees + 180.0) % 360.0 - 180.0


def rotate_images(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn images about their centre.

    Parameters
    ----------
    images : Tensor
        `(n, N, N)`, centre at pixel `(N // 2, N // 2)`. What lies above the Nyquist frequency, in the corners of the
        transform, is left out: turned, it would fold back.
    degrees : Tensor
        `(n,)`. The projection of a molecule with RELION's psi becomes that with psi + degrees.

    Returns
    -------
    Tensor
        `(n, N, N)`; 0 is taken for what lies outside the image.
    """
    box = images.shape[-1]
    below_nyquist = ring_index(box, images.device) < box // 2
    position = torch.arange(box, dtype=images.dtype, device=images.device) - box // 2
    parts = []
    for some, angles in zip(
        images.split(IMAGES_AT_ONCE), degrees.split(IMAGES_AT_ONCE), strict=True
    ):
        band = filter_images(some, below_nyquist)
        fine = fourier_pad(band, FINER * box)[:, None]
        radians = torch.deg2rad(angles.to(images))[:, None, None]
        cosine, sine = radians.cos(), radians.sin()
        # RELION's psi turns what lies at +x towards -y (rows count y): look where it has come from.
        x = cosine * position - sine * position[:, None]
        y = sine * position + cosine * position[:, None]
        places = torch.stack([x, y], -1) * FINER + FINER * box // 2
        last = FINER * box - 1
        grid = places * (2 / last) - 1
        turned = F.grid_sample(fine, grid, mode="bicubic", align_corners=True)
        parts.append(turned[:, 0])
    return torch.cat(parts)


def turn_images(images: Tensor, degrees: Tensor, grid: PolarGrid) -> Tensor:
    """Turn images `(n, box, box)` counter-clockwise by `(n,)` degrees on the polar grid; 0 outside the disk."""
    return untransform_polar(turn_polar(transform_polar(images, grid), degrees), grid)


def transform_polar(images: Tensor, grid: PolarGrid) -> Tensor:
    """Bring images `(n, box, box)` to where turning multiplies: `(n, rings, frequencies)` complex."""
    return torch.fft.rfft(grid.to_polar(images))


def turn_polar(transforms: Tensor, degrees: Tensor) -> Tensor:
    """Turn what `transform_polar` gave counter-clockwise by `(n,)` degrees."""
    frequencies = torch.arange(transforms.shape[-1], device=transforms.device)
    phase = -math.pi / 180 * degrees[:, None] * frequencies
    return transforms * torch.polar(torch.ones_like(phase), phase)[:, None]


def untransform_polar(transforms: Tensor, grid: PolarGrid) -> Tensor:
    """Bring back images, or sums of them, `(n, box, box)`."""
    return grid.to_images(torch.fft.irfft(transforms, n=grid.angles))
