"""Noise of simulated images: Gaussian with a radial power spectrum, and the structure of amorphous ice.

Water molecules lie at random: their projected potential is white at the frequencies of a particle image. Seen through
the CTF it shows Thon rings and vanishes where the particle's signal does, unlike the noise of counting
(Baxter, Grassucci, Gao & Frank 2009, J. Struct. Biol. 166, 126: structural noise, before the CTF, and shot noise).
"""

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.fourier import filter_images
from polardenoise.engine.imaging.noise_spectrum import NoiseSpectrum
from polardenoise.engine.imaging.rings import count_columns
from polardenoise.engine.simulate.noise_spectrum import MEASURED


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
    power = sample_powers(box, np.array([pixel_size]), np.ones(1), spectrum)[0]
    return torch.from_numpy(power.astype(np.float32))


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
    return filter_images(white, power.sqrt())


def draw_ice(count: int, transfer: Tensor, generator: np.random.Generator) -> Tensor:
    """Draw images of ice.

    Parameters
    ----------
    count : int
        How many.
    transfer : Tensor
        `(N, N // 2 + 1)` or `(count, N, N // 2 + 1)`, what the transform of the projected potential is multiplied by:
        CTF, envelope, MTF; in the layout of `torch.fft.rfft2`, box even.
    generator : numpy.random.Generator
        White noise is drawn from it image by image.

    Returns
    -------
    Tensor
        `(count, N, N)` float32, mean 0, each drawn from noise of variance 1.
    """
    box = transfer.shape[-2]
    white = torch.from_numpy(generator.standard_normal((count, box, box), dtype=np.float32))
    variance = (transfer.square() * count_columns(box)).sum((-2, -1), keepdim=True) / box**2
    return filter_images(white, transfer / variance.sqrt())


def show_ice(white: Tensor, transfer: Tensor, deviation: Tensor) -> Tensor:
    """Make images of ice from white noise, each of exactly the standard deviation that it is to have.

    `draw_ice` gives the deviation on average instead. Models and sets of both are kept, so both stay.

    Parameters
    ----------
    white : Tensor
        `(..., N, N)` white noise.
    transfer : Tensor
        `(..., N, N // 2 + 1)` the CTF; its sign does not matter, as ice has no phases to lose.
    deviation : Tensor
        `(..., 1, 1)` standard deviation of the pixels of each image.

    Returns
    -------
    Tensor
        `(..., N, N)`.
    """
    ice = filter_images(white, transfer)
    return ice * (deviation / ice.std((-2, -1), keepdim=True).clamp(min=1e-6))


def sample_powers(
    box: int, pixel_sizes: np.ndarray, colour: np.ndarray, spectrum: NoiseSpectrum = MEASURED
) -> np.ndarray:
    """Sample powers of a spectrum where the transforms of images are.

    Parameters
    ----------
    box : int
        `N`, pixels.
    pixel_sizes, colour : ndarray
        `(n,)`, as for `draw_noise`.
    spectrum : NoiseSpectrum
        The measured one, if nothing else is said.

    Returns
    -------
    ndarray
        `(n, N, N // 2 + 1)` of mean 1 over the whole `N x N` transform: at colour 1 what
        `sample_noise_power` gives.
    """
    rows = np.fft.fftfreq(box, 1 / box)
    squared = (rows[:, None] ** 2 + np.arange(box // 2 + 1) ** 2).astype(np.int64)
    # The spectrum is radial: it is looked up once for each distance from the origin that there is.
    distances, place = np.unique(squared, return_inverse=True)
    cycles = np.sqrt(distances) / box / pixel_sizes[:, None]
    power = spectrum.at(cycles) ** colour[:, None]
    columns = np.broadcast_to(count_columns(box).double().numpy(), squared.shape)
    counted = np.bincount(place.ravel(), columns.ravel())
    power = power / (power @ counted / box**2)[:, None]
    return power[:, place.reshape(squared.shape)]
