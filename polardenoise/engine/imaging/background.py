"""Background and noise of particle images, measured where no particle is: outside the disk."""

from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.imaging.disk import list_corner_pixels


@dataclass(frozen=True)
class Background:
    """Per-image statistics of the corners of the box.

    Attributes
    ----------
    mean, deviation : Tensor
        `(..., 1, 1)`, in the units of the images.
    """

    mean: Tensor
    deviation: Tensor


def measure_background(images: Tensor) -> Background:
    """Measure mean and standard deviation outside the disk of radius `N / 2`.

    Parameters
    ----------
    images : Tensor
        `(..., N, N)`.

    Returns
    -------
    Background
        Where the corners hold no noise at all (a masked or noise-free image), the deviation is that of the whole
        image, and 1 where that is constant too: never zero.
    """
    outside = list_corner_pixels(images.shape[-1], images.device)
    corners = images.flatten(-2)[..., outside]  # (..., corner pixels)
    mean = corners.mean(-1)
    deviation = corners.std(-1)
    whole = images.flatten(-2).std(-1)
    deviation = torch.where(deviation > 1e-3 * whole, deviation, whole)
    deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    return Background(mean[..., None, None], deviation[..., None, None])


def normalise(images: Tensor, background: Background) -> Tensor:
    """Bring images to background 0 and noise of standard deviation 1, as the networks expect them.

    On the way back an estimate is multiplied by the deviation, and no mean is added: it is of the particle, and
    multiplying an image by `c` and adding a constant multiplies its estimate by `c`.
    """
    return (images - background.mean) / background.deviation
