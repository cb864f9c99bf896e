"""Gaussian noise with a radial power spectrum, of variance 1."""

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.noise_spectrum import NoiseSpectrum


def sample_noise_power(spectrum: NoiseSpectrum, box: int, pixel_size: float) -> Tensor:
    """Sample a spectrum where the transform of an image is, so that the noise has variance 1.

    Parameters
    ----------
    spectrum : NoiseSpectrum
        Of real images; finer pixels than theirs keep its last power.
    box : int
        `N`, pixels.
    pixel_size : float
        Angstrom of the images that are to be made. Cropping a transform keeps its power at each frequency: this is the
        noise of the real images at another pixel size.

    Returns
    -------
    Tensor
        `(N, N // 2 + 1)` float32 in the layout of `torch.fft.rfft2`; its mean over the whole `N x N` transform is 1.
    """
    cycles = np.fft.fftfreq(box) / pixel_size
    frequency = np.hypot(cycles[:, None], cycles)
    power = spectrum.at(frequency)
    power = power / power.mean()
    return torch.from_numpy(power[:, : box // 2 + 1].astype(np.float32))


def draw_coloured_noise(count: int, power: Tensor, generator: np.random.Generator) -> Tensor:
    """Draw images of Gaussian noise.

    Parameters
    ----------
    count : int
        How many images.
    power : Tensor
        `(N, N // 2 + 1)` mean power of the noise at each frequency, 1 for white noise of variance 1; as
        `sample_noise_power` gives it.
    generator : numpy.random.Generator
        White noise is drawn from it image by image: drawing ten images and drawing four, then six, give the same.

    Returns
    -------
    Tensor
        `(count, N, N)` float32 of mean 0.
    """
    box = power.shape[-2]
    white = torch.from_numpy(generator.standard_normal((count, box, box), dtype=np.float32))
    return torch.fft.irfft2(torch.fft.rfft2(white) * power.sqrt(), s=(box, box))
