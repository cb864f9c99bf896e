"""Whether raw particles have the pixels of those that were denoised: names and counts alone do not tell."""

from __future__ import annotations

import numpy as np

from polardenoise.counts import choose_verb
from polardenoise.engine.classes.pixel_sample import (
    PixelSample,
    find_other_images,
    read_pixel_sample,
    take_pixel_sample,
)
from polardenoise.engine.classes.scored_set import names_raw_images, read_run
from polardenoise.engine.particles.particle_images import name_image
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.set_checks import ESTIMATES, PLACES, SAME_PIXEL_SIZE, find_values
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.row_numbers import say_how_rows_count

MICROGRAPH = "rlnMicrographName"


def doubt_raw_pixels(
    denoised: ParticleSet, particles: ParticleSet, of_row: np.ndarray, by_uid: bool
) -> list[str]:
    """Word that raw particles have other pixels than those that were denoised, where they are the same particles.

    Parameters
    ----------
    denoised : ParticleSet
        The result of `denoise`, whose provenance knows some of the images that it was made of.
    particles : ParticleSet
        The raw set, extracted anew perhaps, or polished.
    of_row : ndarray
        `(n,)` its row for each denoised particle, from 0.
    by_uid : bool
        Whether the rows were found by uids: then they are the same particles.

    Returns
    -------
    list of str
        At most one sentence.

    Raises
    ------
    InputError
        If nothing says that they are the same particles.
    """
    sample = find_sample(denoised)
    if sample is None:
        return []
    other = find_other_images(sample, particles, of_row)
    if not len(other):
        return []
    first = int(other[0])
    raw = int(of_row[first])
    found = (
        f"{len(other)} of {len(sample.rows)} images that were looked at {choose_verb(len(other), 'has', 'have')} other "
        f"pixels than {denoised.star_path} was made of (the first in row {particles.row_number(raw)}: "
        f"{name_image(particles, raw)})"
    )
    if not by_uid and not are_same_particles(denoised, particles, of_row, sample):
        raise InputError(
            f"--particles {particles.star_path}: {found}; give the particles that were denoised, or denoise these"
        )
    why = "uids are" if by_uid else "micrographs and coordinates are"
    doubt = (
        f"{particles.star_path}: {found}; {why} the same, as of particles that were polished or extracted anew: if "
        "these were not, they are others, and the scores are not theirs"
    )
    return [say_how_rows_count(doubt)]


def find_sample(denoised: ParticleSet) -> PixelSample | None:
    """Find what is known of the images that a set was denoised from; None where nothing is."""
    path = denoised.star_path
    sample = read_pixel_sample(read_run(path), len(denoised))
    if sample is None and names_raw_images(path):
        return take_pixel_sample(denoised)
    return sample


def are_same_particles(
    denoised: ParticleSet, particles: ParticleSet, of_row: np.ndarray, sample: PixelSample
) -> bool:
    """Tell whether what two sets say of their rows shows that they are the same particles, whatever their pixels.

    Micrographs have the same names and coordinates are the same; of images in the same box and pixel size, which were
    not extracted anew for another, poses and defoci are too. `refuse_other_order` has seen the coordinates, and those
    of simulated sets are all of one grid.
    """
    names, raw_names = denoised.column(MICROGRAPH), particles.column(MICROGRAPH)
    if names is None or raw_names is None or names != [raw_names[row] for row in of_row]:
        return False
    if any(
        find_values(one, label) is None
        for one in (denoised, particles)
        for label in PLACES
        if label != MICROGRAPH
    ):
        return False
    size = sample.pixel_size
    of_other_box = particles.box != sample.box
    if of_other_box or abs(float(particles.pixel_size[0]) - size) > SAME_PIXEL_SIZE * size:
        return True
    for label, rounding in ESTIMATES.items():
        first, second = find_values(denoised, label), find_values(particles, label)
        if first is None or second is None:
            continue
        if (np.abs(first - second[of_row]) > rounding).any():
            return False
    return True
