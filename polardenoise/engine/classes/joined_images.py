"""Denoised particles and raw ones, joined by the images that they name: certain, whatever the order of the rows."""

from __future__ import annotations

import numpy as np

from polardenoise.counts import word_count
from polardenoise.engine.classes.scored_set import find_raw_images, read_run
from polardenoise.engine.particles.cryosparc.fields import find_repeated
from polardenoise.engine.particles.image_names import LARGEST_PLACE
from polardenoise.engine.particles.particle_images import name_image
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.set_checks import refuse_other_order
from polardenoise.engine.runtime.errors import InputError


def join_raw_rows(scored: ParticleSet, raw: ParticleSet) -> np.ndarray:
    """Find the raw row of each particle with a score.

    They are joined by the raw images, where these are known and any of them is in the raw set; else, as where particles
    were extracted anew, by the order of the rows.

    Returns
    -------
    ndarray
        `(n,)` from 0.

    Raises
    ------
    InputError
        If a raw image is missing, or in several rows of different order, or what the rows say of their particles does
        not agree.
    """
    named = find_raw_images(scored)
    of_row = None if named is None else join_images(scored, named, raw)
    if of_row is None:
        of_row = join_in_order(scored, raw)
    refuse_other_order(scored, raw, of_row)
    return of_row


def join_images(scored: ParticleSet, named: ParticleSet, raw: ParticleSet) -> np.ndarray | None:
    """Find the raw row of each particle by its image, `(n,)`; None where the raw set has none of the images.

    Parameters
    ----------
    scored, raw
        As for `join_raw_rows`.
    named : ParticleSet
        The raw images of the rows of `scored`.
    """
    own, others = number_images(named, raw)
    if not np.isin(own, others).any():
        return None
    first = find_first_row(scored, raw)
    if first is not None and np.array_equal(own, others[first : first + len(own)]):
        return first + np.arange(len(own))
    lost = np.flatnonzero(~np.isin(own, others))
    if lost.size:
        raise InputError(
            f"{scored.star_path}: row {lost[0] + 1}: its raw {name_image(named, int(lost[0]))} is in no row of "
            f"--particles {raw.star_path} ({len(lost)} of {len(own)} are not); give the particles that were denoised"
        )
    refuse_repeated(scored, named, own)
    wanted = np.isin(others, own)
    refuse_repeated(raw, raw, np.where(wanted, others, -1 - np.arange(len(others))))
    order = np.argsort(others)
    found: np.ndarray = order[np.searchsorted(others, own, sorter=order)]
    return found


def number_images(*sets: ParticleSet) -> list[np.ndarray]:
    """Give each row of some sets the number of its image, `(n,)` each: the same file and place, the same number."""
    known: dict[object, int] = {}
    numbers = []
    for one in sets:
        stacks = [known.setdefault(path.resolve(), len(known)) for path in one.stacks]
        numbers.append(
            np.array(stacks)[one.stack_of_row] * (LARGEST_PLACE + 1) + one.index_in_stack
        )
    return numbers


def refuse_repeated(particles: ParticleSet, named: ParticleSet, images: np.ndarray) -> None:
    """Refuse rows that name one image: in another order nobody can tell which of them is meant."""
    repeated = find_repeated(images)
    if repeated is None:
        return
    row, before = repeated
    raise InputError(
        f"{particles.star_path}: row {row + 1}: {name_image(named, row)} is also that of row {before + 1}, and the two "
        "files have their rows in different order: nothing tells which row is which; give the particles that were "
        "denoised, as they were"
    )


def find_first_row(scored: ParticleSet, raw: ParticleSet) -> int | None:
    """Find the raw row, from 0, that the first particle is in where the order is the same; None where none can be.

    Where a part of the rows was denoised, the provenance of the run says which.
    """
    if len(scored) == len(raw):
        return 0
    first = read_run(scored.star_path).get("first_row")
    fits = isinstance(first, int) and 0 <= first <= len(raw) - len(scored)
    return first if fits else None


def join_in_order(scored: ParticleSet, raw: ParticleSet) -> np.ndarray:
    """Give the raw row of each particle as they stand, `(n,)`; refuse sets of which none is a part of the other."""
    first = find_first_row(scored, raw)
    if first is None:
        raise InputError(
            f"--particles {raw.star_path}: has {word_count(len(raw), 'row')}, but {scored.star_path} has {len(scored)};"
            " give the particles that were denoised"
        )
    return first + np.arange(len(scored))
