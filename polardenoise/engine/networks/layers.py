"""Layers on polar images that commute with in-plane rotation: angular convolution and angular attention.

Polar features are `(..., channels, angles)`: rings and channels form one channel axis, and a rotation is a circular
shift of the last axis.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polardenoise.engine.networks.angular_attention import attend


class WrapAngle(torch.autograd.Function):
    """Continue `(..., angles)` past both ends by `margin` angles, as circular padding does.

    The same as `F.pad(mode="circular")`, which the tests hold it to, with a backward pass in one copy instead of
    three: padding was a third of a training step on the CPU.
    """

    @staticmethod
    def forward(context: Any, polar: Tensor, margin: int) -> Tensor:
        """Pad to `(..., angles + 2 * margin)`."""
        context.margin = margin
        if margin == 0:
            return polar.clone()
        return torch.cat([polar[..., -margin:], polar, polar[..., :margin]], dim=-1)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Add the gradients of both margins to the angles that they repeat."""
        (gradient,), margin = gradients, context.margin
        if margin == 0:
            return gradient, None
        folded = gradient[..., margin:-margin].contiguous()
        folded[..., -margin:] += gradient[..., :margin]
        folded[..., :margin] += gradient[..., -margin:]
        return folded, None


class AngularConv(nn.Module):
    """A convolution that slides along the angle with circular padding.

    Equivariant to rotations by whole angular steps (arXiv 2506.11283, section 3).

    Parameters
    ----------
    channels_in, channels_out : int
        Channels, rings included.
    length : int
        Odd filter length in angular steps.
    """

    def __init__(self, channels_in: int, channels_out: int, length: int):
        super().__init__()
        self.conv = nn.Conv1d(channels_in, channels_out, length)
        self.margin = length // 2

    def forward(self, polar: Tensor) -> Tensor:
        """Map `(images, channels_in, angles)` to `(images, channels_out, angles)`."""
        return self.conv(WrapAngle.apply(polar, self.margin))


class AngularBlock(nn.Module):
    """Angular convolution, group norm and ReLU, with a skip where the channels allow it."""

    def __init__(self, channels_in: int, channels_out: int, length: int, groups: int = 8):
        super().__init__()
        self.conv = AngularConv(channels_in, channels_out, length)
        self.norm = nn.GroupNorm(groups, channels_out)
        self.skips = channels_in == channels_out

    def forward(self, polar: Tensor) -> Tensor:
        """Map `(images, channels_in, angles)` to `(images, channels_out, angles)`."""
        activated = F.relu(self.norm(self.conv(polar)))
        return polar + activated if self.skips else activated


class AngularAttention(nn.Module):
    """Each image gathers, from all images of its set at all rotations, what they know about it.

    Cosine logits with one learned temperature: `q` and `k` are scaled to unit norm over channels and angles, so that
    neither the number of channels nor the noise level decides how sharp the softmax is.

    Parameters
    ----------
    scale : float
        Initial inverse temperature.
    """

    def __init__(self, scale: float = 20.0):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend over sets.

        Parameters
        ----------
        query, key : Tensor
            `(sets, images, D, angles)`.
        value : Tensor
            `(sets, images, C, angles)`.

        Returns
        -------
        Tensor
            `(sets, images, C, angles)`.
        """
        query, key = scale_to_unit_norm(query), scale_to_unit_norm(key)
        return attend(query * self.log_scale.exp(), key, value)


def scale_to_unit_norm(features: Tensor) -> Tensor:
    """Divide `(..., channels, angles)` by its norm over channels and angles."""
    norm = torch.linalg.vector_norm(features, dim=(-2, -1), keepdim=True)
    return features / norm.clamp_min(torch.finfo(features.dtype).tiny ** 0.5)
