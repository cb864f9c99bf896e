"""Angular attention: each image gathers, from all images of its set at all rotations, what they know about it.

    logit[i, j, s] = sum_{d, t} q_i[d, t] k_j[d, t - s]
    a[i, j, s]     = softmax over (j, s) together: who, and at which rotation
    out_i[c, t]    = sum_{j, s} a[i, j, s] v_j[c, t - s]

Both sums are circular convolutions over the angle: one FFT, a complex matrix product per angular frequency, one inverse
FFT (arXiv 2506.11283, section 4). The weights `a` of a large set do not fit into memory (K K T numbers), those of a
middling one not into the caches: so queries are taken in blocks, and keys too where they are many, the largest logit
and the sum of the weights carried along ("online softmax").
"""

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from polardenoise.engine.networks.attention_direct import attend_by_matrix_product
from polardenoise.engine.runtime.devices import count_at_once

#: Images times angles up to which the direct form is the faster one (docs/constants.rst). Measured on the CPU only:
#: other devices use the FFT.
DIRECT_UP_TO = {"cpu": 32}

#: Weights (queries x keys x angles, of all sets together) in one block, by kind of device: 4 and 256 MB of float32.
WEIGHTS_AT_ONCE = {"cpu": 2**20, "cuda": 2**26}

#: Fewer queries than this in a block make the matrix products slow: rather than that, keys are cut as well.
FEWEST_QUERIES = 32

#: Weights (0.5 GB of float32) up to which training keeps them; past it the backward pass computes each block again.
WEIGHTS_KEPT = 2**27


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Angular attention in the form that is the fastest for these sizes on this device.

    Parameters
    ----------
    query, key : Tensor
        `(sets, images, D, angles)`; any scale of the logits is already in the query.
    value : Tensor
        `(sets, images, C, angles)`.

    Returns
    -------
    Tensor
        `(sets, images, C, angles)`: `attend_direct` of the same, up to rounding.

    Examples
    --------
    An image that is turned by three angular steps gathers the same, turned by three steps:

    >>> generator = torch.Generator().manual_seed(0)
    >>> query, key, value = (torch.randn(1, 5, 4, 16, generator=generator) for _ in range(3))
    >>> gathered, turned = attend(query, key, value), attend(query.roll(3, -1), key, value)
    >>> bool(torch.allclose(turned, gathered.roll(3, -1), atol=1e-5))
    True
    """
    if prefers_direct(key):
        return attend_by_matrix_product(query, key, value)
    return attend_blocked(query, key, value, *choose_blocks(key))


def attend_fourier(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Angular attention by FFT, all weights at once: `~4 K^2 T (D + C)` FLOP beside the transforms.

    Parameters
    ----------
    query, key : Tensor
        `(..., images, D, angles)`; any scale of the logits is already in the query.
    value : Tensor
        `(..., images, C, angles)`.

    Returns
    -------
    Tensor
        `(..., images, C, angles)`: `attend_direct` of the same, up to rounding.
    """
    angles = query.shape[-1]
    key_hat = transform_keys(key)
    return gather(transform_angles(query), key_hat, transform_angles(value), angles).finish()


def attend_blocked(
    query: Tensor, key: Tensor, value: Tensor, queries_at_once: int, keys_at_once: int
) -> Tensor:
    """Angular attention by FFT, block by block: memory grows as the number of images, not as its square.

    Parameters
    ----------
    query, key, value : Tensor
        As for `attend_fourier`.
    queries_at_once, keys_at_once : int
        Images in a block. The result depends on them by rounding only.

    Returns
    -------
    Tensor
        `(..., images, C, angles)`: `attend_fourier` of the same, up to rounding.
    """
    angles = query.shape[-1]
    key_hats = [transform_keys(some) for some in key.split(keys_at_once, -3)]
    value_hats = [transform_angles(some) for some in value.split(keys_at_once, -3)]

    def attend_some(some_queries: Tensor) -> Tensor:
        query_hat = transform_angles(some_queries)
        pairs = zip(key_hats, value_hats, strict=True)
        return reduce(merge, (gather(query_hat, *pair, angles) for pair in pairs)).finish()

    some = query.split(queries_at_once, -3)
    if len(some) == 1:
        return attend_some(query)
    if torch.is_grad_enabled() and (
        query.requires_grad or key.requires_grad or value.requires_grad
    ):
        if query.shape[-3] * key[..., 0, :].numel() <= WEIGHTS_KEPT:
            return torch.cat([attend_some(one) for one in some], -3)
        return torch.cat([checkpoint(attend_some, one, use_reentrant=False) for one in some], -3)
    out = torch.empty_like(value)  # filled in place: joining the blocks would hold the result twice
    for one, place in zip(some, out.split(queries_at_once, -3), strict=True):
        place.copy_(attend_some(one))
    return out


