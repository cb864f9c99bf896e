"""Noise of a training step: white, or with the spectrum of real images' corners to a power of its own in each set."""

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.fourier import filter_images
from polardenoise.engine.imaging.noise_spectrum import NoiseSpectrum
from polardenoise.engine.runtime.devices import send_to_device
from polardenoise.engine.simulate.noise import sample_powers
from polardenoise.engine.simulate.noise_spectrum import MEASURED


def draw_noise(
    images: int,
    box: int,
    pixel_sizes: np.ndarray,
    colour: np.ndarray,
    generator: torch.Generator,
    spectrum: NoiseSpectrum = MEASURED,
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
        `(sets,)` power of the spectrum; 0 for white noise.
    generator : torch.Generator
        Source of randomness.
    spectrum : NoiseSpectrum
        Of coloured noise at a power of 1.

    Returns
    -------
    Tensor
        `(sets, images, N, N)` float32 of mean 0.
    """
    device = generator.device
    noise = torch.randn(len(colour), images, box, box, device=device, generator=generator)
    coloured = np.flatnonzero(colour)
    if coloured.size:
        power = send_to_device(
            sample_powers(box, pixel_sizes[coloured], colour[coloured], spectrum), device
        )
        rows = send_to_device(coloured, device)
        noise[rows] = filter_images(noise[rows], power.sqrt()[:, None])
    return noise
