"""Checks of whole particle sets: one pixel size, an even box, denoised or not, two sets that match."""

from __future__ import annotations

import numpy as np

from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.provenance import read_provenance

CTF_FREE_STATES = ("none", "corrected")
COLUMNS_OF_DENOISED_SETS = ("polardenoiseModel", "polardenoiseCtfState")


def common_pixel_size(particles: ParticleSet) -> float:
    """Give the one pixel size of a set, Angstrom.

    Raises
    ------
    InputError
        If optics groups differ by more than a part in a thousand: their images cannot share one grid.
    """
    first = float(particles.pixel_size[0])
    different = np.flatnonzero(np.abs(particles.pixel_size - first) > 1e-3 * first)
    if len(different):
        row = int(different[0])
        raise InputError(
            f"{particles.star_path}: row {row + 1}: pixel size {particles.pixel_size[row]:g} A, but "
            f"{first:g} A in row 1; rescale the particles to one pixel size first"
        )
    return first


def refuse_odd_box(particles: ParticleSet) -> None:
    """Raise an `InputError` if the box is odd, for commands whose Fourier transforms need an even one."""
    if particles.box % 2:
        raise InputError(
            f"{particles.star_path}: images are {particles.box} px; extract them in a box of even size"
        )


def is_denoised(particles: ParticleSet) -> bool:
    """Tell whether a set comes from `polardenoise denoise`, by its columns or the JSON beside its STAR."""
    if any(particles.column(label) is not None for label in COLUMNS_OF_DENOISED_SETS):
        return True
    facts = read_provenance(particles.star_path)
    return "model" in facts and "denoise" in facts.get("command", [])


def check_match(particles: ParticleSet, truth: ParticleSet) -> None:
    """Refuse two sets that cannot be the same particles in the same order.

    Raises
    ------
    InputError
        If their counts, boxes or pixel sizes differ.
    """
    counts = len(particles), len(truth)
    if counts[0] != counts[1]:
        raise InputError(
            f"{truth.star_path}: {counts[1]} rows, but {particles.star_path} has {counts[0]}; "
            "give the truth of the same particles in the same order"
        )
    if particles.box != truth.box:
        raise InputError(
            f"{truth.star_path}: box {truth.box} px, but {particles.star_path} has "
            f"{particles.box} px; denoise with --output-box original"
        )
    off = np.abs(particles.pixel_size - truth.pixel_size) > 1e-3 * truth.pixel_size
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise InputError(
            f"{truth.star_path}: row {row + 1}: pixel size {truth.pixel_size[row]:g} A, but "
            f"{particles.pixel_size[row]:g} A in {particles.star_path}; give the matching truth"
        )
