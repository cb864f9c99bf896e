"""Angular attention of each image to its own neighbours: every image has other keys."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.networks.angular_attention import transform_angles
from polardenoise.engine.runtime.devices import count_at_once

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
    asked = AskedImages(
        transform_angles(key).conj_physical(), transform_angles(value), key.shape[-1]
    )
    query_hat = transform_angles(query)  # (frequencies, m, D)
    found = NeighbourAttention(
        value.new_zeros(len(neighbours), *value.shape[1:]),
        value.new_zeros(neighbours.shape),
        torch.zeros_like(neighbours),
    )
    there = (neighbours >= 0).sum(1)
    for size in there.unique().tolist():
        if size == 0:
            continue
        rows = (there == size).nonzero()[:, 0]
        attend = asked.attend_to_many if size >= MANY * len(key) else asked.attend_to_few
        for some in rows.split(asked.count_at_once(size)):
            theirs = neighbours[some, :size]
            shares, attended = attend(query_hat[:, some], theirs, weigh)
            found.attended[some] = attended
            found.weights[some, :size] = shares.sum(-1)
            found.rotation[some, :size] = shares.argmax(-1)
    return found


@dataclass
class AskedImages:
    """Keys and values of images that may be asked, as spectra over the angle.

    Attributes
    ----------
    key, value : Tensor
        `(frequencies, n, D)`, conjugated, and `(frequencies, n, C)`.
    angles : int
        Angular steps of a turn.
    room : tuple of Tensor
        Of what is gathered, filled again and again: fresh memory would cost four times the gathering.
    """

    key: Tensor
    value: Tensor
    angles: int
    room: tuple[Tensor, ...] = ()

    def count_at_once(self, size: int) -> int:
        """Count the images that attend at once to so many neighbours each."""
        if size >= MANY * self.key.shape[1]:
            return MANY_AT_ONCE
        numbers_each = size * 2 * (self.key[:, 0].numel() + self.value[:, 0].numel())
        return count_at_once(VALUES_AT_ONCE, self.key.device, numbers_each)

    def attend_to_few(self, query: Tensor, theirs: Tensor, weigh: Weigh) -> tuple[Tensor, Tensor]:
        """Let images of spectra `(frequencies, m, D)` attend to few neighbours `(m, K)`, whose features are gathered.

        Returns
        -------
        tuple of Tensor
            `(m, K, angles)` weights and `(m, C, angles)` what was gathered.
        """
        size, wanted = theirs.shape[1], theirs.numel()
        if not self.room or self.room[0].shape[1] < wanted:
            self.room = tuple(
                one.new_empty(len(one), wanted, one.shape[2]) for one in (self.key, self.value)
            )
        keys, values = (
            gather_into(room, spectra, theirs.flatten(), size)
            for room, spectra in zip(self.room, (self.key, self.value), strict=True)
        )
        # (frequencies, images, K, D) @ (frequencies, images, D, 1)
        products = (keys @ query[..., None])[..., 0]
        shares = weigh(torch.fft.irfft(products.movedim(0, -1), n=self.angles), theirs)
        spectra = torch.fft.rfft(shares).movedim(-1, 0)[..., None, :]  # (frequencies, images, 1, K)
        sums = (spectra @ values)[..., 0, :]  # (frequencies, images, C)
        return shares, torch.fft.irfft(sums.movedim(0, -1), n=self.angles)

    def attend_to_many(self, query: Tensor, theirs: Tensor, weigh: Weigh) -> tuple[Tensor, Tensor]:
        """Attend as `attend_to_few`, up to rounding, by products with all images: gathering many costs more."""
        products = (query @ self.key.mT).gather(2, theirs.expand(len(query), -1, -1))
        shares = weigh(torch.fft.irfft(products.movedim(0, -1), n=self.angles), theirs)
        spectra = torch.fft.rfft(shares).movedim(-1, 0)  # (frequencies, images, K)
        everybody = spectra.new_zeros(*spectra.shape[:2], self.value.shape[1])
        sums = everybody.scatter_(2, theirs.expand_as(spectra), spectra) @ self.value
        return shares, torch.fft.irfft(sums.movedim(0, -1), n=self.angles)


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
