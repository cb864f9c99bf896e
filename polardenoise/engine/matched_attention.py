"""Angular attention by what earlier estimates show: who shows the same view, and at which rotation.

Attention compares noisy images with noisy images. Once there are estimates, an image can be compared with the estimate
of another (see `matching`), which tells more of the rotation between them. With attention weights `a`, summed over
rotations to `who`, with the log-likelihood `L[i, j, s]` that image `j`, turned by `s`, shows the estimate of image `i`,
and with the affinity `P` that comes of it, the weights are

    w[i, j, s] = (1 - a_own) share[i, j] softmax_s(g logit[i, j, s] + L[i, j, s] / temperature)
    share[i, .] = softmax over others j of (p log who[i, j] + q log P[i, j])

and those of an image with itself stay as they are: an estimate knows its own noise.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.attention import attention_logits_fourier, transform_angles
from polardenoise.engine.fourier_rings import FourierRings
from polardenoise.engine.matching import measure_affinity, ring_transfers, rotation_matrix
from polardenoise.engine.neighbour_attention import NeighbourAttention, attend_to_neighbours

#: Weights (queries x keys x angles) in one block, by kind of device.
WEIGHTS_AT_ONCE = {"cpu": 2**22, "cuda": 2**27}

#: Smaller weights are taken as this one before their logarithm.
SMALLEST = 1e-30


@dataclass(frozen=True)
class Trust:
    """How far attention and matches are trusted; scalars that are learned.

    Attributes
    ----------
    attention, match : Tensor
        Exponents of the attention's weight and of the affinity, in the choice of images.
    rotation : Tensor
        Factor of the attention's logits, in the choice of rotations.
    temperature : Tensor
        What log-likelihoods are divided by there: estimates are not perfect.
    """

    attention: Tensor
    match: Tensor
    rotation: Tensor
    temperature: Tensor


@dataclass(frozen=True)
class Observed:
    """What matches compare.

    Attributes
    ----------
    images : Tensor
        `(2, modes, n, rings)` from `describe_observed`.
    profiles : Tensor
        `(n, box // 2)` |CTF| by ring.
    estimates : Tensor
        `(2, modes, n, rings)`: a first estimate of each image, described.
    rings : FourierRings
        What described them.
    """

    images: Tensor
    profiles: Tensor
    estimates: Tensor
    rings: FourierRings


def attend_in_sets_by_match(
    query: Tensor, key: Tensor, value: Tensor, observed: Observed, trust: Trust
) -> Tensor:
    """Let each image attend to all of its set.

    Parameters
    ----------
    query, key : Tensor
        `(sets, images, D, angles)`; any scale of the logits is already in the query.
    value : Tensor
        `(sets, images, C, angles)`.
    observed : Observed
        Of the images of all sets, one set after another. Nothing is learned through it.
    trust : Trust
        The learned scalars.

    Returns
    -------
    Tensor
        `(sets, images, C, angles)`.
    """
    (sets, count), angles = query.shape[:2], query.shape[-1]
    numbers = sets * count * angles
    at_once = max(1, WEIGHTS_AT_ONCE.get(query.device.type, 2**27) // numbers)
    blocks = [slice(start, start + at_once) for start in range(0, count, at_once)]
    if torch.is_grad_enabled():
        blocks = [slice(0, count)]
    with torch.no_grad():
        first = score_sets(observed, (sets, count), blocks[0], angles)
        others = (score_sets(observed, (sets, count), some, angles) for some in blocks[1:])
        best = [first.amax(-1), *(scores.amax(-1) for scores in others)]
        # (sets, images, estimates) as `measure_affinity` takes it
        affinity = measure_affinity(torch.cat(best, 1).mT.contiguous())
    value_hat = transform_angles(value)  # (frequencies, sets, images, C)
    itself = torch.eye(count, dtype=torch.bool, device=query.device)
    parts = []
    for some in blocks:
        logits = attention_logits_fourier(query[:, some], key)
        # Scores of one block are kept, of more they would not fit the memory.
        scores = first if len(blocks) == 1 else score_sets(observed, (sets, count), some, angles)
        weights = weigh(logits, scores, affinity[:, some], itself[some], trust)
        spectra = torch.fft.rfft(weights).movedim(-1, 0)  # (frequencies, sets, queries, keys)
        parts.append(torch.fft.irfft((spectra @ value_hat).movedim(0, -1), n=angles))
    return torch.cat(parts, 1)


def score_sets(observed: Observed, shape: tuple[int, int], some: slice, angles: int) -> Tensor:
    """Log-likelihoods that images show the estimates `some` of their set, `(sets, estimates, images, angles)`.

    The last axis is the rotation in angular steps, counter-clockwise, that takes the image onto the estimate.
    """
    rings = observed.rings
    real, imaginary = observed.images.unflatten(2, shape)  # (modes, sets, images, rings)
    estimates = observed.estimates.unflatten(2, shape)[:, :, :, some]
    shown = torch.cat([estimates[0], estimates[1]], -1)
    first = torch.cat([real, imaginary], -1)
    second = torch.cat([imaginary, -real], -1)
    products = torch.stack([shown @ first.mT, shown @ second.mT])
    energies = rings.ring_energies(observed.estimates).unflatten(0, shape)[:, some]
    transfers = ring_transfers(observed.profiles, rings).unflatten(0, shape)
    seen_energy = energies @ transfers.square().mT  # (sets, estimates, images)
    scores = backward_rotations(rings, angles, shown.device) @ products.flatten(2).flatten(0, 1)
    scores = scores.view(angles, *seen_energy.shape) - 0.5 * seen_energy
    return scores.movedim(0, -1)


def attend_to_neighbours_by_match(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    neighbours: Tensor,
    affinity: Tensor,
    observed: Observed,
    trust: Trust,
) -> NeighbourAttention:
    """Let each image attend to its own neighbours.

    Parameters
    ----------
    query, key : Tensor
        `(n, D, angles)`; any scale of the logits is already in the query.
    value : Tensor
        `(n, C, angles)`.
    neighbours : Tensor
        `(n, K)` int64: the images that each one attends to, itself first.
    affinity : Tensor
        `(n, n)` from `measure_affinity` of the same estimates.
    observed : Observed
        Of the images.
    trust : Trust
        The learned scalars.
    """
    itself = torch.arange(neighbours.shape[1], device=neighbours.device) == 0

    def weigh_some(logits: Tensor, some: slice, theirs: Tensor) -> Tensor:
        scores = score_neighbours(observed, theirs, some, logits.shape[-1])
        return weigh(logits, scores, affinity[some].gather(1, theirs), itself, trust)

    return attend_to_neighbours(query, key, value, neighbours, weigh_some)


def score_neighbours(observed: Observed, theirs: Tensor, some: slice, angles: int) -> Tensor:
    """Log-likelihoods that neighbours `(m, K)` show the estimates of the images `some`, `(m, K, angles)`.

    The last axis as `score_sets` has it.
    """
    rings = observed.rings
    images = observed.images[:, :, theirs.flatten()].unflatten(2, theirs.shape)
    shown = observed.estimates[:, :, some, :, None]  # (2, modes, m, rings, 1)
    real = images[0] @ shown[0] + images[1] @ shown[1]
    imaginary = images[1] @ shown[0] - images[0] @ shown[1]
    products = torch.stack([real[..., 0], imaginary[..., 0]])  # (2, modes, m, K)
    energies = rings.ring_energies(observed.estimates[:, :, some])  # (m, rings)
    transfers = ring_transfers(observed.profiles, rings)[theirs]  # (m, K, rings)
    seen_energy = (transfers.square() @ energies[..., None])[..., 0]
    scores = backward_rotations(rings, angles, theirs.device) @ products.flatten(2).flatten(0, 1)
    return (scores.view(angles, *theirs.shape) - 0.5 * seen_energy).movedim(0, -1)


def backward_rotations(rings: FourierRings, angles: int, device: torch.device) -> Tensor:
    """Give the matrix of `matching.rotation_matrix` for rotations of the image, not of the estimate."""
    matrix = rotation_matrix(rings, device, angles)
    return torch.cat([matrix[:, : rings.modes], -matrix[:, rings.modes :]], 1)


def weigh(logits: Tensor, scores: Tensor, affinity: Tensor, itself: Tensor, trust: Trust) -> Tensor:
    """Combine attention and matches into weights (see the head of this file).

    Parameters
    ----------
    logits, scores : Tensor
        `(..., K, angles)`.
    affinity : Tensor
        `(..., K)`.
    itself : Tensor
        `(..., K)` bool: where a key is the query's own image.
    trust : Trust
        The learned scalars.

    Returns
    -------
    Tensor
        `(..., K, angles)`; those of a query sum to 1.
    """
    attention = logits.flatten(-2).softmax(-1).view_as(logits)
    if logits.shape[-2] == 1:
        return attention  # there is nobody else
    who = attention.sum(-1)
    others = 1 - who.masked_fill(~itself, 0.0).sum(-1, keepdim=True)
    share = trust.attention * who.clamp_min(SMALLEST).log()
    share = share + trust.match * affinity.masked_fill(itself, 0.0)
    share = share.masked_fill(itself, -math.inf).softmax(-1) * others
    rotations = (trust.rotation * logits + scores / trust.temperature).softmax(-1)
    return torch.where(itself[..., None], attention, share[..., None] * rotations)
