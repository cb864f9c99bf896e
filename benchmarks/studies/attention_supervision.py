"""Supervised attention: trained on what the simulation knows, who shows the same view and at which rotation."""

import torch
from torch import Tensor

from polardenoise.engine.imaging.rings import average_rings
from polardenoise.engine.networks.angular_attention import attention_logits_fourier
from polardenoise.engine.networks.layers import scale_to_unit_norm
from polardenoise.engine.networks.polar_transformer import Encoded, PolarTransformer
from polardenoise.engine.runtime.devices import mixed_precision
from polardenoise.engine.train.loss import measure_loss
from polardenoise.engine.train.simulated_sets import TrainingBatch

#: Clean images whose polar images, less their mean over angles, correlate by more than this are a match: the poses of
#: the simulation as far as they can be told apart, a molecule's symmetry included.
MATCHES_FROM = 0.95

#: Weight of the cross-entropy beside the loss of the estimate.
SHARE = 0.05


def supervise_attention(
    model: PolarTransformer, batch: TrainingBatch, precision: torch.dtype
) -> Tensor:
    """Add to the loss of the estimate the cross-entropy of attention on the images and rotations that match."""
    images = batch.noisy
    with mixed_precision(images.device, precision):
        ctf_rings = average_rings(batch.abs_ctf)
        encoded = model.encode(images.flatten(0, 1), ctf_rings.flatten(0, 1))
        estimate = model.estimate_by_passes(encoded, images, ctf_rings)[-1]
    polar = model.grid.to_polar(batch.clean)  # (sets, images, rings, angles)
    loss = measure_loss(estimate.float(), batch)
    return loss + SHARE * cross_entropy(weigh_rotations(encoded, images.shape[:2]), polar)


def weigh_rotations(encoded: Encoded, shape: torch.Size) -> Tensor:
    """Logits of every pair of images at every rotation, `(sets, images, images, angles)`."""
    query, key = (one.unflatten(0, shape) for one in (encoded.query, encoded.key))
    return attention_logits_fourier(query, key)


def cross_entropy(logits: Tensor, clean: Tensor) -> Tensor:
    """Cross-entropy of attention with the pairs and rotations at which clean images match.

    Parameters
    ----------
    logits : Tensor
        `(sets, images, images, angles)`.
    clean : Tensor
        `(sets, images, rings, angles)`, polar images of the truth.

    Returns
    -------
    Tensor
        Scalar: mean over the images that any other image of their set matches. An image's match with itself is known to
        everyone and does not count.
    """
    detail = scale_to_unit_norm(clean - clean.mean(-1, keepdim=True))
    with torch.no_grad():
        matching = attention_logits_fourier(detail, detail) > MATCHES_FROM
        same = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)[..., None]
        matching &= ~same
    others = logits.masked_fill(same, -torch.inf).flatten(2)
    wanted = logits.masked_fill(~matching, -torch.inf).flatten(2)
    known = matching.flatten(2).any(-1)
    if not known.any():
        return logits.sum() * 0
    return (others[known].logsumexp(-1) - wanted[known].logsumexp(-1)).mean()
