"""Angular attention of each image to its own neighbours: every image has other keys."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from polardenoise.engine.networks.angular_attention import transform_angles
from polardenoise.engine.runtime.devices import count_at_once
from polardenoise.engine.runtime.progress import tell_pass

#: Numbers of gathered keys and values at once. CPU: 16 MB, near the caches.
VALUES_AT_ONCE = {"cpu": 2**22, "cuda": 2**28}

#: Neighbours are many from this share of all images on, and images that attend to many at once.
MANY, MANY_AT_ONCE = 1 / 16, 32


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


#: From logits `(m, K, angles)` of some images and their neighbours `(m, K)` to weights of the same shape.
Weigh = Callable[[Tensor, Tensor], Tensor]


def weigh_by_logits(logits: Tensor, theirs: Tensor) -> Tensor:
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
        `(m, K)` int64: the images that each one attends to, itself among them if it shall; -1 at the end of the rows of
        images that have fewer.
    weigh : callable
        How logits become weights.

    Returns
    -------
    NeighbourAttention
        With weight 0 for neighbours that are not there; an image that has none gathers nothing, zeros.
    """
    query_hat = transform_angles(query)  # (frequencies, m, D)
    key_hat = transform_angles(key).conj_physical()
    value_hat = transform_angles(value)
    angles = query.shape[-1]
    found = NeighbourAttention(
        value.new_zeros(len(neighbours), *value.shape[1:]),
        value.new_zeros(neighbours.shape),
        torch.zeros_like(neighbours),
    )
    there = (neighbours >= 0).sum(1)
    tell_pass(more_passes=1)
    for size in there.unique().tolist():
        rows = (there == size).nonzero()[:, 0]
        if size == 0:
            tell_pass(len(rows))
            continue
        if size >= MANY * len(key):
            correlate, add_up, at_once = correlate_with_all, add_up_all, MANY_AT_ONCE
        else:
            numbers_each = size * 2 * (key_hat[:, 0].numel() + value_hat[:, 0].numel())
            at_once = min(len(rows), count_at_once(VALUES_AT_ONCE, query.device, numbers_each))
            # Filled again and again: fresh memory for what is gathered would cost as much as gathering it.
            rooms = (
                one.new_empty(len(one), at_once * size, one.shape[2])
                for one in (key_hat, value_hat)
            )
            correlate = partial(correlate_with_gathered, room=next(rooms))
            add_up = partial(add_up_gathered, room=next(rooms))
        for some in rows.split(at_once):
            theirs = neighbours[some, :size]
            products = correlate(query_hat[:, some], key_hat, theirs)  # (frequencies, some, size)
            shares = weigh(torch.fft.irfft(products.movedim(0, -1), n=angles), theirs)
            sums = add_up(torch.fft.rfft(shares).movedim(-1, 0), value_hat, theirs)
            found.attended[some] = torch.fft.irfft(sums.movedim(0, -1), n=angles)
            found.weights[some, :size] = shares.sum(-1)
            found.rotation[some, :size] = shares.argmax(-1)
            tell_pass(len(some))
    return found


def correlate_with_gathered(query: Tensor, key: Tensor, theirs: Tensor, room: Tensor) -> Tensor:
    """Multiply spectra `(frequencies, m, D)` by those of neighbours `(m, K)` among `(frequencies, n, D)`.

    There is room for what is gathered, as `gather_into` has it.

    Returns
    -------
    Tensor
        `(frequencies, m, K)`.
    """
    keys = gather_into(room, key, theirs)
    return (keys @ query[..., None])[..., 0]


def add_up_gathered(shares: Tensor, value: Tensor, theirs: Tensor, room: Tensor) -> Tensor:
    """Add up the values `(frequencies, n, C)` of neighbours `(m, K)` by their shares `(frequencies, m, K)`.

    There is room for what is gathered, as `gather_into` has it.

    Returns
    -------
    Tensor
        `(frequencies, m, C)`.
    """
    values = gather_into(room, value, theirs)
    return (shares[..., None, :] @ values)[..., 0, :]


def correlate_with_all(query: Tensor, key: Tensor, theirs: Tensor) -> Tensor:
    """Do as `correlate_with_gathered`, up to rounding, by products with all images: gathering many costs more."""
    return (query @ key.mT).gather(2, theirs.expand(len(query), -1, -1))


def add_up_all(shares: Tensor, value: Tensor, theirs: Tensor) -> Tensor:
    """Do as `add_up_gathered`, up to rounding, with shares of all images, most of them 0."""
    everybody = shares.new_zeros(*shares.shape[:2], value.shape[1])
    return everybody.scatter_(2, theirs.expand_as(shares), shares) @ value


def gather_into(room: Tensor, spectra: Tensor, theirs: Tensor) -> Tensor:
    """Gather the spectra `(frequencies, n, channels)` of images `(m, K)` into room for them.

    Returns
    -------
    Tensor
        `(frequencies, m, K, channels)`, a view of `room`.
    """
    images = theirs.flatten()
    gathered = room[:, : len(images)]
    if gathered.is_contiguous():
        torch.index_select(spectra, 1, images, out=gathered)
    else:  # the last few
        gathered = spectra[:, images]
    return gathered.unflatten(1, theirs.shape)
