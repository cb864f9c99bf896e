"""Columns that are no longer what the input said: the state of the CTF, and what is counted in pixels."""

import math

import numpy as np

from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.preprocessing import Handling
from polardenoise.engine.particles.star_columns import CTF_STATE_LABEL
from polardenoise.engine.particles.token_numbers import number_or_nan

#: Columns in pixels of the particle images, or inversely proportional to the pixel's size. Coordinates are in pixels of
#: the micrograph, and `...Angst` is no pixels at all: they stay.
SHRINKING = (
    "rlnOriginX",
    "rlnOriginY",
    "rlnOriginXPrior",
    "rlnOriginYPrior",
)
GROWING = ("rlnImagePixelSize", "rlnPixelSize")

Columns = dict[str, list[str]]


def state_columns(particles: ParticleSet, handling: Handling) -> tuple[Columns, Columns]:
    """Write the columns about the CTF that are not true of the denoised images.

    Where the CTF is kept, in the state that the set's columns state, there are none. A user may have said otherwise,
    and images whose CTF was corrected are in no state that RELION has a word for.

    Returns
    -------
    tuple of dict
        Columns of the particle table, and of the optics table.
    """
    state = handling.ctf_state if handling.keeps_ctf else "corrected"
    wanted = {}
    if handling.keeps_ctf:
        wanted["rlnCtfDataArePhaseFlipped"] = "1" if state == "flipped" else "0"
    wanted["rlnCtfDataAreCtfPremultiplied"] = "0"
    of_particles: Columns = {}
    of_optics: Columns = {}
    for label, value in wanted.items():
        for table, columns in ((particles.table, of_particles), (particles.optics, of_optics)):
            if table is None or label not in table.labels:
                continue
            if any(number_or_nan(text) != float(value) for text in table.column(label)):
                columns[label] = [value] * len(table)
    count = 1 if particles.optics is None else len(particles.optics)
    if state == "flipped" and not particles.has("rlnCtfDataArePhaseFlipped"):
        of_optics["rlnCtfDataArePhaseFlipped"] = ["1"] * count
    stated = particles.column(CTF_STATE_LABEL)
    unsaid = state == "corrected" or (state == "none" and particles.has("rlnDefocusU"))
    if set(stated or []) != {state} and (unsaid or stated):
        if CTF_STATE_LABEL in particles.table.labels:
            of_particles[CTF_STATE_LABEL] = [state] * len(particles)
        else:
            of_optics[CTF_STATE_LABEL] = [state] * count
    return of_particles, of_optics


def rescaled_columns(particles: ParticleSet, box: int) -> tuple[Columns, Columns]:
    """Write the columns that change with the box of the images, the field of view being the same.

    Parameters
    ----------
    particles : ParticleSet
        The input.
    box : int
        Of the output, pixels.

    Returns
    -------
    tuple of dict
        Columns of the particle table, and of the optics table.
    """
    growth = particles.box / box  # of the pixel size
    tables = [(particles.table, len(particles))]
    if particles.optics is not None:
        tables.append((particles.optics, len(particles.optics)))
    both: list[Columns] = []
    for table, count in tables:
        columns: Columns = {}
        for label, factor in [
            *((label, 1 / growth) for label in SHRINKING),
            *((label, growth) for label in GROWING),
        ]:
            if label in table.labels:
                columns[label] = [rescale_token(token, factor) for token in table.column(label)]
        if "rlnImageSize" in table.labels:
            columns["rlnImageSize"] = [str(box)] * count
        both.append(columns)
    of_particles, of_optics = both[0], both[1] if len(both) > 1 else {}
    columns_of_magnification = (
        of_particles if "rlnMagnification" in particles.table.labels else of_optics
    )
    magnification = rescale_magnification(particles, growth)
    if magnification is not None:
        columns_of_magnification["rlnMagnification"] = magnification
    return of_particles, of_optics


def rescale_token(token: str, factor: float) -> str:
    """Multiply a number; what is none (Scipion writes None) stays as it is."""
    value = number_or_nan(token)
    return f"{value * factor:.6f}" if math.isfinite(value) else token


def rescale_magnification(particles: ParticleSet, growth: float) -> list[str] | None:
    """Write `rlnMagnification` for the new pixel size, as RELION 3.0 does when it rescales; None where it is not there.

    It stays, too, where it does not give the pixel size of the images: then it is the microscope's.
    """
    for table in (particles.table, particles.optics):
        if table is None or "rlnMagnification" not in table.labels:
            continue
        detector = particles.column("rlnDetectorPixelSize")
        magnification = particles.column("rlnMagnification")
        if detector is None or magnification is None:
            return None
        numbers, detector_pixels = (
            np.array([number_or_nan(token) for token in tokens])
            for tokens in (magnification, detector)
        )
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            implied = detector_pixels * 1e4 / numbers
        if not np.allclose(implied, particles.pixel_size, rtol=1e-2):
            return None
        return [rescale_token(token, 1 / growth) for token in table.column("rlnMagnification")]
    return None
