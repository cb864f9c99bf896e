"""What a denoised set was made from, by the provenance beside it: which particles, and which rows of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polardenoise.engine.particles.cryosparc.fields import CryosparcFiles
from polardenoise.engine.particles.particle_set import ParticleSet, read_particles, select_rows
from polardenoise.engine.particles.set_checks import check_match, refuse_denoised
from polardenoise.engine.particles.set_document import is_bare_stack
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.provenance import read_provenance


def find_input(denoised: ParticleSet) -> ParticleSet | None:
    """Find the particles that a denoised set was made from, all of their rows.

    Parameters
    ----------
    denoised : ParticleSet
        `OUT.json` beside its STAR names its input: a path that holds in the working directory, in that of the
        run or beside the STAR.

    Returns
    -------
    ParticleSet | None
        None where the input is not stated, gone, unreadable or denoised itself.
    """
    facts = read_provenance(denoised.star_path)
    stated = facts.get("input")
    if not isinstance(stated, str):
        return None
    folders = [Path(), Path(facts.get("working_directory", "")), Path(denoised.star_path).parent]
    for folder in folders:
        path = folder / stated
        if not path.is_file() or path.resolve() == Path(denoised.star_path).resolve():
            continue
        try:
            size = float(denoised.pixel_size[0]) if is_bare_stack(path) else None
            found = read_particles(path, pixel_size=size, cryosparc=state_cryosparc(facts))
        except InputError:
            continue
        try:
            refuse_denoised(found)
        except InputError:
            return None
        return found
    return None


def state_cryosparc(facts: Mapping[str, Any]) -> CryosparcFiles:
    """Say what belongs to a run's input, where that is a .cs, by the run's provenance."""
    stated = {name: facts.get(name) for name in ("passthrough", "project")}
    return CryosparcFiles(
        **{name: Path(path) for name, path in stated.items() if isinstance(path, str)}
    )


def cut_to_denoised(
    particles: ParticleSet, denoised: ParticleSet, source: ParticleSet | None
) -> ParticleSet:
    """Take the rows of a set that a run with `--rows` has denoised.

    Parameters
    ----------
    particles : ParticleSet
        The truth, say: of all particles, or of the denoised ones.
    denoised : ParticleSet
        What came out; `OUT.json` beside its STAR names its first row in the input and counts its rows.
    source : ParticleSet | None
        Its input, as `find_input` gives it. Where it has as many rows as `particles`, it is clear which are meant.

    Returns
    -------
    ParticleSet
        `particles` themselves where nothing is to be cut, or it is not clear what.
    """
    facts = read_provenance(denoised.star_path)
    first, count = facts.get("first_row"), len(denoised)
    if source is None or not len(source) == len(particles) > count:
        return particles
    if facts.get("particles") != count or type(first) is not int:
        return particles
    if not 0 <= first <= len(particles) - count:
        return particles
    return select_rows(particles, slice(first, first + count))


def match_input(source: ParticleSet | None, denoised: ParticleSet) -> ParticleSet | None:
    """Give the particles that were denoised, in their order; None where those of the input are others."""
    if source is None:
        return None
    noisy = cut_to_denoised(source, denoised, source)
    try:
        check_match(noisy, denoised)
    except InputError:
        return None
    return noisy
