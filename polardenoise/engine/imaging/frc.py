"""Fourier ring correlation of many pairs of images at once.

torch-fourier-shell-correlation goes through the rings one by one, a dozen small tensor operations each: on busy cores,
where threads wait for one another at every operation, that is nearly all of an evaluation's time. Here the rings are
one sparse matrix.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def fourier_ring_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Correlate pairs of images ring by ring in Fourier space.

    Parameters
    ----------
    first, second : Tensor
        `(n, N, N)` real. A scale between them changes nothing.

    Returns
    -------
    Tensor
        `(n, N // 2 + 1)` float64, as torch-fourier-shell-correlation's `fourier_ring_correlation` gives it: a Fourier
        pixel is shared between the two rings that its radius lies between. Ring 0 is 1 by definition; a ring in which
        an image has nothing is 0.

    Examples
    --------
    An image agrees with itself at any scale, and not at all with its negative:

    >>> images = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> fourier_ring_correlation(images, 3 * images).round(decimals=6).tolist()
    [[1.0, 1.0, 1.0, 1.0, 1.0]]
    >>> fourier_ring_correlation(images, -images).round(decimals=6).tolist()
    [[1.0, -1.0, -1.0, -1.0, -1.0]]
    """
    one, other = (
        torch.fft.rfft2(images.to(torch.float64)).flatten(1) for images in (first, second)
    )
    products = torch.stack([(one * other.conj()).real, _power(one), _power(other)])  # (3, n, F)
    shares = share_pixels(first.shape[-1]).to(first.device)
    sums = torch.sparse.mm(shares, products.flatten(0, 1).T.contiguous())
    product, power, other_power = sums.T.unflatten(0, (3, -1))
    bound = (power * other_power).sqrt()
    curve = torch.where(bound > 0, product / bound.clamp_min(torch.finfo(bound.dtype).tiny), 0.0)
    curve[:, 0] = 1.0
    return curve


def _power(transforms: Tensor) -> Tensor:
    return transforms.real.square() + transforms.imag.square()


@lru_cache(maxsize=4)
def share_pixels(box: int) -> Tensor:
    """Share the pixels of a half transform among rings, linearly in the radius.

    Parameters
    ----------
    box : int
        `N`, pixels.

    Returns
    -------
    Tensor
        Sparse `(N // 2 + 1, N * (N // 2 + 1))` float64, pixels as `torch.fft.rfft2` lays them out.
    """
    rings = box // 2 + 1
    along = torch.fft.fftfreq(box, 1 / box, dtype=torch.float64)
    radius = torch.hypot(along[:, None], torch.arange(rings, dtype=torch.float64)).flatten()
    inner = radius.floor().long()
    pixels = torch.arange(len(radius))
    ring = torch.cat([inner, inner + 1])
    share = torch.cat([1 - (radius - inner), radius - inner])
    kept = (ring < rings) & (share > 0)
    places = torch.stack([ring[kept], pixels.repeat(2)[kept]])
    shape = rings, len(radius)
    # Told for all that is made here: torch 2.11 warns whoever leaves it open.
    with torch.sparse.check_sparse_tensor_invariants(True):
        return torch.sparse_coo_tensor(places, share[kept], shape).coalesce()
