"""The radial power spectrum of the noise of real images, measured where no particle is.

How it is measured stands in `imaging.noise_spectrum`. `MEASURED` is that of two sets of real images.
`python -m polardenoise.engine.simulate.noise_spectrum PARTICLES.star ...` measures the sets named and prints their
common spectrum; after the word `boxes` they are boxes without a particle, measured as a whole and each printed by
itself, as the setting `noise_spectrum` of a recipe takes it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polardenoise.engine.imaging.noise_spectrum import (
    SMALLEST_POWER,
    NoiseSpectrum,
    correlate_corners,
    transform_autocorrelation,
)
from polardenoise.engine.particles.mrc import read_stack_header
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import ParticleSet, read_particles
from polardenoise.engine.particles.set_checks import most_common_pixel_size, refuse_computed
from polardenoise.engine.particles.set_document import is_bare_stack
from polardenoise.engine.runtime.errors import InputError

#: Images of a set that are measured, spread over it: their corners hold a million pixels and more.
MEASURED_IMAGES = 1_000
IMAGES_AT_ONCE = 50
SMALLEST_BOX = 16
#: Where spectra of several sets are brought to the same scale, 1/Angstrom: beyond ice and neighbours, before the
#: Nyquist frequency of the coarsest.
COMMON_BAND = (0.08, 0.16)


#: Frequencies of the shipped and of the printed table, 1/Angstrom: finer where ice and neighbours show.
TABLE = np.concatenate([np.arange(0, 0.1, 0.01), np.arange(0.1, 0.35, 0.02)]).round(3)

#: Geometric mean of the corners of EMPIAR-10076 (7 images, 1.31 A/px) and ASPIRE's sample (17 images, 1.4 A/px); the
#: third set of real images of that size shows filaments, which reach into the corners. The rise below 0.05/A is of ice
#: and neighbours, the fall above 0.2/A of the detector. Made in ../shared/data/particles/real by
#: `python -m polardenoise.engine.simulate.noise_spectrum A B` with A = empiar_10076/empiar_10076_7.star and
#: B = aspire_sample/sample_particles_relion31.star.
# fmt: off
MEASURED = NoiseSpectrum(TABLE, np.array([
    2.788, 2.959, 3.257, 3.026, 2.184, 1.382, 1.100, 1.210, 1.054, 1.069, 1.017, 0.997,
    0.973, 0.951, 0.965, 0.908, 0.879, 0.861, 0.845, 0.805, 0.779, 0.762, 0.736,
]))
# fmt: on


def measure_noise_spectrum(star_path: Path) -> NoiseSpectrum:
    """Measure the radial power spectrum of the noise of a particle set.

    Parameters
    ----------
    star_path : Path
        The set; 1,000 of its images at most are read.

    Raises
    ------
    InputError
        If it cannot be read, or its images have no noise in their corners (denoised, masked, or too small).
    """
    particles = read_particles(star_path)
    refuse_computed(particles)
    if particles.box < SMALLEST_BOX:
        raise InputError(
            f"{star_path}: images of {particles.box} px show too little background for a noise spectrum;"
            f" give a set with a box of at least {SMALLEST_BOX} px"
        )
    every = -(-len(particles.pixel_size) // MEASURED_IMAGES)
    rows = np.arange(0, len(particles.pixel_size), every)
    autocorrelation = np.zeros(particles.box // 4 + 1)
    for start in range(0, len(rows), IMAGES_AT_ONCE):
        some = rows[start : start + IMAGES_AT_ONCE]
        images = read_images(particles, some)
        _check_corners(images, some, star_path)
        autocorrelation += correlate_corners(images).mean(0) * len(some) / len(rows)
    return transform_autocorrelation(autocorrelation, most_common_pixel_size(particles))


def read_empty_boxes(path: Path) -> ParticleSet:
    """Read the set of boxes without a particle: a STAR file, or a stack whose header says the pixel size.

    Raises
    ------
    InputError
        If it cannot be read, or the header of a stack says no pixel size.
    """
    if not is_bare_stack(path):
        return read_particles(path)
    pixel_size = read_stack_header(path).pixel_size
    if not pixel_size:
        raise InputError(f"{path}: its header says no pixel size; name the boxes in a STAR file")
    return read_particles(path, pixel_size=pixel_size)


def measure_box_spectrum(path: Path) -> NoiseSpectrum:
    """Measure the radial power spectrum of boxes in which there is no particle, from all of their pixels.

    Parameters
    ----------
    path : Path
        The boxes; 1,000 of them at most are read. Each counts alike, at mean 0 and variance 1.

    Raises
    ------
    InputError
        If they cannot be read, are denoised or too small, or one of them is blank.
    """
    particles = read_empty_boxes(path)
    refuse_computed(particles)
    box = particles.box
    if box < SMALLEST_BOX:
        raise InputError(
            f"{path}: boxes of {box} px show too little for a noise spectrum; give boxes of at least {SMALLEST_BOX} px"
        )
    rows = np.arange(0, len(particles), -(-len(particles) // MEASURED_IMAGES))
    power = np.zeros(box // 2)
    cycles = np.fft.fftfreq(box, 1 / box)
    ring = np.hypot(cycles[:, None], cycles).round().astype(int).ravel()
    for start in range(0, len(rows), IMAGES_AT_ONCE):
        some = rows[start : start + IMAGES_AT_ONCE]
        images = read_images(particles, some).astype(np.float64)
        deviation = images.std((1, 2), keepdims=True)
        bad = ~np.isfinite(deviation.ravel()) | (deviation.ravel() == 0)
        if bad.any():
            raise InputError(f"{path}: box {some[bad][0] + 1} is blank; leave it out")
        normal = (images - images.mean((1, 2), keepdims=True)) / deviation
        squares = (np.abs(np.fft.fft2(normal)) ** 2).sum(0).ravel() / box**2
        power += np.bincount(ring, squares)[: box // 2] / len(rows)
    power /= np.bincount(ring)[: box // 2]
    power[0] = power[1]  # the mean was taken off
    frequency = np.arange(box // 2) / (box * most_common_pixel_size(particles))
    return NoiseSpectrum(frequency, np.maximum(power, SMALLEST_POWER * power.mean()))


def average_spectra(spectra: Sequence[NoiseSpectrum], frequency: np.ndarray) -> NoiseSpectrum:
    """Average spectra of several sets: geometric mean, each at mean power 1 in `COMMON_BAND`.

    Parameters
    ----------
    spectra : sequence of NoiseSpectrum
        Each counts up to its own Nyquist frequency; all reach `COMMON_BAND`.
    frequency : ndarray
        `(m,)` 1/Angstrom; those that no set reaches are left out.
    """
    logarithms = []
    for spectrum in spectra:
        scale = spectrum.at(np.linspace(*COMMON_BAND, 50)).mean()
        values = np.log(spectrum.at(frequency) / scale)
        logarithms.append(np.where(frequency <= spectrum.frequency[-1], values, np.nan))
    reached = ~np.isnan(logarithms).all(0)
    power = np.exp(np.nanmean(np.array(logarithms)[:, reached], axis=0))
    return NoiseSpectrum(frequency[reached], power)


def _check_corners(images: np.ndarray, rows: np.ndarray, star_path: Path) -> None:
    """Refuse images whose corners hold no noise."""
    pixel = np.arange(images.shape[-1]) - images.shape[-1] // 2
    corners = images[:, np.hypot(pixel[:, None], pixel) >= images.shape[-1] / 2]
    with np.errstate(all="ignore"):  # told in one line
        noise, all_over = corners.std(1), images.std((1, 2))
    large = ~np.isfinite(noise) | ~np.isfinite(all_over)
    if large.any():
        raise InputError(
            f"{star_path}: row {rows[large][0] + 1}: pixels of the image are too large to measure their noise;"
            " normalise the particles"
        )
    empty = noise <= 1e-3 * all_over
    if empty.any():
        raise InputError(
            f"{star_path}: row {rows[empty][0] + 1}: no noise in the corners of the image; give particles"
            " that are neither masked nor noise-free"
        )


def print_spectra(words: Sequence[str]) -> None:
    """Print what the head of this file says of the words of its command line."""
    if words[0] == "boxes":
        for name in words[1:]:
            found = measure_box_spectrum(Path(name))
            pairs = np.stack([found.frequency.round(5), found.power.round(4)], axis=1)
            print(json.dumps(pairs.tolist()))
        return
    together = average_spectra([measure_noise_spectrum(Path(name)) for name in words], TABLE)
    for one, value in zip(together.frequency, together.power, strict=True):
        print(f"{one:.3f} {value:.3f}")


if __name__ == "__main__":
    print_spectra(sys.argv[1:])
