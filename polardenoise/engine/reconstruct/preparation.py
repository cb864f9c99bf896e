"""What is known of particles before they are reconstructed: halves, the CTF that weights them, and doubts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polardenoise.engine.particles.half_sets import doubt_halves
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.set_checks import (
    common_pixel_size,
    doubt_ctf,
    find_denoised_mark,
    refuse_odd_box,
)
from polardenoise.engine.reconstruct.pipeline import (
    CONSISTENCY,
    OF_FEW_VIEWS,
    RESOLUTION,
    choose_ctf,
    require_poses,
    split_halves,
)


@dataclass(frozen=True)
class PosedParticles:
    """Particles that can be reconstructed.

    Attributes
    ----------
    particles : ParticleSet
        With poses.
    pixel_size : float
        Of all of them, Angstrom.
    ctf : str
        `signed`, `absolute` or `none`, as `choose_ctf` gives it.
    rows1, rows2 : ndarray
        Rows of the two halves, from 0.
    halves : str
        Where the halves come from.
    denoised : bool
        Whether the images are estimates: their half maps tell consistency, never resolution.
    warnings : list of str
        Doubts about the set.
    """

    particles: ParticleSet
    pixel_size: float
    ctf: str
    rows1: np.ndarray
    rows2: np.ndarray
    halves: str
    denoised: bool
    warnings: list[str]

    def word_meaning(self, few_views: bool) -> str:
        """Say what the half maps' curve may be called; of `few_views` it is no resolution either."""
        if self.denoised:
            return CONSISTENCY
        return OF_FEW_VIEWS if few_views else RESOLUTION


def prepare_reconstruction(particles: ParticleSet, ctf_option: str) -> PosedParticles:
    """Check that particles can be reconstructed, and doubt them.

    Parameters
    ----------
    particles : ParticleSet
        The set.
    ctf_option : str
        As for `choose_ctf`.

    Raises
    ------
    InputError
        If the particles cannot be used.
    """
    refuse_odd_box(particles)
    require_poses(particles)
    pixel_size = common_pixel_size(particles)
    ctf, warnings = choose_ctf(particles, ctf_option)
    rows1, rows2, halves = split_halves(particles)
    if particles.random_subset is not None:
        warnings += doubt_halves(particles, particles.random_subset)
    if ctf != "none":
        warnings += doubt_ctf(particles)
    mark = find_denoised_mark(particles)
    if mark is not None:
        warnings.append(
            f"{particles.star_path} holds denoised images ({mark} says so): half maps of estimates tell consistency, "
            "never resolution; reconstruct the raw particles at these poses"
        )
    return PosedParticles(
        particles, pixel_size, ctf, rows1, rows2, halves, mark is not None, warnings
    )
