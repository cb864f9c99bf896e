"""Half maps of images of noise: how far they agree, and how much of a molecule is in them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.backprojection import FIRST_SHELL, drop_low_shells, reconstruct_map
from polardenoise.engine.imaging.fsc import fourier_shell_correlation

#: Shells among which the highest correlation is looked for: in shell 3 chance alone reaches 0.2.
FIRST_SHELL_OF_HIGHEST = 4


def subtract_means(images: Tensor, transfer: Tensor) -> Tensor:
    """Take the mean image of each half out of its images.

    An image that a network adds to all of its estimates is seen through each image's own CTF. The plain mean of such
    images has next to nothing of it, as CTFs of both signs cancel, while a reconstruction, which weights by the CTF
    again, has all of it. So the mean is that of the estimates: the image `m` for which `sum |F - CTF m|^2` is least,
    `sum CTF F / sum CTF^2`, and what is taken out of each image is `CTF m`. Without CTFs it is the plain mean.

    Parameters
    ----------
    images : Tensor
        `(n, N, N)`; the first half of them is one half.
    transfer : Tensor
        `(n, N, N // 2 + 1)` their CTFs.

    Returns
    -------
    Tensor
        `(n, N, N)`.
    """
    left = []
    for half in split_count(len(images)):
        spectra = torch.fft.rfft2(images[half])
        weight = transfer[half].square().sum(0)
        mean = (spectra * transfer[half]).sum(0) / weight.clamp(min=1e-9)
        left.append(torch.fft.irfft2(spectra - mean * transfer[half], s=images.shape[-2:]))
    return torch.cat(left)


def reconstruct_noise(images: Tensor, transfer: Tensor, angles: Tensor) -> list[Tensor]:
    """Reconstruct both halves with their CTFs.

    Parameters
    ----------
    images : Tensor
        `(n, N, N)`; the first half of them is one half.
    transfer : Tensor
        `(n, N, N // 2 + 1)`.
    angles : Tensor
        `(n, 3)` rot, tilt, psi in degrees.

    Returns
    -------
    list of Tensor
        The two half maps, `(N, N, N)`.
    """
    return [
        reconstruct_map(images[half], transfer[half], angles[half])
        for half in split_count(len(images))
    ]


def correlate_halves(images: Tensor, transfer: Tensor, angles: Tensor) -> np.ndarray:
    """Give the Fourier shell correlation `(N // 2 + 1,)` of the half maps; parameters as `reconstruct_noise`."""
    return fourier_shell_correlation(*reconstruct_noise(images, transfer, angles))


def mean_correlation(curve: np.ndarray) -> float:
    """Average a curve over the shells from `FIRST_SHELL` to half of Nyquist."""
    return float(curve[FIRST_SHELL : (len(curve) - 1) // 2 + 1].mean())


def highest_correlation(curve: np.ndarray) -> float:
    """Give the highest value of a curve in the shells from `FIRST_SHELL_OF_HIGHEST` to Nyquist."""
    return float(curve[FIRST_SHELL_OF_HIGHEST:].max())


def measure_amplitude(volume: Tensor, molecule: Tensor) -> float:
    """Tell how much of a molecule is in a map.

    Parameters
    ----------
    volume, molecule : Tensor
        `(N, N, N)`, the molecule as its particles show it.

    Returns
    -------
    float
        The factor by which the molecule comes closest to the map in the least-squares sense: 1 in a map of its
        particles, less what a reconstruction loses next to Nyquist (8 % in a box of 32 px). Shells below `FIRST_SHELL`
        are left out: the background decides them.
    """
    seen, sought = (drop_low_shells(one) for one in (volume, molecule))
    return float((seen * sought).sum() / sought.square().sum())


def split_count(count: int) -> tuple[slice, slice]:
    """Give the images of the two halves: the first and the second half of the stack."""
    return slice(0, count // 2), slice(count // 2, count)
