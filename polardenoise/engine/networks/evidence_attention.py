"""Angular attention by evidence: who shows the same view, and at which rotation, by what earlier estimates show.

Attention compares noisy images with noisy images. Once there are estimates, they tell far more (`template_evidence`).
With attention weights `a`, and `who` and `shared` the sums of `a` and `evidence` over rotations, the weights are

    w[i, j, s] = (1 - a_own) share[i, j] softmax_s(g logit[i, j, s] + h log evidence[i, j, s])
    share[i, .] = softmax over others j of (p log who[i, j] + q log shared[i, j])

and those of an image with itself stay as they are: an image's own estimate contains its noise, and is no evidence. The
four exponents p, q, g, h are learned (`EvidenceWeights`).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polardenoise.engine.networks.angular_attention import (
    attention_logits_fourier,
    transform_angles,
)
from polardenoise.engine.networks.neighbour_attention import (
    NeighbourAttention,
    attend_to_neighbours,
)
from polardenoise.engine.networks.template_evidence import (
    TEMPLATES,
    TemplateComparison,
    choose_temperature,
    correlate_probabilities,
    score_neighbours,
    score_sets,
    transform_probabilities,
)
from polardenoise.engine.runtime.devices import count_at_once

#: What the evidence weights begin with, chosen on validation molecules.
FIRST_WEIGHTS = {
    "attention": 0.3,
    "evidence": 0.35,
    "attention_rotation": 0.1,
    "evidence_rotation": 1.0,
}

#: Unit in which evidence weights are learned. Adam moves every parameter by about its learning rate a step, whatever it
#: is worth: a scalar alone would need the whole training to move as far as the thousand weights of a filter together.
PACE = 30.0

#: Weights (queries x keys x angles) in one block, by kind of device.
WEIGHTS_AT_ONCE = {"cpu": 2**22, "cuda": 2**27}

#: Smaller weights are taken as this one before their logarithm.
SMALLEST = 1e-30

#: Smaller shares of a rotation in the evidence are taken as this one: less is rounding.
SMALLEST_SHARE = 1e-6


@dataclass(frozen=True)
class EvidenceWeights:
    """How much attention and evidence count; scalars that are learned.

    Attributes
    ----------
    attention, evidence : Tensor
        Exponents of the attention weight and of the evidence in the choice of images: p and q.
    attention_rotation, evidence_rotation : Tensor
        Factor of the attention logits and exponent of the evidence in the choice of rotations: g and h.
    """

    attention: Tensor
    evidence: Tensor
    attention_rotation: Tensor
    evidence_rotation: Tensor


class LearnedEvidenceWeights(nn.Module):
    """The evidence weights of several passes as parameters of a network.

    Each is what it begins with times `exp(PACE * step)`, and so stays positive.

    Parameters
    ----------
    passes : int
        Passes that attend by evidence.
    """

    def __init__(self, passes: int):
        super().__init__()
        self.passes = passes
        self.steps = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(passes)) for name in FIRST_WEIGHTS}
        )

    def list_passes(self) -> list[EvidenceWeights]:
        """List the weights, pass by pass."""
        learned = {
            name: FIRST_WEIGHTS[name] * (PACE * steps).exp() for name, steps in self.steps.items()
        }
        return [
            EvidenceWeights(**{name: values[number] for name, values in learned.items()})
            for number in range(self.passes)
        ]


def attend_in_sets_by_evidence(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    comparison: TemplateComparison,
    evidence_weights: EvidenceWeights,
) -> Tensor:
    """Let each image attend to all of its set; the first images of the set give the templates.

    Parameters
    ----------
    query, key : Tensor
        `(sets, images, D, angles)`; any scale of the logits is already in the query.
    value : Tensor
        `(sets, images, C, angles)`.
    comparison : TemplateComparison
        Of the images of all sets, one set after another.
    evidence_weights : EvidenceWeights
        The learned scalars.

    Returns
    -------
    Tensor
        `(sets, images, C, angles)`.
    """
    (sets, count), angles = query.shape[:2], query.shape[-1]
    numbers = sets * count * angles
    at_once = count_at_once(WEIGHTS_AT_ONCE, query.device, numbers)
    blocks = [slice(start, start + at_once) for start in range(0, count, at_once)]
    if torch.is_grad_enabled():
        blocks = [slice(0, count)]
    itself = torch.eye(count, dtype=torch.bool, device=query.device)
    scores = [score_sets(comparison, (sets, count), some, angles) for some in blocks]
    best = torch.cat([one.amax(-1) for one in scores], 1)
    own = itself[:, : best.shape[-1]]
    temperature = choose_temperature(best, own)
    probabilities = [
        transform_probabilities(one, own[some], temperature)
        for one, some in zip(scores, blocks, strict=True)
    ]
    probabilities_hat = torch.cat(probabilities, -2)  # (frequencies, sets, images, templates)
    value_hat = transform_angles(value)  # (frequencies, sets, images, C)
    parts = []
    for some in blocks:
        logits = attention_logits_fourier(query[:, some], key)
        evidence = correlate_probabilities(probabilities_hat[:, :, some], probabilities_hat, angles)
        weights = weigh(logits, evidence, itself[some], evidence_weights)
        spectra = torch.fft.rfft(weights).movedim(-1, 0)  # (frequencies, sets, queries, keys)
        parts.append(torch.fft.irfft((spectra @ value_hat).movedim(0, -1), n=angles))
    return torch.cat(parts, 1)


def attend_to_neighbours_by_evidence(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    neighbours: Tensor,
    comparison: TemplateComparison,
    evidence_weights: EvidenceWeights,
) -> NeighbourAttention:
    """Let each image attend to its own neighbours; the nearest of them give the templates.

    Parameters
    ----------
    query, key : Tensor
        `(n, D, angles)`; any scale of the logits is already in the query.
    value : Tensor
        `(n, C, angles)`.
    neighbours : Tensor
        `(n, K)` int64: the images that each one attends to, itself first, then the nearest.
    comparison : TemplateComparison
        Of the images.
    evidence_weights : EvidenceWeights
        The learned scalars.
    """
    itself = torch.eye(neighbours.shape[1], dtype=torch.bool, device=neighbours.device)

    def weigh_some(logits: Tensor, theirs: Tensor) -> Tensor:
        scores = score_neighbours(comparison, theirs, logits.shape[-1])
        size = theirs.shape[1]
        own = itself[:size, : scores.shape[-2]]
        temperature = choose_temperature(scores.amax(-1), own)
        probabilities_hat = transform_probabilities(scores, own, temperature)
        evidence = correlate_probabilities(
            probabilities_hat[:, :, :1], probabilities_hat, logits.shape[-1]
        )
        return weigh(logits, evidence[:, 0], itself[0, :size], evidence_weights)

    def weigh_all(logits: Tensor, theirs: Tensor) -> Tensor:
        size, angles = logits.shape[1:]
        at_once = count_at_once(WEIGHTS_AT_ONCE, query.device, size * min(size, TEMPLATES) * angles)
        parts = zip(logits.split(at_once), theirs.split(at_once), strict=True)
        return torch.cat([weigh_some(*part) for part in parts])

    return attend_to_neighbours(query, key, value, neighbours, weigh_all)


def weigh(
    logits: Tensor, evidence: Tensor, itself: Tensor, evidence_weights: EvidenceWeights
) -> Tensor:
    """Combine attention and evidence into weights (see the head of this file).

    Parameters
    ----------
    logits, evidence : Tensor
        `(..., K, angles)`.
    itself : Tensor
        `(..., K)` bool: where a key is the query's own image.
    evidence_weights : EvidenceWeights
        The learned scalars.

    Returns
    -------
    Tensor
        `(..., K, angles)`; those of a query sum to 1.
    """
    attention = logits.flatten(-2).softmax(-1).view_as(logits)
    if logits.shape[-2] < 3:
        return attention  # there is no third image
    who = attention.sum(-1)
    others = 1 - who.masked_fill(~itself, 0.0).sum(-1, keepdim=True)
    shared = evidence.sum(-1).clamp_min(SMALLEST)
    share = (
        evidence_weights.attention * who.clamp_min(SMALLEST).log()
        + evidence_weights.evidence * shared.log()
    )
    share = share.masked_fill(itself, -math.inf).softmax(-1) * others
    of_rotations = (evidence / shared[..., None]).clamp_min(SMALLEST_SHARE).log()
    rotations = (
        evidence_weights.attention_rotation * logits
        + evidence_weights.evidence_rotation * of_rotations
    )
    return torch.where(itself[..., None], attention, share[..., None] * rotations.softmax(-1))
