"""How many neighbours each image gathers from: as many as still show nearly what the nearest do.

Where few views come again and again, or the molecule looks alike from many sides, hundreds of images show the same,
and all of them average noise away; where views are spread evenly, the hundredth neighbour stands many degrees off.
Which it is, the estimates tell: two of them differ by their errors, wherever they stand, and by what their views
differ. An image takes twice as many neighbours as long as the farther half of them differ from it by hardly more than
the nearest do. So rare views keep few neighbours in a set in which common ones have many.
"""

import torch
from torch import Tensor

from polardenoise.engine.imaging.ring_harmonics import FourierRings
from polardenoise.engine.imaging.rotational_matching import ROTATIONS
from polardenoise.engine.networks.template_evidence import pair_parts, score_templates
from polardenoise.engine.runtime.devices import count_at_once

#: The most images, K, that one is denoised with.
MOST_TOGETHER = 512
#: Neighbours are near enough if they differ by up to so many times as much as the nearest (docs/constants.rst).
NEAR_ENOUGH = 1.5
#: Neighbours of each distance that are looked at.
LOOKED_AT = 8
#: Numbers of the comparisons that are made at once.
VALUES_AT_ONCE = {"cpu": 2**22, "cuda": 2**27}


def limit_neighbours(
    neighbours: Tensor, estimates: Tensor, rings: FourierRings, least: int
) -> Tensor:
    """Leave each image as many of its neighbours as show nearly what the nearest do.

    Parameters
    ----------
    neighbours : Tensor
        `(n, K)` int64 places: the image itself, then its neighbours, the nearest first; -1 where there are fewer.
    estimates : Tensor
        `(2, modes, n, rings)` harmonics of the images' estimates.
    rings : FourierRings
        Of the harmonics.
    least : int
        K that every image keeps.

    Returns
    -------
    Tensor
        `(n, K')` with -1 beyond an image's own K, which is `least`, or twice that, and so on up to K.
    """
    widest = neighbours.shape[1]
    if widest <= least:
        return neighbours
    everyone = torch.arange(len(neighbours), device=neighbours.device)
    # The very nearest may be near by chance.
    nearest = measure_band(everyone, neighbours[:, max(1, least // 8) : least], estimates, rings)
    sizes = torch.full_like(everyone, least)
    size = least
    while size < widest:
        wide = (sizes == size).nonzero()[:, 0]
        end = min(2 * size, widest)
        band = measure_band(wide, neighbours[wide, size:end], estimates, rings)
        sizes[wide[band <= NEAR_ENOUGH * nearest[wide]]] = end
        size = end
    places = torch.arange(widest, device=neighbours.device)
    limited = neighbours.where(places < sizes[:, None], -1)
    return limited[:, : int(sizes.max())]


def measure_band(images: Tensor, others: Tensor, estimates: Tensor, rings: FourierRings) -> Tensor:
    """Measure by how much images `(m,)` differ from some of their neighbours `(m, k)` of a distance: `(m,)`.

    Infinite where an image has not that many.
    """
    steps = torch.linspace(0, others.shape[1] - 1, min(LOOKED_AT, others.shape[1])).round().long()
    looked_at = others[:, steps.to(others.device)]
    differences = measure_differences(images, looked_at.clamp_min(0), estimates, rings)
    return differences.masked_fill(looked_at < 0, torch.inf).mean(1)


def measure_differences(
    images: Tensor, others: Tensor, estimates: Tensor, rings: FourierRings
) -> Tensor:
    """Measure by how much the estimates of images differ from those of others, at the best rotation.

    Parameters
    ----------
    images : Tensor
        `(m,)` int64 places of some images.
    others : Tensor
        `(m, k)` int64 places of those that each is compared with.
    estimates : Tensor
        `(2, modes, n, rings)` harmonics of the estimates of all.
    rings : FourierRings
        Of the harmonics.

    Returns
    -------
    Tensor
        `(m, k)`: half of the squared norm of the difference, noise variances.
    """
    energies = rings.ring_energies(estimates)
    own = pair_parts(estimates[:, :, images])
    templates = torch.cat([estimates[0], estimates[1]], -1)  # (modes, n, 2 * rings)
    numbers_each = others.shape[1] * max(templates.shape[0] * templates.shape[2], ROTATIONS)
    at_once = count_at_once(VALUES_AT_ONCE, estimates.device, numbers_each)
    likelihood = estimates.new_empty(others.shape)
    for start in range(0, len(images), at_once):
        some = slice(start, start + at_once)
        theirs = others[some]
        scores = score_templates(
            own[:, :, some, None],
            templates[:, theirs],
            estimates.new_ones(len(theirs), 1, rings.rings),  # no CTF
            energies[theirs],
            rings,
            ROTATIONS,
        )  # (some, 1, k, rotations)
        likelihood[some] = scores[:, 0].amax(-1)
    return 0.5 * energies[images].sum(1, keepdim=True) - likelihood
