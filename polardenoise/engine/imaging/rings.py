"""Rings of frequencies: their averages and powers, and the best single radial filter."""

from __future__ import annotations

import torch
from torch import Tensor

from polardenoise.engine.imaging.fourier import filter_images
from polardenoise.engine.runtime.devices import CPU, keep_made


@keep_made(16)
def ring_index(box: int, device: torch.device = CPU) -> Tensor:
    """Give each Fourier pixel of a half transform the number of its ring.

    Parameters
    ----------
    box : int
        `N`, pixels.
    device : torch.device
        Where it is wanted.

    Returns
    -------
    Tensor
        `(N, N // 2 + 1)` int64, layout of `torch.fft.rfft2`: distance from the origin rounded to whole Fourier
        pixels, from 0. The corners beyond Nyquist are rings of their own.
    """
    rows = torch.fft.fftfreq(box, 1 / box) ** 2
    columns = torch.arange(box // 2 + 1) ** 2
    return (rows[:, None] + columns).sqrt().round().to(torch.int64).to(device)


def average_rings(values: Tensor) -> Tensor:
    """Average a real half transform over each ring of frequencies below Nyquist.

    Parameters
    ----------
    values : Tensor
        `(..., N, N // 2 + 1)`, layout of `torch.fft.rfft2`; |CTF| for a CTF rings.

    Returns
    -------
    Tensor
        `(..., N // 2)`, rings 0 to `N / 2 - 1` of `ring_index`. Stored pixels count once: for radial quantities that is
        as good as counting those twice that stand for two.
    """
    box = values.shape[-2]
    rings = ring_index(box, values.device).flatten()
    member = (rings[:, None] == torch.arange(box // 2, device=values.device)).to(values.dtype)
    return values.flatten(-2) @ (member / member.sum(0))


def estimate_radial_filter(noisy: Tensor, clean: Tensor) -> Tensor:
    """Find the one value per ring that, multiplied to noisy images, comes closest to the clean ones.

    Minimising `sum |H noisy - clean|^2` over all images ring by ring gives
    `H = sum Re(noisy * conj(clean)) / sum |noisy|^2`. With noise independent of the signal this is Wiener's
    `signal / (signal + noise)`, with the spectra taken from the truth.

    Parameters
    ----------
    noisy : Tensor
        `(n, N, N)`; phase-flipped where there is a CTF.
    clean : Tensor
        `(n, N, N)` what they should be; with |CTF| where the noisy ones carry it.

    Returns
    -------
    Tensor
        `(rings,)` float64, by `ring_index`; 0 where the noisy images have nothing.
    """
    noisy_transform = torch.fft.rfft2(noisy.to(torch.float64))
    clean_transform = torch.fft.rfft2(clean.to(torch.float64))
    cross = sum_rings(noisy_transform, clean_transform)
    power = sum_rings(noisy_transform, noisy_transform)
    return torch.where(power > 0, cross / power.clamp(min=torch.finfo(power.dtype).tiny), 0.0)


@keep_made(16)
def count_columns(box: int, device: torch.device = CPU) -> Tensor:
    """Count the columns of a whole transform that each column of a half transform stands for, `(N // 2 + 1,)`.

    Two, but one for that of frequency 0 and, where `N` is even, for that of the Nyquist frequency.
    """
    columns = torch.ones(box // 2 + 1)
    columns[1 : (box + 1) // 2] = 2.0
    return columns.to(device)


def sum_rings(first: Tensor, second: Tensor) -> Tensor:
    """Sum the inner products of images over each ring of frequencies, and over the images.

    Parameters
    ----------
    first, second : Tensor
        `(n, N, N // 2 + 1)` half transforms of `torch.fft.rfft2`.

    Returns
    -------
    Tensor
        `(rings,)` float64, by `ring_index`; together `N^2` times the products of all pixels.
    """
    box = first.shape[-2]
    products = (first * second.conj()).real.double().sum(0) * count_columns(box, first.device)
    return torch.bincount(ring_index(box, products.device).flatten(), products.flatten())


def apply_radial_filter(images: Tensor, radial_filter: Tensor) -> Tensor:
    """Multiply each ring of the images' transforms by the filter.

    Parameters
    ----------
    images : Tensor
        `(..., N, N)`.
    radial_filter : Tensor
        `(rings,)`, by `ring_index`.

    Returns
    -------
    Tensor
        `(..., N, N)`, type and device of the images.
    """
    rings = ring_index(images.shape[-1], images.device)
    values = radial_filter.to(device=images.device, dtype=images.dtype)[rings]
    return filter_images(images, values)


def best_radial_filter(noisy: Tensor, clean: Tensor) -> Tensor:
    """Filter noisy images by the single best radial Wiener filter for exactly these images.

    Parameters
    ----------
    noisy, clean : Tensor
        `(n, N, N)`, as for `estimate_radial_filter`.

    Returns
    -------
    Tensor
        `(n, N, N)` filtered images.
    """
    return apply_radial_filter(noisy, estimate_radial_filter(noisy, clean))


def ring_power(images: Tensor, mask: Tensor) -> Tensor:
    """Give the power `(..., box // 2)` of images `(..., box, box)` by ring, per pixel of the mask."""
    spectra = torch.fft.rfft2(images * mask).abs().square()
    return average_rings(spectra) / mask.sum()
