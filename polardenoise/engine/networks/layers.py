"""Angular convolutions: layers on polar images that commute with in-plane rotation.

Polar features are `(..., channels, angles)`: rings and channels form one channel axis, and a rotation is a circular
shift of the last axis.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Unit of the last angular convolution. A signal is a few tenths of the noise, and in units of the noise one step of
#: Adam would change an estimate by as much as the signal is (docs/constants.rst).
OUTPUT_SCALE = 0.1


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
        return self.conv(WrapAngle.apply(polar, self.margin))  # type: ignore[no-untyped-call]


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


def stack_angular_blocks(channels_in: int, hidden: int, length: int, count: int) -> nn.Sequential:
    """Chain `count` angular blocks from `channels_in` to `hidden` channels: a polar CNN without its last layer."""
    channels = [channels_in] + [hidden] * count
    return nn.Sequential(*(AngularBlock(a, b, length) for a, b in pairwise(channels)))


def smooth_rings(polar: Tensor) -> Tensor:
    """Average each ring of `(images, rings, angles)` with its neighbours and fade out the two outermost.

    Weights 1/4, 1/2, 1/4, then 1/2 and 0 at the edge. A polar image that changes from ring to ring, or that ends
    abruptly at the edge of the box, cannot be held by the pixel grid: its inverse would depend on the orientation of
    the pixels, and the network would not be equivariant to rotation (docs/constants.rst).
    """
    padded = torch.cat([polar[:, :1], polar, polar[:, -1:]], dim=1)
    smooth = 0.25 * padded[:, :-2] + 0.5 * polar + 0.25 * padded[:, 2:]
    edge = torch.ones(polar.shape[1], 1, dtype=polar.dtype, device=polar.device)
    edge[-2:, 0] = torch.tensor([0.5, 0.0], dtype=polar.dtype, device=polar.device)
    return smooth * edge


def scale_to_unit_norm(features: Tensor) -> Tensor:
    """Divide `(..., channels, angles)` by its norm over channels and angles."""
    norm = torch.linalg.vector_norm(features, dim=(-2, -1), keepdim=True)
    return features / norm.clamp_min(torch.finfo(features.dtype).tiny ** 0.5)
