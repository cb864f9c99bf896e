"""How consistent an image is with the images it matches."""

import torch
from torch import Tensor

from polardenoise.engine.imaging.ring_harmonics import FourierRings
from polardenoise.engine.imaging.rotational_matching import Matches, ring_transfers

#: Estimates with less than this share of the median energy are not asked for the whole of themselves: what is found of
#: next to nothing would be noise over next to nothing.
LEAST_ENERGY = 0.5

#: Nor are those of less energy than this, in units of the noise, where most images are empty: what noise has in common
#: with any estimate is 2.5 standard deviations at the best rotation, half the energy if that is 25.
LEAST_EVIDENCE = 25.0

#: How many neighbours an image is held against.
NEIGHBOURS = 8


def score_images(
    matches: Matches, neighbours: Tensor, estimates: Tensor, profiles: Tensor, rings: FourierRings
) -> Tensor:
    """Score images by how much of what their neighbours show is in them.

    Least squares asks how many times the neighbour's estimate `y`, as this image's CTF would show it, is found in the
    image `x`: `<x, C y> / |C y|^2` is 1 for a particle of that view, 0 for noise. The image's own estimate has no part.

    Parameters
    ----------
    matches : Matches
        Of all images of the cell with all estimates.
    neighbours : Tensor
        `(n, K)` the image itself, then the nearest first; -1 where there are fewer.
    estimates : Tensor
        `(2, modes, n, rings)` described.
    profiles : Tensor
        `(n, box // 2)` |CTF| by ring.
    rings : FourierRings
        What described them.

    Returns
    -------
    Tensor
        `(n,)` from 0 to 1; 0 for an image without neighbours.
    """
    nearest = neighbours[:, 1 : NEIGHBOURS + 1]
    if nearest.shape[1] == 0:
        return matches.likelihood.new_zeros(len(neighbours))
    there = nearest >= 0
    nearest = nearest.clamp_min(0)
    energies = rings.ring_energies(estimates)
    transfers = ring_transfers(profiles, rings).to(energies.device).square()
    seen = (transfers[:, None] * energies[nearest]).sum(-1)  # (n, neighbours): |C y|^2
    found = matches.likelihood.gather(1, nearest) + 0.5 * seen
    least = (LEAST_ENERGY * (transfers * energies).sum(1).median()).clamp_min(LEAST_EVIDENCE)
    shares = (found / torch.maximum(seen, least)).where(there, 0)
    return (shares.sum(1) / there.sum(1).clamp_min(1)).clamp(0, 1)
