"""How close estimates of real particles come to the projections of the atomic model.

Real images have no units: a detector's counts, ice and a carbon film under the particle. So means are taken out, one
scale for the whole set is fitted, and only the disk about the particle counts (`docs/real.rst` says what it hides).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.rings import average_rings

#: Radius of the disk, pixels, and over how many more the window of the ring correlations falls off.
DISK, EDGE = 22.0, 6.0


@dataclass(frozen=True)
class Score:
    """A set of estimates beside the truth.

    Attributes
    ----------
    relative_mse : float
        `sum |s e - t|^2 / sum |t|^2` over the disks of all images, the means out: 0 perfect, 1 as good as nothing.
    scale : float
        `s`, the one factor for all estimates that makes it smallest.
    by_micrograph : dict of float
        The same sum over the images of each micrograph, at the scale of the whole set.
    rings : Tensor
        `(3, N // 2)` by `imaging.rings`: `Re sum E T*`, `sum |E|^2` and `sum |T|^2` over all images.
    """

    relative_mse: float
    scale: float
    by_micrograph: dict[str, float]
    rings: Tensor

    def measure_spread(self) -> float:
        """Give the standard deviation among micrographs; not a number where there is one."""
        values = list(self.by_micrograph.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")

    def correlate_rings(self, first: int, last: int) -> float:
        """Correlate estimates with the truth in rings `first` to `last`, `last` not included; 0 where one is empty."""
        product, estimate, truth = self.rings[:, first:last].sum(1).tolist()
        return product / (estimate * truth) ** 0.5 if estimate * truth > 0 else 0.0


def score_images(
    estimate: Tensor, truth: Tensor, micrographs: Sequence[str], radius: float = DISK
) -> Score:
    """Hold estimates against their truth.

    Parameters
    ----------
    estimate, truth : Tensor
        `(n, N, N)` in the same order, with the same CTF; units and means of their own.
    micrographs : sequence of str
        `n` names: which image is of which micrograph.
    radius : float
        Of the disk, pixels.

    Returns
    -------
    Score
        One scale for all images, whatever their micrograph; a negative one if the contrast is the other way round.
    """
    kept, target = (take_means_out(images, radius) for images in (estimate, truth))
    power = float(kept.square().sum())
    scale = float((kept * target).sum()) / power if power > 0 else 0.0
    residuals = (scale * kept - target).square().sum((1, 2))
    powers = target.square().sum((1, 2))
    names = np.asarray(micrographs)
    by_micrograph = {}
    for name in sorted(set(micrographs)):
        chosen = torch.from_numpy(names == name)
        by_micrograph[name] = float(residuals[chosen].sum() / powers[chosen].sum())
    return Score(
        float(residuals.sum() / powers.sum()),
        scale,
        by_micrograph,
        sum_rings(estimate, truth, radius),
    )


def take_means_out(images: Tensor, radius: float, edge: float = 0.0) -> Tensor:
    """Subtract from each image its mean on the disk, and set it to 0 outside.

    Parameters
    ----------
    images : Tensor
        `(n, N, N)`.
    radius, edge : float
        Of the disk, and over how much more a raised cosine falls off; pixels. The mean is weighted by it.

    Returns
    -------
    Tensor
        `(n, N, N)` float64.
    """
    window = make_window(images.shape[-1], radius, edge)
    images = images.double()
    means = (images * window).sum((1, 2), keepdim=True) / window.sum()
    return (images - means) * window


def make_window(box: int, radius: float, edge: float) -> Tensor:
    """Make a disk `(box, box)` about pixel `box // 2`: 1 within the radius, a raised cosine over the edge, then 0."""
    if edge <= 0:
        return disk_mask(box, radius).double()
    offset = torch.arange(box, dtype=torch.float64) - box // 2
    beyond = (torch.hypot(offset[:, None], offset) - radius) / edge
    return 0.5 + 0.5 * torch.cos(torch.pi * beyond.clamp(0, 1))


def sum_rings(estimate: Tensor, truth: Tensor, radius: float) -> Tensor:
    """Sum products and powers ring by ring, `(3, N // 2)`: the disk has a soft edge here, since a sharp one rings."""
    one, other = (
        torch.fft.rfft2(take_means_out(images, radius, EDGE)) for images in (estimate, truth)
    )
    products = ((one * other.conj()).real, one.abs().square(), other.abs().square())
    return torch.stack([average_rings(product.sum(0)) for product in products])