def attention_logits_fourier(query: Tensor, key: Tensor) -> Tensor:
    """Correlate every query with every key at every rotation, through the FFT over angles.

    `logit[i, j, s] = sum_{d, t} q_i[d, t] k_j[d, t - s]` is `q_hat conj(k_hat)` at each angular frequency.

    Parameters
    ----------
    query, key : Tensor
        `(..., images, D, angles)`.

    Returns
    -------
    Tensor
        `(..., queries, keys, angles)`; the last axis is the rotation `s` in angular steps, counter-clockwise, that
        takes the key onto the query.
    """
    key_hat = transform_keys(key)
    return correlate(transform_angles(query), key_hat, query.shape[-1])


def transform_angles(features: Tensor) -> Tensor:
    """Transform `(..., angles)` over the angle into spectra `(frequencies, ...)`.

    The frequencies are put first by copying, so that the products over images and channels are ordinary matrix
    products (ten times faster than products in place), and as one flat matrix, which the copy is quick with.
    """
    return put_first(torch.fft.rfft(features))


def transform_keys(keys: Tensor) -> Tensor:
    """Transform as `transform_angles` does, and conjugate: what a correlation needs of one of its two sides."""
    return put_first(torch.fft.ihfft(keys, norm="forward"))


def put_first(spectra: Tensor) -> Tensor:
    """Put the last axis of `(..., frequencies)` first, by copying."""
    return spectra.flatten(0, -2).mT.contiguous().unflatten(1, spectra.shape[:-1])


def restore_angles(spectra: Tensor, angles: int) -> Tensor:
    """Transform spectra `(frequencies, ...)` back to `(..., angles)`."""
    return torch.fft.irfft(spectra.flatten(1).mT, n=angles).unflatten(0, spectra.shape[1:])


def correlate(query_hat: Tensor, key_hat: Tensor, angles: int) -> Tensor:
    """Compute logits `(..., queries, keys, angles)` from spectra (see `transform_angles`), the keys' conjugated."""
    return restore_angles(query_hat @ key_hat.mT, angles)


@dataclass(frozen=True)
class Gathered:
    """What some queries have gathered from some keys: an unfinished softmax.

    Attributes
    ----------
    largest : Tensor
        `(..., queries)`: the largest logit met.
    total : Tensor
        `(..., queries)`: the sum of `exp(logit - largest)` over keys and rotations.
    sums : Tensor
        `(frequencies, ..., queries, C)`: spectra of the rotated values, weighed by `exp(logit - largest)` and added.
    angles : int
        Angular steps of a turn.
    """

    largest: Tensor
    total: Tensor
    sums: Tensor
    angles: int

    def finish(self) -> Tensor:
        """Divide by the total: the attended values `(..., queries, C, angles)`."""
        return restore_angles(self.sums, self.angles) / self.total[..., None, None]


def gather(query_hat: Tensor, key_hat: Tensor, value_hat: Tensor, angles: int) -> Gathered:
    """Let queries gather from one block of keys, all given by spectra as `transform_angles` makes them.

    Parameters
    ----------
    query_hat, key_hat : Tensor
        `(frequencies, ..., images, D)`, the keys' conjugated.
    value_hat : Tensor
        `(frequencies, ..., keys, C)`.
    angles : int
        Angular steps of a turn.
    """
    logits = correlate(query_hat, key_hat, angles)
    # The softmax does not depend on what is subtracted: no gradient goes through it.
    largest = logits.detach().amax((-2, -1))
    weights = logits.sub_(largest[..., None, None]).exp_()
    total = weights.sum((-2, -1))
    return Gathered(largest, total, transform_angles(weights) @ value_hat, angles)


def merge(one: Gathered, other: Gathered) -> Gathered:
    """Join what the same queries have gathered from two blocks of keys."""
    largest = torch.maximum(one.largest, other.largest)
    fade_one, fade_other = (one.largest - largest).exp(), (other.largest - largest).exp()
    return Gathered(
        largest,
        one.total * fade_one + other.total * fade_other,
        one.sums * fade_one[..., None] + other.sums * fade_other[..., None],
        one.angles,
    )


def prefers_direct(key: Tensor) -> bool:
    """Tell whether `(sets, images, D, angles)` is so small that transforms do not pay."""
    return key.shape[-3] * key.shape[-1] <= DIRECT_UP_TO.get(key.device.type, 0)


def choose_blocks(key: Tensor) -> tuple[int, int]:
    """Choose how many queries and keys of `(sets, images, D, angles)` go into a block.

    Returns
    -------
    tuple of int
        Queries and keys.
    """
    images, sets_and_angles = key.shape[-3], key[..., 0, 0, :].numel()
    pairs = count_at_once(WEIGHTS_AT_ONCE, key.device, sets_and_angles)
    fewest = min(FEWEST_QUERIES, images)
    if pairs >= fewest * images:
        return min(pairs // images, images), images
    return min(fewest, pairs), max(1, pairs // fewest)
