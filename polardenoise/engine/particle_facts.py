"""What a particle set says about itself beyond its rows: one pixel size, whether it was denoised, what made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from polardenoise.engine.errors import InputError
from polardenoise.engine.particles import ParticleSet

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


def read_provenance(star_path: Path) -> dict[str, Any]:
    """Read `OUT.json` beside `OUT.star`; empty where there is none, or it is not ours."""
    path = Path(star_path).with_suffix(".json")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    ours = isinstance(facts, dict) and facts.get("program") == "polardenoise"
    return facts if ours else {}
