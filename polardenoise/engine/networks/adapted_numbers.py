"""Adapted numbers: the few of a network that are learned anew from the particles of one half.

They are gains and offsets of the decoder, one a channel, the gain of the attended average on each ring and the floor of
its Wiener filter: a thousand of 1.7 million numbers, so that a thousand noisy images can tell them. A model that was
adapted holds one set of them for each half, beside the numbers that it had, how many images are denoised together, and
the digests of the images that each set was learned from. The numbers of a half are of its images alone, and are for its
images alone.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.networks.polar_transformer import PolarTransformer

#: Parameters that are adapted by name; besides, the affine maps of the decoder's group norms.
SINGLE_NUMBERS = ("average_gain", "log_floor", "to_rings.conv.bias")
#: What the tensor of a half's digests is called.
IMAGES = "images"


class AdaptedHalf(msgspec.Struct):
    """What programs read of a card about one half: how many images it has, and how many are denoised together."""

    images: int
    set_size: int


class AdaptedTo(msgspec.Struct):
    """What programs read of a card's `adapted`; people read all of it."""

    particles: str
    star_sha256: str
    halves: dict[str, AdaptedHalf]


@dataclass(frozen=True)
class HalfNumbers:
    """What a model holds for one half.

    Attributes
    ----------
    numbers : dict of Tensor
        The adapted parameters by name.
    digests : Tensor
        `(n,)` int64, ascending: of the pixels of the half's images, see `digest_images`.
    """

    numbers: dict[str, Tensor]
    digests: Tensor


def is_adapted(name: str) -> bool:
    """Tell whether a parameter of a polar transformer is one of those that are adapted."""
    return name in SINGLE_NUMBERS or (name.startswith("decoder.") and ".norm." in name)


def list_numbers(model: PolarTransformer) -> dict[str, Tensor]:
    """List the parameters of a network that are adapted, by name, as they are."""
    return {name: value for name, value in model.named_parameters() if is_adapted(name)}


def copy_network(model: PolarTransformer) -> PolarTransformer:
    """Copy a network but for its polar grids, which are most of its memory and never change."""
    grids = {id(one): one for one in model.modules() if isinstance(one, PolarGrid)}
    return copy.deepcopy(model, grids)


def give_numbers(model: PolarTransformer, numbers: Mapping[str, Tensor]) -> PolarTransformer:
    """Copy a network with other adapted numbers."""
    adapted = copy_network(model)
    with torch.no_grad():
        for name, value in list_numbers(adapted).items():
            value.copy_(numbers[name])
    return adapted.eval()


def name_tensors(half: int, numbers: HalfNumbers) -> dict[str, Tensor]:
    """Name the tensors of a half as they stand in the file of the weights."""
    return {f"half{half}.{name}": value for name, value in numbers.numbers.items()} | {
        f"half{half}.{IMAGES}": numbers.digests
    }


def list_adapted_shapes(
    shapes: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], halves: Mapping[int, int]
) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """List the tensors of all halves, type and shape by name.

    Parameters
    ----------
    shapes : mapping
        Of the network itself.
    halves : mapping
        From half to the number of its images.
    """
    listed: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
    for half, count in halves.items():
        listed |= {f"half{half}.{name}": form for name, form in shapes.items() if is_adapted(name)}
        listed[f"half{half}.{IMAGES}"] = (torch.int64, (count,))
    return listed


def take_half(tensors: Mapping[str, Tensor], half: int) -> HalfNumbers:
    """Take the numbers of a half out of the tensors of a model's file."""
    prefix = f"half{half}."
    own = {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
    digests = own.pop(IMAGES)
    return HalfNumbers(own, digests)


def digest_images(images: np.ndarray) -> np.ndarray:
    """Give each image `(n, N, N)` a number that tells it from any other, by its pixels: `(n,)` int64.

    The name of a file or its place changes when a project is moved, the pixels do not.
    """
    words = [
        hashlib.sha256(np.ascontiguousarray(one, dtype="<f4").tobytes()).digest()[:8]
        for one in images
    ]
    return np.frombuffer(b"".join(words), dtype="<i8").astype(np.int64)
