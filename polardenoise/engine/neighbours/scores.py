"""Scores: how consistent an image is with its neighbours."""

import torch
from torch import Tensor

from polardenoise.engine.imaging.ring_harmonics import FourierRings
from polardenoise.engine.imaging.rotational_matching import RotationalMatches, select_ctf_rings

#: The energy of an estimate counts as at least this share of the median one: noise would else be divided by next to
#: nothing.
LEAST_ENERGY = 0.5

#: It counts as at least this too, in units of the noise, for sets in which most images are empty: noise has 2.5
#: standard deviations in common with any estimate at the best rotation, half the energy if that is 25.
LEAST_EVIDENCE = 25.0

#: How many neighbours an image is held against.
NEIGHBOURS = 8


def score_images(
    matches: RotationalMatches,
    neighbours: Tensor,
    estimates: Tensor,
    ctf_rings: Tensor,
    rings: FourierRings,
) -> Tensor:
    """Score images by how much of what their neighbours show is in them.

    Least squares asks how many times the neighbour's estimate `y`, as this image's CTF would show it, is found in the
    image `x`: `<x, C y> / |C y|^2` is 1 for a particle of that view, 0 for noise. The image's own estimate has no part.

    Parameters
    ----------
    matches : RotationalMatches
        Of all images of the cluster with all estimates.
    neighbours : Tensor
        `(n, K)` the image itself, then the nearest first; -1 where there are fewer.
    estimates : Tensor
        `(2, modes, n, rings)` harmonics.
    ctf_rings : Tensor
        `(n, box // 2)` |CTF| by ring.
    rings : FourierRings
        Of the harmonics.

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
    squared_ctf = select_ctf_rings(ctf_rings, rings).to(energies.device).square()
    seen = (squared_ctf[:, None] * energies[nearest]).sum(-1)  # (n, neighbours): |C y|^2
    found = matches.likelihood.gather(1, nearest) + 0.5 * seen
    least = (LEAST_ENERGY * (squared_ctf * energies).sum(1).median()).clamp_min(LEAST_EVIDENCE)
    shares = (found / torch.maximum(seen, least)).where(there, 0)
    return (shares.sum(1) / there.sum(1).clamp_min(1)).clamp(0, 1)
