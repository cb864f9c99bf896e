"""Denoised particles and a data set of cryoSPARC, joined by uid: certain, whatever the order of the rows."""

import re
from pathlib import Path

import numpy as np

from polardenoise.engine.classes.scored_set import read_run
from polardenoise.engine.particles.cryosparc.as_star import UID_LABEL
from polardenoise.engine.particles.cryosparc.fields import find_repeated, find_rows
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.input_files import shorten

UID = re.compile(r"[0-9]{1,20}")


def read_uids(particles: ParticleSet) -> np.ndarray:
    """Read the uids of a STAR file's particles, `(n,)` uint64.

    Raises
    ------
    InputError
        If it has none, one is no whole number of 64 bits, or two rows have one.
    """
    path, tokens = particles.star_path, particles.column(UID_LABEL)
    if tokens is None:
        raise InputError(
            f"{path}: has no _{UID_LABEL}, by which particles of cryoSPARC are known; give --particles the file that "
            "was denoised"
        )
    for row, token in enumerate(tokens, 1):
        if not UID.fullmatch(token) or int(token) >= 2**64:
            raise InputError(
                f"{path}: row {row}: _{UID_LABEL} is {shorten(token)}, not the uid of a particle; denoise again"
            )
    uids = np.array([int(token) for token in tokens], dtype=np.uint64)
    repeated = find_repeated(uids)
    if repeated is not None:
        row, before = repeated
        raise InputError(
            f"{path}: row {row + 1}: _{UID_LABEL} {uids[row]} is also that of row {before + 1}; denoise again"
        )
    return uids


def join_uids(denoised: ParticleSet, raw: Path, uids: np.ndarray) -> np.ndarray:
    """Find the raw row of each denoised particle.

    Parameters
    ----------
    denoised : ParticleSet
        With uids.
    raw : Path
        The raw particles, for messages.
    uids : ndarray
        `(m,)` uint64, theirs.

    Returns
    -------
    ndarray
        `(n,)` from 0.

    Raises
    ------
    InputError
        If a particle is in one of them only. Raw particles may be more where a part of the rows was denoised, which the
        provenance beside the result says.
    """
    scored, own = denoised.star_path, read_uids(denoised)
    of_row = find_rows(uids, own)
    lost = np.flatnonzero(of_row < 0)
    if lost.size:
        raise InputError(
            f"{scored}: row {lost[0] + 1}: particle {own[lost[0]]} (_{UID_LABEL}) is not among the {len(uids)} of "
            f"{raw}; give --particles the file that was denoised"
        )
    others = np.setdiff1d(np.arange(len(uids)), of_row)
    if others.size and not is_part(scored, of_row):
        raise InputError(
            f"{raw}: row {others[0] + 1}: particle {uids[others[0]]} (uid) is not among the {len(own)} of {scored} "
            f"({len(uids)} there); give --particles the file that was denoised"
        )
    return of_row


def is_part(scored: Path, of_row: np.ndarray) -> bool:
    """Tell whether these raw rows, from 0, are those that `denoise --rows` took, as the provenance says."""
    first = read_run(scored).get("first_row")
    if not isinstance(first, int):
        return False
    return bool((np.sort(of_row) == first + np.arange(len(of_row))).all())
