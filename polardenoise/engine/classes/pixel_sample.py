"""A few images of a set by the digests of their pixels: enough to tell it from another set that is named alike."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
import numpy as np

from polardenoise.engine.particles.particle_images import read_images_raw
from polardenoise.engine.particles.particle_set import ParticleSet

#: Images of a sample: reading them takes no time, and a stack that was made anew differs in all of them.
MOST_IMAGES = 16
DIGEST_BYTES = 16


class PixelSample(msgspec.Struct):
    """The images of a sample.

    Attributes
    ----------
    box : int
        Pixels.
    pixel_size : float
        Angstrom, of the first of them.
    rows : list of int
        Their rows in the set, from 0.
    digests : list of str
        BLAKE2b of their pixels as float32, hexadecimal.
    """

    box: int
    pixel_size: float
    rows: Annotated[list[Annotated[int, msgspec.Meta(ge=0)]], msgspec.Meta(min_length=1)]
    digests: list[str]


def take_pixel_sample(particles: ParticleSet) -> PixelSample:
    """Take the sample of a set: images from the first row to the last, evenly spread."""
    rows = np.unique(np.linspace(0, len(particles) - 1, MOST_IMAGES).astype(np.int64))
    return PixelSample(
        particles.box, float(particles.pixel_size[0]), rows.tolist(), hash_images(particles, rows)
    )


def hash_images(particles: ParticleSet, rows: np.ndarray) -> list[str]:
    """Hash the pixels of some images, whatever type their stacks have."""
    images = np.ascontiguousarray(read_images_raw(particles, rows), dtype="<f4")
    return [hashlib.blake2b(one.data, digest_size=DIGEST_BYTES).hexdigest() for one in images]


def read_pixel_sample(facts: dict[str, Any], count: int) -> PixelSample | None:
    """Take the sample out of the provenance of a set of so many particles; None where it has none that fits."""
    try:
        sample = msgspec.convert(facts.get("pixel_sample"), PixelSample)
    except msgspec.ValidationError:
        return None
    fits = len(sample.rows) == len(sample.digests) and max(sample.rows) < count
    return sample if fits and facts.get("particles") == count else None


def find_other_images(sample: PixelSample, particles: ParticleSet, rows: np.ndarray) -> np.ndarray:
    """Find which images of a sample have other pixels in a set.

    Parameters
    ----------
    sample : PixelSample
        What is known.
    particles : ParticleSet
        The set that is held against it.
    rows : ndarray
        `(n,)` for each row of the set of the sample, that of `particles`, from 0.

    Returns
    -------
    ndarray
        `(k,)` their rows in the set of the sample, from 0.
    """
    own = np.array(sample.rows)
    if particles.box != sample.box:
        return own
    same = np.array(hash_images(particles, rows[own])) == np.array(sample.digests)
    return own[~same]
