"""Angular attention by what earlier estimates show: who shows the same view, and at which rotation.

Attention compares noisy images with noisy images. Once there are estimates, images match as far as they show the same
third one (`template_evidence`). With attention weights `a`, and `who` and `shared` the sums of `a` and `match` over
rotations, the weights are

    w[i, j, s] = (1 - a_own) share[i, j] softmax_s(g logit[i, j, s] + h log match[i, j, s])
    share[i, .] = softmax over others j of (p log who[i, j] + q log shared[i, j])

and those of an image with itself stay as they are: an estimate knows its own noise.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.networks.angular_attention import (
    attention_logits_fourier,
    transform_angles,
)
from polardenoise.engine.networks.neighbour_attention import (
    NeighbourAttention,
    attend_to_neighbours,
)
from polardenoise.engine.networks.template_evidence import (
    Observed,
    choose_temperature,
    correlate_chances,
    score_neighbours,
    score_sets,
    transform_chances,
)

#: Weights (queries x keys x angles) in one block, by kind of device.
WEIGHTS_AT_ONCE = {"cpu": 2**22, "cuda": 2**27}

#: Smaller weights are taken as this one before their logarithm.
SMALLEST = 1e-30

#: Smaller shares of a rotation in a match are taken as this one: less is rounding.
SMALLEST_SHARE = 1e-6


@dataclass(frozen=True)
class Trust:
    """How far attention and matches are trusted; scalars that are learned.

    Attributes
    ----------
    attention, match : Tensor
        Exponents of the attention's weight and of the match, in the choice of images: p and q.
    attention_rotation, match_rotation : Tensor
        Factor of the attention's logits and exponent of the match, in the choice of rotations: g and h.
    """

    attention: Tensor
    match: Tensor
    attention_rotation: Tensor
    match_rotation: Tensor


def attend_in_sets_by_match(
    query: Tensor, key: Tensor, value: Tensor, observed: Observed, trust: Trust
) -> Tensor:
    """Let each image attend to all of its set; the first of the set are the templates.

    Parameters
    ----------
    query, key : Tensor
        `(sets, images, D, angles)`; any scale of the logits is already in the query.
    value : Tensor
        `(sets, images, C, angles)`.
    observed : Observed
        Of the images of all sets, one set after another.
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
    itself = torch.eye(count, dtype=torch.bool, device=query.device)
    scores = [score_sets(observed, (sets, count), some, angles) for some in blocks]
    best = torch.cat([one.amax(-1) for one in scores], 1)
    own = itself[:, : best.shape[-1]]
    temperature = choose_temperature(best, own)
    chances = [
        transform_chances(one, own[some], temperature)
        for one, some in zip(scores, blocks, strict=True)
    ]
    chances_hat = torch.cat(chances, -2)  # (frequencies, sets, images, templates)
    value_hat = transform_angles(value)  # (frequencies, sets, images, C)
    parts = []
    for some in blocks:
        logits = attention_logits_fourier(query[:, some], key)
        match = correlate_chances(chances_hat[:, :, some], chances_hat, angles)
        weights = weigh(logits, match, itself[some], trust)
        spectra = torch.fft.rfft(weights).movedim(-1, 0)  # (frequencies, sets, queries, keys)
        parts.append(torch.fft.irfft((spectra @ value_hat).movedim(0, -1), n=angles))
    return torch.cat(parts, 1)


def attend_to_neighbours_by_match(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    neighbours: Tensor,
    observed: Observed,
    trust: Trust,
) -> NeighbourAttention:
    """Let each image attend to its own neighbours; the nearest of them are the templates.

    Parameters
    ----------
    query, key : Tensor
        `(n, D, angles)`; any scale of the logits is already in the query.
    value : Tensor
        `(n, C, angles)`.
    neighbours : Tensor
        `(n, K)` int64: the images that each one attends to, itself first, then the nearest.
    observed : Observed
        Of the images.
    trust : Trust
        The learned scalars.
    """
    itself = torch.eye(neighbours.shape[1], dtype=torch.bool, device=neighbours.device)

    def weigh_some(logits: Tensor, some: slice, theirs: Tensor) -> Tensor:
        scores = score_neighbours(observed, theirs, logits.shape[-1])
        own = itself[:, : scores.shape[-2]]
        temperature = choose_temperature(scores.amax(-1), own)
        chances_hat = transform_chances(scores, own, temperature)
        match = correlate_chances(chances_hat[:, :, :1], chances_hat, logits.shape[-1])
        return weigh(logits, match[:, 0], itself[0], trust)

    return attend_to_neighbours(query, key, value, neighbours, weigh_some)


def weigh(logits: Tensor, match: Tensor, itself: Tensor, trust: Trust) -> Tensor:
    """Combine attention and matches into weights (see the head of this file).

    Parameters
    ----------
    logits, match : Tensor
        `(..., K, angles)`.
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
    if logits.shape[-2] < 3:
        return attention  # there is no third
    who = attention.sum(-1)
    others = 1 - who.masked_fill(~itself, 0.0).sum(-1, keepdim=True)
    shared = match.sum(-1).clamp_min(SMALLEST)
    share = trust.attention * who.clamp_min(SMALLEST).log() + trust.match * shared.log()
    share = share.masked_fill(itself, -math.inf).softmax(-1) * others
    apart = (match / shared[..., None]).clamp_min(SMALLEST_SHARE).log()
    rotations = trust.attention_rotation * logits + trust.match_rotation * apart
    return torch.where(itself[..., None], attention, share[..., None] * rotations.softmax(-1))
