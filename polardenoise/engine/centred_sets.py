"""Denoise sets of images together, each set moved to the centre where its images lie off it."""

import torch
from torch import Tensor

from polardenoise.engine.centring import Centred, denoise_centred
from polardenoise.engine.polar_transformer import Described, PolarTransformer


def denoise_sets(model: PolarTransformer, images: Tensor, profiles: Tensor) -> Centred:
    """Denoise sets `(sets, K, box, box)` with profiles `(sets, K, box // 2)`; sets do not see one another.

    Where no set lies off the centre the estimates are the network's, `model(images, profiles)`.
    """
    shape = images.shape[:2]

    def denoise(images: Tensor) -> tuple[Described, Tensor]:
        described = model.describe_for_attention(images.flatten(0, 1), profiles.flatten(0, 1))
        return described, model.look(described, images, profiles)[-1].float()

    others = list_others(*shape).to(images.device)
    return denoise_centred(model, images, profiles, others, denoise, denoise(images))


def list_others(sets: int, size: int) -> Tensor:
    """List for every image the others of its set, `(sets * size, size - 1)` int64, counted over all sets."""
    after = torch.arange(1, size)
    within = (torch.arange(size)[:, None] + after) % size
    return (torch.arange(sets)[:, None, None] * size + within).flatten(0, 1)
