"""What a simulation is to be like: what particle sets say of it, and which options make no particle set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from polardenoise.engine.imaging.noise_spectrum import NoiseSpectrum
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.set_checks import most_common_pixel_size
from polardenoise.engine.particles.star_columns import LIMITS
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.simulate.noise_spectrum import (
    MEASURED,
    measure_box_spectrum,
    measure_noise_spectrum,
)
from polardenoise.engine.simulate.options import NOISES, SimulationPlan

SMALLEST_BOX, LARGEST_BOX = 8, 1024
MOST_PARTICLES = 10_000_000
#: Beyond any B-factor, SNR and dose that means something.
LARGEST_NUMBER = 1e15


def choose_noise(
    noise: str | None, like: Path | None, boxes: Path | None
) -> tuple[str, NoiseSpectrum]:
    """Choose the kind of noise and, for coloured noise, measure its spectrum.

    Parameters
    ----------
    noise : str or None
        Of `NOISES`; None: coloured where a set or boxes are given to take it from, else Gaussian.
    like, boxes : Path or None
        Particles whose corners, or boxes without a particle which, show the noise.

    Raises
    ------
    InputError
        If these do not go together, or cannot be read.
    """
    noise = noise or ("gaussian" if like is None and boxes is None else "coloured")
    for option, given in (("--noise-like", like), ("--noise-boxes", boxes)):
        if given is not None and noise != "coloured":
            raise InputError(f"{option} {given}: a spectrum is of --noise coloured, not of {noise}")
    if like is not None and boxes is not None:
        raise InputError(f"--noise-boxes {boxes}: leave it out, or --noise-like")
    if like is not None:
        return noise, measure_noise_spectrum(like)
    return noise, MEASURED if boxes is None else measure_box_spectrum(boxes)


def copy_acquisition(
    plan: SimulationPlan, star_path: Path, box: int | None, pixel_size: float | None
) -> SimulationPlan:
    """Take box, pixel size and CTFs from a particle set, raw as the microscope gave them.

    Parameters
    ----------
    plan : SimulationPlan
        The rest.
    star_path : Path
        The set; its pixels are not read. Without CTF, the simulated images carry none either.
    box, pixel_size : int, float or None
        What is to be used instead of the set's, where it was asked for.

    Raises
    ------
    InputError
        If the set cannot be read.
    """
    particles = read_particles(star_path)
    return dataclasses.replace(
        plan,
        box=particles.box if box is None else box,
        pixel_size=most_common_pixel_size(particles) if pixel_size is None else pixel_size,
        with_ctf=plan.with_ctf and particles.ctf is not None,
        like=particles.ctf,
    )


def check_plan(plan: SimulationPlan) -> None:
    """Refuse numbers that make no particle set, naming the option."""
    if not SMALLEST_BOX <= plan.box <= LARGEST_BOX or plan.box % 2:
        raise InputError(
            f"--box {plan.box}: give an even number of pixels from {SMALLEST_BOX} to {LARGEST_BOX}"
        )
    least, most = LIMITS["pixel size"]
    if plan.pixel_size is not None and not least <= plan.pixel_size <= most:
        raise InputError(
            f"--pixel-size {plan.pixel_size:g}: give Angstrom, {least:g} to {most:g}, or auto"
        )
    if not 0 <= plan.b_factor <= LARGEST_NUMBER:
        raise InputError(f"--b-factor {plan.b_factor:g}: give Angstrom^2, 0 or more")
    if plan.snr is not None and not 1 / LARGEST_NUMBER <= plan.snr <= LARGEST_NUMBER:
        raise InputError(f"--snr {plan.snr:g}: give a number above 0, for example 0.02")
    if plan.particles > MOST_PARTICLES:
        raise InputError(f"--particles {plan.particles}: give at most {MOST_PARTICLES}")
    if plan.particles < len(plan.sources) or plan.particles < 1:
        raise InputError(
            f"--particles {plan.particles}: give at least one for each of the {len(plan.sources)} sources"
        )
    if plan.views < 0 or plan.views * len(plan.sources) > plan.particles:
        raise InputError(
            f"--views {plan.views}: give 0 (uniform orientations) or at most as many as --particles"
            f" ({plan.particles}) divided by the sources ({len(plan.sources)})"
        )
    if not 0 <= plan.max_shift <= plan.box / 4:
        raise InputError(f"--max-shift {plan.max_shift:g}: give 0 to {plan.box / 4:g} pixels")
    if not 0 <= plan.seed < 2**63:
        raise InputError(f"--seed {plan.seed}: give a whole number, 0 or more")
    check_noise(plan)


def check_noise(plan: SimulationPlan) -> None:
    """Refuse what is no noise, detector or crowd, naming the option."""
    if plan.noise not in NOISES:
        raise InputError(f"--noise {plan.noise}: give one of {', '.join(NOISES)}")
    if plan.dose is not None and plan.noise != "poisson":
        raise InputError(
            f"--dose {plan.dose:g}: only --noise poisson counts electrons; leave --dose out or add it"
        )
    if plan.dose is not None and not 1 / LARGEST_NUMBER <= plan.dose <= LARGEST_NUMBER:
        raise InputError(f"--dose {plan.dose:g}: give electrons per A^2 above 0, for example 20")
    if not 0 <= plan.ice <= 0.95:
        raise InputError(f"--ice {plan.ice:g}: give a share of the noise variance, 0 to 0.95")
    if not 0 <= plan.envelope <= LARGEST_NUMBER:
        raise InputError(f"--envelope {plan.envelope:g}: give Angstrom^2, 0 or more")
    if not 0 <= plan.neighbours <= 1:
        raise InputError(f"--neighbours {plan.neighbours:g}: give a share of the images, 0 to 1")
    check_imperfections(plan)


def check_imperfections(plan: SimulationPlan) -> None:
    """Refuse contrasts, slopes and errors that mean nothing, naming the option."""
    if not 0 <= plan.contrast_spread <= 2:
        raise InputError(
            f"--contrast-spread {plan.contrast_spread:g}: give a standard deviation of the logarithm, 0 to 2"
        )
    if not 0 <= plan.slope <= 100:
        raise InputError(f"--slope {plan.slope:g}: give deviations of the noise, 0 to 100")
    if not 0 <= plan.defocus_error <= 1e5:
        raise InputError(f"--defocus-error {plan.defocus_error:g}: give Angstrom, 0 to 100000")
    if plan.defocus_error and not plan.with_ctf:
        raise InputError(
            f"--defocus-error {plan.defocus_error:g}: images without a CTF have no defocus; leave one of them out"
        )
