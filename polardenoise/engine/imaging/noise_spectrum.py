"""The radial power spectrum of the noise of images, measured where no particle is.

The corners of a box, outside the disk of radius `N / 2`, show ice, detector and neighbours but not the particle. Their
autocorrelation, each lag divided by the number of pairs of pixels that it has there, is free of the shape of the
corners; with a Hann taper at a quarter of the box its transform is the spectrum, at steps of two cycles per box.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

#: Share of the mean power below which an estimate is taken as noise about zero.
SMALLEST_POWER = 1e-3
#: Images of white noise that say what `typical_ring_power` makes of white noise.
REFERENCE_IMAGES = 500
#: A corner that is by so many standard deviations stronger than the middle one holds more than noise.
MOST_SPREADS = 2.5


@dataclass(frozen=True)
class NoiseSpectrum:
    """Power of noise against spatial frequency, up to a factor.

    Attributes
    ----------
    frequency : ndarray
        `(m,)` ascending from 0, 1/Angstrom.
    power : ndarray
        `(m,)` above 0. Beyond the last frequency the last power goes on.
    """

    frequency: np.ndarray
    power: np.ndarray

    def at(self, frequency: np.ndarray) -> np.ndarray:
        """Interpolate the power at frequencies of any shape, 1/Angstrom."""
        return np.interp(frequency, self.frequency, self.power)


def correlate_corners(images: np.ndarray) -> np.ndarray:
    """Find the radial autocorrelation of the corners of each image.

    Parameters
    ----------
    images : ndarray
        `(n, N, N)`; each is first brought to mean 0 and variance 1 in its corners.

    Returns
    -------
    ndarray
        `(n, N // 4 + 1)` mean over directions at lags of 0, 1, ... pixels; 1 at lag 0, as far as the mean over images
        goes.
    """
    box = images.shape[-1]
    outside = select_corners(box)
    corners = images[:, outside].astype(np.float64)
    corners = (corners - corners.mean(1, keepdims=True)) / corners.std(1, keepdims=True)
    masked = np.zeros(images.shape)
    masked[:, outside] = corners
    return sum_products(masked, box // 4) / sum_products(outside[None].astype(float), box // 4)


def select_corners(box: int) -> np.ndarray:
    """Tell which pixels lie outside the disk of radius `N / 2`, `(N, N)` bool."""
    pixel = np.arange(box) - box // 2
    return np.hypot(pixel[:, None], pixel) >= box / 2


def sum_products(planes: np.ndarray, last: int) -> np.ndarray:
    """Sum the products of all pairs of pixels of `(n, H, W)` planes by their distance, `(n, last + 1)` up to `last`."""
    padded = (
        planes.shape[1] + last,
        planes.shape[2] + last,
    )  # so that no lag that counts wraps around
    down, across = (np.fft.fftfreq(size) * size for size in padded)
    distance = np.hypot(down[:, None], across).round().astype(int).ravel()
    order = np.argsort(distance, kind="stable")
    first = np.searchsorted(distance[order], np.arange(last + 2))
    correlation = np.fft.irfft2(np.abs(np.fft.rfft2(planes, padded)) ** 2, padded)
    near = correlation.reshape(len(planes), -1)[:, order[: first[-1]]]
    return np.add.reduceat(near, first[:-1], axis=1)


def transform_autocorrelation(autocorrelation: np.ndarray, pixel_size: float) -> NoiseSpectrum:
    """Turn a radial autocorrelation into the radial power spectrum.

    Parameters
    ----------
    autocorrelation : ndarray
        `(m + 1,)` at lags of 0 ... `m` pixels.
    pixel_size : float
        Angstrom.

    Returns
    -------
    NoiseSpectrum
        `m + 1` frequencies up to Nyquist, resolved to about `1 / m` of it; 1 for white noise of variance 1. The
        power at frequency 0, which taking the mean off each image has removed, is that of the next frequency.
    """
    last = len(autocorrelation) - 1
    lag = np.fft.fftfreq(2 * last) * 2 * last
    radius = np.hypot(lag[:, None], lag)
    taper = np.where(radius < last, (1 + np.cos(np.pi * radius / last)) / 2, 0)
    plane = np.interp(radius, np.arange(last + 1), autocorrelation) * taper
    ring = radius.round().astype(int).ravel()
    power = np.bincount(ring, np.fft.fft2(plane).real.ravel()) / np.bincount(ring)
    power = np.maximum(power[: last + 1], SMALLEST_POWER * power.mean())
    power[0] = power[1]
    return NoiseSpectrum(np.arange(last + 1) / (2 * last * pixel_size), power)


def measure_ring_powers(images: np.ndarray) -> np.ndarray:
    """Measure the power of the noise in each corner of each image on each ring of frequencies.

    Parameters
    ----------
    images : ndarray
        `(n, N, N)` in any units. The background of an image is the median of the means of its four corners, and the
        variance of its noise that of their variances: a neighbour that reaches into one of them has no part in it.

    Returns
    -------
    ndarray
        `(n, 4, N // 2)`; white noise gives 1 on all rings, but for what `typical_ring_power` allows for.
    """
    box = images.shape[-1]
    rings = np.arange(box // 2) / box  # cycles per pixel
    corners = divide_corners(box)
    means = np.stack([images[:, corner].mean(1) for corner in corners], axis=1)
    centred = images - np.median(means, axis=1)[:, None, None]
    correlations = np.stack(
        [correlate_masked(centred, corner, box // 4) for corner in corners], axis=1
    )  # (n, 4, lags)
    variance = np.median(correlations[:, :, 0], axis=1)
    flat = (correlations / variance[:, None, None]).reshape(4 * len(images), -1)
    powers = [transform_autocorrelation(one, 1.0).at(rings) for one in flat]
    return np.array(powers).reshape(len(images), 4, box // 2)


def correlate_masked(images: np.ndarray, inside: np.ndarray, last: int) -> np.ndarray:
    """Find the radial autocorrelation `(n, last + 1)` of images `(n, N, N)` in a part `(N, N)` bool of them."""
    part = np.ix_(inside.any(1), inside.any(0))
    mask = inside[part].astype(float)
    seen = images[:, part[0], part[1]] * mask
    return sum_products(seen, last) / sum_products(mask[None], last)


def divide_corners(box: int) -> list[np.ndarray]:
    """Tell which pixels lie in each of the four corners outside the disk of radius `N / 2`, `(N, N)` bool each."""
    outside, low = select_corners(box), np.arange(box) < box // 2
    return [outside & down[:, None] & across for down in (low, ~low) for across in (low, ~low)]


def typical_ring_power(ring_powers: np.ndarray) -> np.ndarray:
    """Take the median of the ring powers of corners, `(n, 4, N // 2)`, over what it is of white noise: `(N // 2,)`.

    A median of squares is below their mean, and taking the background off a corner takes power off the first rings:
    white noise is measured in the same way, and held against it.
    """
    box = 2 * ring_powers.shape[-1]
    return take_median(ring_powers) / measure_white_rings(box)


def take_median(ring_powers: np.ndarray) -> np.ndarray:
    """Take the median over corners, `(N // 2,)`, but for those far stronger than most: neighbours lie there."""
    corners = ring_powers.reshape(-1, ring_powers.shape[-1])
    strength = corners.mean(1)
    middle = np.median(strength)
    spread = 1.4826 * np.median(np.abs(strength - middle))  # the standard deviation, of normal ones
    return np.median(corners[strength <= middle + MOST_SPREADS * spread], axis=0)


@lru_cache(maxsize=4)
def measure_white_rings(box: int) -> np.ndarray:
    """Measure what the median ring power of the corners of white noise is, `(N // 2,)`."""
    generator = np.random.default_rng([box, 7])
    noise = generator.standard_normal((REFERENCE_IMAGES, box, box), dtype=np.float32)
    return take_median(measure_ring_powers(noise))
