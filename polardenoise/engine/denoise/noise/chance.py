"""How likely an estimate is one of noise, judged by the energies of all images that were denoised together.

By itself an estimate is told from one of noise only where noise hardly ever has so much energy. Among hundreds of
others more is known: where next to none of them has as little energy as most noise, none is likely to be noise, not
even the faintest. So the energies become p-values, the shares of noise images with more energy. Those of noise are
spread evenly from 0 to 1, those of particles gather near 0. How many lie above 0.5 tells how many images are noise
(Storey, J. R. Stat. Soc. B 64:479, 2002), and how dense they are about a p-value how likely noise is there: the local
false discovery rate (Efron, J. Am. Stat. Assoc. 96:1151, 2001), with a density that never rises with the p-value
(Grenander's, as in Strimmer's fdrtool, BMC Bioinformatics 9:303, 2008).
"""

import numpy as np
import torch
from torch import Tensor

#: Energies of denoised noise, in that which one noise image in a hundred exceeds, and what share exceeds them: no less
#: than was measured of any network, so that noise passes for noise.
NOISE_TAIL = (
    (0.0, 1.0), (0.12, 0.99), (0.17, 0.95), (0.28, 0.75), (0.38, 0.5), (0.54, 0.25), (0.75, 0.1), (0.88, 0.05),
    (1.0, 0.01), (1.5, 1e-3), (2.0, 1e-4),
)  # fmt: skip
#: Images that say how the energies of a set are spread.
FEWEST = 64
#: Share of images with more energy than one noise image in a hundred has, up to which a set may be of nothing but
#: noise, and from which on it is surely not. Where noise has half as much energy again as a network was measured to
#: make of it, one in eight has.
PERHAPS_ALL_NOISE, SURELY_NOT_ALL = 0.2, 0.4
#: Chance of noise up to which an estimate is kept whole, and from which on it is taken for noise.
SURELY_NOT_NOISE, LIKELY_NOISE = 0.2, 0.5
#: Of p-values: where their density is looked at, and above which hardly any particle lies.
EDGES = np.concatenate([[0.0], np.geomspace(1e-3, 0.1, 9), np.linspace(0.15, 1, 18)])
MOSTLY_NOISE = 0.5


def judge_together(energies: Tensor) -> Tensor:
    """Judge estimates by the energies of all that were denoised together.

    Parameters
    ----------
    energies : Tensor
        `(n,)`, in that which one noise image in a hundred exceeds.

    Returns
    -------
    Tensor
        `(n,)`: 1 where an estimate is of a particle, 0 where it is as likely of noise, or nothing can be said because
        there are less than `FEWEST`, or may all be noise.
    """
    if len(energies) < FEWEST:
        return torch.zeros_like(energies)
    strong = float((energies > 1).double().mean())
    known = np.clip((strong - PERHAPS_ALL_NOISE) / (SURELY_NOT_ALL - PERHAPS_ALL_NOISE), 0, 1)
    if known == 0:
        return torch.zeros_like(energies)
    chance = find_noise_chance(find_noise_tail(energies.double().cpu().numpy()))
    kept = np.clip((LIKELY_NOISE - chance) / (LIKELY_NOISE - SURELY_NOT_NOISE), 0, 1)
    return torch.from_numpy(known * kept).to(energies)


def find_noise_tail(energies: np.ndarray) -> np.ndarray:
    """Find what share of noise images has more energy than each of `(n,)`: p-values."""
    energy, share = np.array(NOISE_TAIL).T
    return np.exp(np.interp(energies, energy, np.log(share)))


def find_noise_chance(p_values: np.ndarray) -> np.ndarray:
    """Find the chance that each of many images is noise, from 0 to 1.

    Parameters
    ----------
    p_values : ndarray
        `(n,)`.

    Returns
    -------
    ndarray
        `(n,)`: the density of the p-values of noise, over that of all.
    """
    noise = min((p_values > MOSTLY_NOISE).mean() / (1 - MOSTLY_NOISE), 1.0)
    place, density = find_falling_density(p_values)
    found = np.interp(p_values, place, density)
    return np.minimum(noise / np.maximum(found, 1e-9), 1.0)


def find_falling_density(p_values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the density of p-values `(n,)`, which falls: the slopes of the least concave curve above their distribution.

    Returns
    -------
    tuple of ndarray
        `(m,)` ascending places from 0 to 1, and the density in each.
    """
    shares = np.append(0.0, np.cumsum(np.histogram(p_values, EDGES)[0]) / len(p_values))
    corners = [0]
    for edge in range(1, len(EDGES)):
        while len(corners) > 1 and not bends_down(EDGES, shares, corners[-2], corners[-1], edge):
            corners.pop()
        corners.append(edge)
    ends, heights = EDGES[corners], shares[corners]
    return (ends[1:] + ends[:-1]) / 2, np.diff(heights) / np.diff(ends)


def bends_down(x: np.ndarray, y: np.ndarray, first: int, middle: int, last: int) -> bool:
    """Tell whether the way over three points, by their numbers, is less steep after the middle one."""
    before = (y[middle] - y[first]) * (x[last] - x[middle])
    after = (y[last] - y[middle]) * (x[middle] - x[first])
    return bool(before > after)
