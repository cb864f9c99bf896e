"""Noise of a training step: white, or with the spectrum of real images' corners to a power of its own in each set."""

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.devices import send_to_device
from polardenoise.engine.noise_spectrum import MEASURED


def draw_noise(
    images: int,
    box: int,
    pixel_sizes: np.ndarray,
    colour: np.ndarray,
    generator: torch.Generator,
) -> Tensor:
    """Draw noise of variance 1 on the generator's device.

    Parameters
    ----------
    images : int
        Images of a set.
    box : int
        `N`, pixels.
    pixel_sizes : ndarray
        `(sets,)` Angstrom: the spectrum belongs to frequencies in 1/Angstrom.
    colour : ndarray
        `(sets,)` power of the measured spectrum; 0 for white noise.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    Tensor
        `(sets, images, N, N)` float32 of mean 0.
    """
    device = generator.device
    noise = torch.randn(len(colour), images, box, box, device=device, generator=generator)
    coloured = np.flatnonzero(colour)
    if coloured.size:
        power = send_to_device(sample_powers(box, pixel_sizes[coloured], colour[coloured]), device)
        rows = send_to_device(coloured, device)
        spectra = torch.fft.rfft2(noise[rows]) * power.sqrt()[:, None]
        noise[rows] = torch.fft.irfft2(spectra, s=(box, box))
    return noise


def sample_powers(box: int, pixel_sizes: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Sample powers of the measured spectrum where the transforms of images are.

    Parameters
    ----------
    box : int
        `N`, pixels.
    pixel_sizes, colour : ndarray
        `(n,)`, as for `draw_noise`.

    Returns
    -------
    ndarray
        `(n, N, N // 2 + 1)` of mean 1 over the whole `N x N` transform: at colour 1 what
        `coloured_noise.sample_noise_power` gives.
    """
    rows = np.fft.fftfreq(box, 1 / box)
    squared = (rows[:, None] ** 2 + np.arange(box // 2 + 1) ** 2).astype(np.int64)
    # The spectrum is radial: it is looked up once for each distance from the origin that there is.
    distances, place = np.unique(squared, return_inverse=True)
    cycles = np.sqrt(distances) / box / pixel_sizes[:, None]
    power = MEASURED.at(cycles) ** colour[:, None]
    twice = np.full(box // 2 + 1, 2.0)  # columns of a half transform that stand for two
    twice[[0, -1]] = 1.0
    counted = np.bincount(place.ravel(), np.broadcast_to(twice, squared.shape).ravel())
    power = power / (power @ counted / box**2)[:, None]
    return power[:, place.reshape(squared.shape)]
