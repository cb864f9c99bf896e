"""Angular attention of each image to its own neighbours: every image has other keys."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.networks.angular_attention import transform_angles
from polardenoise.engine.runtime.devices import count_at_once

#: Numbers of gathered keys and values at once. CPU: 16 MB, near the caches.
VALUES_AT_ONCE = {"cpu": 2**22, "cuda": 2**28}


@dataclass(frozen=True)
class NeighbourAttention:
    """What images have gathered from their neighbours, and from which.

    Attributes
    ----------
    attended : Tensor
        `(n, C, angles)`.
    weights : Tensor
        `(n, K)` attention weight of each neighbour, summed over rotations; a row sums to 1.
    rotation : Tensor
        `(n, K)` int64: the angular step of the largest weight, counter-clockwise, that takes the neighbour onto the
        image.
    """

    attended: Tensor
    weights: Tensor
    rotation: Tensor


#: From logits `(m, K, angles)` of some images (a slice) and their neighbours `(m, K)` to weights of the same shape.
Weigh = Callable[[Tensor, slice, Tensor], Tensor]


def weigh_by_logits(logits: Tensor, some: slice, theirs: Tensor) -> Tensor:
    """Softmax over neighbours and rotations together."""
    return logits.flatten(1).softmax(1).view_as(logits)


def attend_to_neighbours(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    neighbours: Tensor,
    weigh: Weigh = weigh_by_logits,
) -> NeighbourAttention:
    """Let each image attend to its neighbours, at every rotation.

    Parameters
    ----------
    query : Tensor
        `(m, D, angles)` of the images that ask; any scale of the logits is already in it.
    key, value : Tensor
        `(n, D, angles)` and `(n, C, angles)` of the images that may be asked.
    neighbours : Tensor
        `(m, K)` int64: the images that each one attends to, itself among them if it shall.
    weigh : callable
        How logits become weights.
    """
    (count, size), angles = neighbours.shape, query.shape[-1]
    query_hat = transform_angles(query)  # (frequencies, n, D)
    key_hat = transform_angles(key).conj_physical()
    value_hat = transform_angles(value)
    attended = value.new_empty(count, *value.shape[1:])
    weights = value.new_empty(count, size)
    rotation = torch.empty_like(neighbours)
    numbers_each = size * 2 * (key_hat[:, 0].numel() + value_hat[:, 0].numel())
    at_once = min(count, count_at_once(VALUES_AT_ONCE, query.device, numbers_each))
    # Filled again and again: fresh memory for what is gathered would cost four times the gathering.
    their_keys = key_hat.new_empty(len(key_hat), at_once * size, key_hat.shape[-1])
    their_values = value_hat.new_empty(len(value_hat), at_once * size, value_hat.shape[-1])
    for start in range(0, count, at_once):
        some = slice(start, start + at_once)
        theirs = neighbours[some].flatten()
        keys = gather_into(their_keys, key_hat, theirs, size)
        values = gather_into(their_values, value_hat, theirs, size)
        # (frequencies, images, K, D) @ (frequencies, images, D, 1)
        products = keys @ query_hat[:, some, :, None]
        logits = torch.fft.irfft(products[..., 0].movedim(0, -1), n=angles)  # (images, K, angles)
        shares = weigh(logits, some, neighbours[some])
        weights[some] = shares.sum(-1)
        rotation[some] = shares.argmax(-1)
        spectra = torch.fft.rfft(shares).movedim(-1, 0)[..., None, :]  # (frequencies, images, 1, K)
        sums = (spectra @ values)[..., 0, :]  # (frequencies, images, C)
        attended[some] = torch.fft.irfft(sums.movedim(0, -1), n=angles)
    return NeighbourAttention(attended, weights, rotation)


def gather_into(room: Tensor, spectra: Tensor, images: Tensor, size: int) -> Tensor:
    """Gather the spectra `(frequencies, n, channels)` of images into room for them.

    Returns
    -------
    Tensor
        `(frequencies, images / size, size, channels)`, a view of `room`.
    """
    gathered = room[:, : len(images)]
    if gathered.is_contiguous():
        torch.index_select(spectra, 1, images, out=gathered)
    else:  # the last few
        gathered = spectra[:, images]
    return gathered.unflatten(1, (-1, size))
