"""Counting electrons: Poisson noise at a dose.

`e = dose x pixel area` electrons fall on a pixel of empty ice. The specimen, seen through the CTF, changes this by the
share `m` (the weak-phase approximation: protein takes electrons away), and the detector counts Poisson(e (1 - m)).
Turned to protein bright, with the background subtracted, and divided by the root of `e`, the noise has variance 1 and
the signal is `m sqrt(e)`. Hence

    SNR = contrast^2 x dose x pixel area x counted share,

where the contrast is the root mean square of `m` over the box, CTF included, and the counted share that of the noise
which is not the structure of the ice. Two of SNR, dose and contrast give the third.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.runtime.errors import InputError

SNR = 0.02
#: Of a molecule that fills 0.7 of the box: a few per cent, and 0.2 to 0.3 where it is thickest.
CONTRAST = 0.05
#: Beyond this the brightest pixels take all electrons away, and nothing is weak any more.
HIGHEST_CONTRAST = 0.15
FEWEST_ELECTRONS = 1e-3  # a pixel


@dataclass(frozen=True)
class Exposure:
    """How many electrons see how much contrast.

    Attributes
    ----------
    snr : float
        Mean squared clean pixel, CTF included, over the variance of the noise.
    dose : float or None
        Electrons per Angstrom^2 that arrive where there is no particle; None where none are counted, as below.
    contrast : float or None
        Root mean square change of the intensity by the particle, over the whole box.
    electrons : float or None
        Per pixel where there is no particle.
    """

    snr: float
    dose: float | None = None
    contrast: float | None = None
    electrons: float | None = None


def settle_exposure(
    snr: float | None, dose: float | None, pixel_size: float, counted_share: float
) -> Exposure:
    """Find what of SNR, dose and contrast was not asked for.

    Parameters
    ----------
    snr, dose : float or None
        Both: the contrast follows. One: the other follows, at a contrast of 0.05. None: as with an SNR of 0.02.
    pixel_size : float
        Angstrom.
    counted_share : float
        Share of the variance of the noise that is from counting; the rest is the structure of the ice.

    Raises
    ------
    InputError
        If the contrast is none of a weak specimen, or hardly an electron falls on a pixel.
    """
    area = pixel_size**2
    if dose is None:
        snr = SNR if snr is None else snr
        dose = snr / (CONTRAST**2 * area * counted_share)
    elif snr is None:
        snr = CONTRAST**2 * dose * area * counted_share
    contrast = (snr / (dose * area * counted_share)) ** 0.5
    if contrast > HIGHEST_CONTRAST:
        enough = snr / (HIGHEST_CONTRAST**2 * area * counted_share)
        raise InputError(
            f"--dose {dose:g}: an SNR of {snr:g} would take a contrast of {contrast:.2g}, which no molecule in"
            f" ice has; give at least {enough * 1.005:.3g} electrons per A^2, or a lower --snr"
        )
    if dose * area < FEWEST_ELECTRONS:
        raise InputError(
            f"--dose {dose:g}: {dose * area:.2g} electrons a pixel are none; give a higher --dose"
        )
    return Exposure(snr, dose, contrast, dose * area)


def count_electrons(
    images: Tensor, electrons: float, deviation: float, generator: np.random.Generator
) -> Tensor:
    """Count the electrons that images let through, and turn the counts into images again.

    Parameters
    ----------
    images : Tensor
        `(n, N, N)` noise-free, protein bright, background 0, in units in which the result's noise has `deviation`.
    electrons : float
        Mean count where the images are 0.
    deviation : float
        Standard deviation of the noise where the images are 0.
    generator : numpy.random.Generator
        Draws the counts, image by image.

    Returns
    -------
    Tensor
        `(n, N, N)` float32: `(electrons - counts) deviation / sqrt(electrons)`, of mean `images` wherever these leave
        any electrons. Where protein takes electrons away the noise is weaker, as counts vary by their mean.
    """
    scale = deviation / electrons**0.5
    expected = (electrons - images.double() / scale).clamp(min=0)
    counts = torch.from_numpy(generator.poisson(expected.numpy()))
    return ((electrons - counts) * scale).float()
