"""2D classes of a cluster: denoised images that are alike, aligned and averaged.

Denoised images are divided into too many classes by average linkage; then the raw images are reassigned (see
`class_refinement`), and classes that show the same view are merged, so that their number need not be given.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.ring_harmonics import FourierRings
from polardenoise.engine.imaging.rotational_matching import (
    ROTATIONS,
    RotationalMatches,
    match_images,
)
from polardenoise.engine.neighbours.class_refinement import refine_classes

#: Classes of a cluster to begin with, and so the most of them.
MOST_CLASSES = 50

#: Images that come out as next to nothing, below this share of what one in ten exceeds, are a class of their own, the
#: last. (Not of the median: where most images are junk, it is theirs.)
EMPTY = 0.1


@dataclass(frozen=True)
class ClusterClasses:
    """The classes of a cluster.

    Attributes
    ----------
    number : Tensor
        `(n,)` int64 class of each image, from 0, the largest first.
    rotation : Tensor
        `(n,)` int64 steps of `360 / ROTATIONS` degrees counter-clockwise that take the average onto the image.
    averages : Tensor
        `(classes, box, box)` averages of the denoised images.
    """

    number: Tensor
    rotation: Tensor
    averages: Tensor


def form_classes(
    estimates: Tensor,
    image_harmonics: Tensor,
    ctf_rings: Tensor,
    rings: FourierRings,
    grid: PolarGrid,
    apart: Tensor | None = None,
) -> ClusterClasses:
    """Class the denoised images of a cluster.

    Parameters
    ----------
    estimates : Tensor
        `(n, box, box)`.
    image_harmonics : Tensor
        `(2, modes, n, rings)` the images as they are matched.
    ctf_rings : Tensor
        `(n, box // 2)` |CTF| by ring.
    rings : FourierRings
        Of the harmonics.
    grid : PolarGrid
        Of the same box: turns images.
    apart : Tensor, optional
        `(n, n)` bool: images that share pixels. Neither of two says which class the other is in, or how it is turned.
    """
    harmonics = rings.to_harmonics(estimates)
    energy = rings.ring_energies(harmonics).sum(1)
    full = (energy >= EMPTY * energy.quantile(0.9)).nonzero()[:, 0]
    among = match_estimates(harmonics[:, :, full], rings)
    apart = None if apart is None else apart[full][:, full]
    number = divide_into_classes(among, energy[full], apart)
    signal_to_noise = rings.ring_energies(harmonics[:, :, full]).mean(0) / rings.noise_energies()
    number_of_full, rotation_of_full = refine_classes(
        image_harmonics[:, :, full],
        ctf_rings[full],
        number,
        turn_onto_middle(number, among, apart),
        signal_to_noise.clamp_min(1e-3),
        rings,
        apart,
    )
    number = sort_by_size(number_of_full, full, len(estimates))
    rotation = number.new_zeros(len(estimates)).index_copy_(0, full, rotation_of_full)
    turned = turn_images(estimates, -rotation, grid)
    averages = turned.new_zeros(int(number.max()) + 1, *turned.shape[1:])
    averages.index_add_(0, number, turned)
    return ClusterClasses(number, rotation, averages / number.bincount()[:, None, None])


def match_estimates(harmonics: Tensor, rings: FourierRings) -> RotationalMatches:
    """Compare clean images `(2, modes, n, rings)` with one another; `likelihood` becomes the inner product."""
    everywhere = harmonics.new_ones(harmonics.shape[2], rings.box // 2)
    matches = match_images(harmonics, everywhere, harmonics, rings)
    energy = rings.ring_energies(harmonics).sum(1)
    return RotationalMatches(matches.likelihood + 0.5 * energy, matches.rotation)


def divide_into_classes(
    among: RotationalMatches, energy: Tensor, apart: Tensor | None = None
) -> Tensor:
    """Divide images into `MOST_CLASSES` by average linkage of their squared differences, `(n,)` from 0.

    Images that are to be kept `apart`, `(n, n)`, differ as images do as a rule.
    """
    if len(energy) < 2:
        return torch.zeros(len(energy), dtype=torch.int64, device=energy.device)
    inner = among.likelihood.double()
    mean_energy = (0.5 * (energy[:, None] + energy).double()).clamp_min(
        1e-12
    )  # all empty: all alike
    between = (2 - (inner + inner.T) / mean_energy).clamp_min(0).fill_diagonal_(0)
    if apart is not None:
        between.masked_fill_(apart, float(between[~apart].median()))
    distance = between.cpu().numpy()
    tree = linkage(squareform(distance, checks=False), "average")
    found = fcluster(tree, MOST_CLASSES, "maxclust").astype(np.int64)
    return torch.from_numpy(found - 1).to(energy.device)


def turn_onto_middle(
    number: Tensor, among: RotationalMatches, apart: Tensor | None = None
) -> Tensor:
    """Give for each image the steps that take the image in the middle of its class onto it.

    Where the two are to be kept `apart`, by way of the image of the class that is most like it and apart from neither;
    0 where there is none.
    """
    rotation = torch.zeros_like(number)
    alike = among.likelihood if apart is None else among.likelihood.masked_fill(apart, 0.0)
    for one in range(int(number.max()) + 1):
        members = (number == one).nonzero()[:, 0]
        if len(members) == 0:
            continue
        middle = members[alike[members][:, members].sum(0).argmax()]
        rotation[members] = among.rotation[members, middle]
        if apart is None:
            continue
        between = members[~apart[members, middle]]
        for image in members[apart[members, middle]]:
            ways = between[~apart[image, between] & (between != middle)]
            rotation[image] = 0
            if len(ways):
                way = ways[among.likelihood[image, ways].argmax()]
                turned = among.rotation[image, way] + among.rotation[way, middle]
                rotation[image] = turned % ROTATIONS
    return rotation


def sort_by_size(number: Tensor, rows: Tensor, count: int) -> Tensor:
    """Give the classes `(m,)` of some rows numbers by size; the other rows of `count` become one more class."""
    order = number.bincount().argsort(descending=True, stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    everywhere = torch.full((count,), len(order), dtype=torch.int64, device=number.device)
    return everywhere.index_copy_(0, rows, place[number])


def turn_images(images: Tensor, steps: Tensor, grid: PolarGrid) -> Tensor:
    """Turn images `(n, box, box)` counter-clockwise by `(n,)` steps of `360 / ROTATIONS` degrees."""
    spectra = torch.fft.rfft(grid.to_polar(images))  # (n, rings, frequencies)
    frequencies = torch.arange(spectra.shape[-1], device=images.device)
    phase = -2 * math.pi / ROTATIONS * steps[:, None] * frequencies
    turned = spectra * torch.polar(torch.ones_like(phase), phase)[:, None]
    return grid.to_images(torch.fft.irfft(turned, n=grid.angles))
