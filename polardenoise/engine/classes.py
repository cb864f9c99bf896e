"""2D classes without a classification: denoised images of a cell that look alike, turned onto one another, averaged."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from polardenoise.engine.fourier_rings import FourierRings
from polardenoise.engine.matching import ROTATIONS, Matches, match_images
from polardenoise.engine.polar import PolarGrid

#: Two denoised images show the same view where their squared difference at the best rotation, over the mean of their
#: energies, is below this. Within a view it is the error of denoising, a few hundredths; views ten degrees apart have
#: 0.1 to 0.3.
SAME_VIEW = 0.15

#: Most classes of a cell: where views go over into one another, there is no end to them.
MOST_CLASSES = 50

#: Images without a particle come out as nearly nothing: below this share of the median energy they are a class of
#: their own, the last.
EMPTY = 0.15


@dataclass(frozen=True)
class CellClasses:
    """The classes of a cell.

    Attributes
    ----------
    number : Tensor
        `(n,)` int64 class of each image, from 0.
    rotation : Tensor
        `(n,)` int64 steps of `360 / ROTATIONS` degrees counter-clockwise that take the average onto the image.
    averages : Tensor
        `(classes, box, box)` averages of the denoised images.
    """

    number: Tensor
    rotation: Tensor
    averages: Tensor


def form_classes(
    estimates: Tensor, observed: Tensor, profiles: Tensor, rings: FourierRings, grid: PolarGrid
) -> CellClasses:
    """Class the denoised images of a cell.

    Parameters
    ----------
    estimates : Tensor
        `(n, box, box)`.
    observed : Tensor
        `(2, modes, n, rings)` the images as they are matched.
    profiles : Tensor
        `(n, box // 2)` |CTF| by ring.
    rings : FourierRings
        What they are described on.
    grid : PolarGrid
        Of the same box: turns images.
    """
    described = rings.describe(estimates)
    energy = rings.ring_energies(described).sum(1)
    full = energy >= EMPTY * energy.median()
    among = match_estimates(described, rings)
    number = torch.from_numpy(cluster(among, energy, full)).to(estimates.device)
    averages = average_classes(number, among, estimates, grid)
    again = match_images(observed, profiles, rings.describe(averages), rings)
    rotation = again.rotation.gather(1, number[:, None])[:, 0]
    return CellClasses(number, rotation, averages)


def match_estimates(described: Tensor, rings: FourierRings) -> Matches:
    """Compare clean images `(2, modes, n, rings)` with one another; `likelihood` becomes the inner product."""
    everywhere = described.new_ones(described.shape[2], rings.box // 2)
    matches = match_images(described, everywhere, described, rings)
    energy = rings.ring_energies(described).sum(1)
    return Matches(matches.likelihood + 0.5 * energy, matches.rotation)


def cluster(among: Matches, energy: Tensor, full: Tensor) -> np.ndarray:
    """Divide images into classes by average linkage of their distances; the empty ones are the last class."""
    number = np.full(len(energy), -1, dtype=np.int64)
    rows = np.flatnonzero(full.cpu().numpy())
    inner = among.likelihood[full][:, full].double().cpu().numpy()
    powers = energy[full].double().cpu().numpy()
    mean_power = 0.5 * (powers[:, None] + powers)
    distance = np.maximum(0.0, 2 - (inner + inner.T) / mean_power)
    np.fill_diagonal(distance, 0.0)
    if len(rows) > 1:
        tree = linkage(squareform(distance, checks=False), "average")
        found = fcluster(tree, SAME_VIEW, "distance")
        if found.max() > MOST_CLASSES:
            found = fcluster(tree, MOST_CLASSES, "maxclust")
    else:
        found = np.ones(len(rows), dtype=np.int64)
    # The largest class first.
    sizes = np.bincount(found)[1:]
    place = np.empty(len(sizes), dtype=np.int64)
    place[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    number[rows] = place[found - 1]
    number[number < 0] = len(sizes)
    return number


def average_classes(number: Tensor, among: Matches, estimates: Tensor, grid: PolarGrid) -> Tensor:
    """Average the images of each class, turned onto the one that is most like the others: `(classes, box, box)`."""
    averages = []
    for one in range(int(number.max()) + 1):
        members = (number == one).nonzero()[:, 0]
        middle = members[among.likelihood[members][:, members].sum(0).argmax()]
        # What takes the middle one onto a member, undone.
        turned = turn_images(estimates[members], -among.rotation[members, middle], grid)
        averages.append(turned.mean(0))
    return torch.stack(averages)


def turn_images(images: Tensor, steps: Tensor, grid: PolarGrid) -> Tensor:
    """Turn images `(n, box, box)` counter-clockwise by `(n,)` steps of `360 / ROTATIONS` degrees."""
    spectra = torch.fft.rfft(grid.to_polar(images))  # (n, rings, frequencies)
    frequencies = torch.arange(spectra.shape[-1], device=images.device)
    phase = -2 * math.pi / ROTATIONS * steps[:, None] * frequencies
    turned = spectra * torch.polar(torch.ones_like(phase), phase)[:, None]
    return grid.to_images(torch.fft.irfft(turned, n=grid.angles))
