"""What `denoise` has left beside a set with scores: the provenance of its run, and the raw images of its rows.

`OUT.star` names denoised images; `OUT_2d_data.star` has the same rows with the raw ones, and no provenance of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polardenoise.engine.particles.particle_set import ParticleSet, read_particles
from polardenoise.engine.particles.set_checks import find_denoised_mark
from polardenoise.engine.particles.star_columns import CLASS_LABEL, SCORE_LABEL
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.provenance import read_provenance

#: The end of the name of the STAR file of classes, whose images are the raw ones, and that of the denoised set.
OF_RAW_IMAGES, OF_DENOISED_IMAGES = "_2d_data.star", ".star"


def names_raw_images(scored: Path) -> bool:
    """Tell whether a file is called as the one of the raw images is."""
    return scored.name.endswith(OF_RAW_IMAGES)


def read_run(scored: Path) -> dict[str, Any]:
    """Read the provenance of the run that a set with scores is of; empty where there is none."""
    stem = scored.name.removesuffix(OF_RAW_IMAGES)
    of_raw = names_raw_images(scored)
    return read_provenance(scored.with_name(stem + OF_DENOISED_IMAGES) if of_raw else scored)


def name_raw_file(scored: Path) -> Path:
    """Name the file that has the raw images of a set with scores."""
    return scored if names_raw_images(scored) else scored.with_name(scored.stem + OF_RAW_IMAGES)


def find_raw_images(scored: ParticleSet) -> ParticleSet | None:
    """Find the set that names the raw image of each row of one with scores, in the same order; None where none does."""
    if find_denoised_mark(scored) is None:
        return scored
    path = name_raw_file(scored.star_path)
    if not path.is_file():
        return None
    try:
        beside = read_particles(path, "none")
    except InputError:
        return None
    same = all(beside.column(one) == scored.column(one) for one in (SCORE_LABEL, CLASS_LABEL))
    return beside if same and find_denoised_mark(beside) is None else None
