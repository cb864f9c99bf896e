"""Whether a truth is one: not the noisy particles themselves, under this name or another."""

from __future__ import annotations

import numpy as np

from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.runtime.errors import InputError

#: Images that are compared pixel by pixel, spread over the sets.
LOOKED_AT = 16
CURE = "give the same particles without noise, as simulate writes clean.star"


def refuse_noisy_truth(
    truth: ParticleSet, found: ParticleSet | None, denoised: ParticleSet
) -> None:
    """Refuse a truth that holds the images that were denoised.

    Parameters
    ----------
    truth : ParticleSet
        What was given.
    found : ParticleSet or None
        The particles that `denoised` was made from, by its provenance, where they are known.
    denoised : ParticleSet
        What is to be compared.

    Raises
    ------
    InputError
        If the pixels are those of `found`.
    """
    if found is not None and hold_same_images(truth, found):
        raise InputError(
            f"--truth {truth.star_path}: holds the noisy images that {denoised.star_path} was made from (its "
            f"provenance names {found.star_path}), no truth; {CURE}"
        )


def refuse_truth_as_noisy(truth: ParticleSet, noisy: ParticleSet) -> None:
    """Refuse a truth and noisy particles, as they were given, that hold the same images.

    Raises
    ------
    InputError
        If they do.
    """
    if hold_same_images(truth, noisy):
        raise InputError(
            f"--noisy {noisy.star_path}: holds the images of --truth {truth.star_path}, which cannot be both; give "
            "the particles before they were denoised to the one and the same without noise to the other"
        )


def hold_same_images(one: ParticleSet, other: ParticleSet) -> bool:
    """Tell whether two sets that match hold the same pixels, by some images of them."""
    rows = np.unique(np.linspace(0, len(one) - 1, LOOKED_AT).astype(np.int64))
    return np.array_equal(read_images(one, rows), read_images(other, rows))
