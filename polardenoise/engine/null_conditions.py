"""What the noise images of a null test carry besides noise, and how they are written for `denoise`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.ctf import CtfParameters, compute_ctf
from polardenoise.engine.particles import read_particles
from polardenoise.engine.simulation_table import draw_table


@dataclass(frozen=True)
class Conditions:
    """What the noise images carry besides noise: their CTFs, as a microscope would give them.

    Attributes
    ----------
    box : int
        Pixels, the model's own.
    pixel_size : float
        Angstrom.
    ctf : CtfParameters or None
        Of each image; None for images without a CTF.
    count : int
        Images, even.
    """

    box: int
    pixel_size: float
    ctf: CtfParameters | None
    count: int

    def compute_transfer(self) -> Tensor:
        """Give the CTFs, `(count, box, box // 2 + 1)`; ones without a CTF."""
        if self.ctf is None:
            return torch.ones(self.count, self.box, self.box // 2 + 1)
        return compute_ctf(self.ctf, self.pixel_size, self.box)


def draw_conditions(
    box: int, pixel_size: float, count: int, generator: np.random.Generator
) -> Conditions:
    """Draw CTFs as `simulate` does, for an even number of images."""
    count -= count % 2
    table = draw_table(count, 1, 0, 0.0, True, generator)
    return Conditions(box, pixel_size, table.ctf_parameters(slice(None)), count)


def read_conditions(
    star_path: Path, box: int, count: int, generator: np.random.Generator
) -> Conditions:
    """Take field of view and CTFs of a particle set; its pixels are not read.

    Raises
    ------
    InputError
        If the set cannot be read.
    """
    particles = read_particles(star_path)
    count -= count % 2
    pixel_size = float(np.median(particles.pixel_size)) * particles.box / box
    carries = particles.ctf is not None and particles.ctf_state in ("raw", "flipped")
    rows = torch.from_numpy(generator.integers(len(particles), size=count))
    ctf = particles.ctf.select(rows) if carries and particles.ctf is not None else None
    return Conditions(box, pixel_size, ctf, count)


def split_count(count: int) -> tuple[slice, slice]:
    """Give the images of the two halves: the first and the second half of the stack."""
    return slice(0, count // 2), slice(count // 2, count)


def write_conditions(path: Path, stack: Path, conditions: Conditions) -> None:
    """Write the STAR file of the images: halves, pixel size, and optics where there is a CTF."""
    labels = ["rlnImageName", "rlnRandomSubset", "rlnPixelSize"]
    columns: list[Sequence[Any]] = []
    if conditions.ctf is not None:
        ctf = conditions.ctf
        named = {
            "rlnDefocusU": ctf.defocus_u,
            "rlnDefocusV": ctf.defocus_v,
            "rlnDefocusAngle": ctf.defocus_angle,
            "rlnVoltage": ctf.voltage,
            "rlnSphericalAberration": ctf.spherical_aberration,
            "rlnAmplitudeContrast": ctf.amplitude_contrast,
            "rlnPhaseShift": ctf.phase_shift,
        }
        labels += named
        columns = [values.tolist() for values in named.values()]
    lines = ["", "data_", "", "loop_", *(f"_{label} #{n}" for n, label in enumerate(labels, 1))]
    first = split_count(conditions.count)[0]
    for row in range(conditions.count):
        half = 1 if row < first.stop else 2
        numbers = [f"{column[row]:.6f}" for column in columns]
        lines.append(
            " ".join(
                [f"{row + 1:06d}@{stack}", str(half), f"{conditions.pixel_size:.6f}", *numbers]
            )
        )
    path.write_text("\n".join([*lines, ""]))
