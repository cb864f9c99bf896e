"""Configurations for Parakeet, a multislice simulator of cryo-EM images: particles at known poses in ice.

Parakeet (Parkhurst et al. 2021, Open Biol. 11, 210160; package python-parakeet, GPL-3.0) needs CUDA and is not among
this package's requirements: configurations are written here, run where a GPU is, and read back by `parakeet_images`.
Field names and conventions are those of its version 0.6.8 (commit 8c368a0, `src/parakeet/config.py`):

- a molecule's atoms are moved to their mean, turned by the rotation vector `orientation` and put at `position`; the
  image shows x along columns and y along rows, pixel `i` at `i` times the pixel size, and z along the beam. RELION's
  Euler angles are those of the inverse of that rotation, as Parakeet's own `Scan.euler_angles` has it;
- `c_10` is minus the defocus, Angstrom, at the height of the sample's centre, where all particles lie.

`python -m polardenoise.engine.simulate.parakeet_configuration MOLECULE.cif -o DIR` writes a folder for each micrograph, with
`config.yaml` (JSON, which is YAML), `truth.yaml` (the same without ice) and `run.sh`, which calls Parakeet's programs.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import write_text_atomically
from polardenoise.engine.simulate.particle_table import (
    DEFOCUS_RANGE,
    SPHERICAL_ABERRATION,
    VOLTAGE,
)
from polardenoise.engine.simulate.sources import read_atoms

PER_MICROGRAPH = 64
#: Decimals of every number: no exponents, which YAML 1.1 reads as text. A rotation vector is good to 0.006 degrees.
DECIMALS = 4

RUN = """#!/bin/sh
# Simulate one micrograph with Parakeet (python-parakeet, a GPU); from polardenoise.engine.simulate.parakeet_configuration.
set -e
cd "$(dirname "$0")"
parakeet.sample.new -c config.yaml -s sample.h5
parakeet.sample.add_molecules -c config.yaml -s sample.h5
parakeet.simulate.exit_wave -c config.yaml -s sample.h5 -e exit_wave.h5
parakeet.simulate.optics -c config.yaml -e exit_wave.h5 -o optics.h5
parakeet.simulate.image -c config.yaml -o optics.h5 -i image.h5
parakeet.simulate.exit_wave -c truth.yaml -s sample.h5 -e truth_exit_wave.h5
"""


@dataclass(frozen=True)
class ParakeetPlan:
    """What to simulate with Parakeet.

    Attributes
    ----------
    molecule : Path
        PDB or mmCIF file.
    particles : int
        How many, at random orientations.
    per_micrograph : int
        Particles of a micrograph, a square number: they lie on a square lattice, one box apart.
    box : int
        Pixels, even.
    pixel_size : float
        Angstrom.
    dose : float
        Electrons per Angstrom^2.
    thickness : float
        Of the ice, Angstrom.
    dqe : bool
        Whether Parakeet's detector model is used.
    seed : int
        Of orientations and defoci.
    """

    molecule: Path
    particles: int = 256
    per_micrograph: int = PER_MICROGRAPH
    box: int = 64
    pixel_size: float = 4.0
    dose: float = 40.0
    thickness: float = 300.0
    dqe: bool = True
    seed: int = 0


def describe_micrograph(
    plan: ParakeetPlan, rotation_vectors: np.ndarray, defocus: float
) -> dict[str, Any]:
    """Describe a micrograph as Parakeet's configuration.

    Parameters
    ----------
    plan : ParakeetPlan
        What all micrographs share.
    rotation_vectors : ndarray
        `(m, 3)` radians, x, y, z: from the molecule's coordinates to the micrograph's.
    defocus : float
        Angstrom, under focus.

    Returns
    -------
    dict
        Of plain numbers, texts and lists.
    """
    side = math.isqrt(plan.per_micrograph)
    pixels = side * plan.box
    width = _round(pixels * plan.pixel_size)
    depth = _round(plan.thickness)
    places = (np.arange(len(rotation_vectors))[:, None] // [1, side]) % side
    positions = (places * plan.box + plan.box // 2) * plan.pixel_size
    return {
        "sample": {
            "shape": {
                "type": "cuboid",
                "cuboid": {"length_x": width, "length_y": width, "length_z": depth},
            },
            "box": [width, width, depth],
            "centre": [_round(width / 2), _round(width / 2), _round(depth / 2)],
            "molecules": {
                "local": [
                    {
                        "filename": str(plan.molecule.resolve()),
                        "instances": [
                            {
                                "position": [_round(x), _round(y), _round(depth / 2)],
                                "orientation": [_round(value) for value in vector],
                            }
                            for (x, y), vector in zip(positions, rotation_vectors, strict=True)
                        ],
                    }
                ]
            },
        },
        "microscope": {
            "beam": {"energy": VOLTAGE, "electrons_per_angstrom": _round(plan.dose)},
            "lens": {"c_10": _round(-defocus), "c_30": SPHERICAL_ABERRATION},
            "detector": {
                "nx": pixels,
                "ny": pixels,
                "pixel_size": _round(plan.pixel_size),
                "dqe": plan.dqe,
            },
        },
        "scan": {"mode": "still", "num_images": 1},
        "simulation": {"ice": True},
    }


def leave_out_ice(configuration: dict[str, Any]) -> dict[str, Any]:
    """Give the same configuration without ice: its exit wave is the truth."""
    truth = copy.deepcopy(configuration)
    truth["simulation"]["ice"] = False
    return truth


def write_configurations(plan: ParakeetPlan, folder: Path) -> list[Path]:
    """Write the folder of each micrograph.

    Parameters
    ----------
    plan : ParakeetPlan
        What to simulate.
    folder : Path
        Gets ``micrograph_00001``, ... with ``config.yaml``, ``truth.yaml``, ``run.sh``.

    Returns
    -------
    list of Path
        The folders.

    Raises
    ------
    InputError
        If an option cannot be used.
    """
    _check(plan)
    for_poses, for_defocus = np.random.default_rng(plan.seed).spawn(2)
    angles = draw_orientations(plan.particles, for_poses).numpy()
    vectors = Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_rotvec()
    folders = []
    for number, start in enumerate(range(0, plan.particles, plan.per_micrograph), 1):
        defocus = for_defocus.uniform(*DEFOCUS_RANGE)
        configuration = describe_micrograph(
            plan, vectors[start : start + plan.per_micrograph], defocus
        )
        place = folder / f"micrograph_{number:05d}"
        place.mkdir(parents=True, exist_ok=True)
        for name, content in (
            ("config.yaml", json.dumps(configuration, indent=1)),
            ("truth.yaml", json.dumps(leave_out_ice(configuration), indent=1)),
            ("run.sh", RUN),
        ):
            write_text_atomically(place / name, content)
        (place / "run.sh").chmod(0o755)
        folders.append(place)
    return folders


def _round(value: float) -> float:
    return round(float(value), DECIMALS)


def _check(plan: ParakeetPlan) -> None:
    """Refuse numbers that make no micrographs."""
    if plan.box < 8 or plan.box % 2:
        raise InputError(f"--box {plan.box}: give an even number of at least 8 pixels")
    if plan.particles < 1:
        raise InputError(f"--particles {plan.particles}: give 1 or more")
    if plan.per_micrograph < 1 or math.isqrt(plan.per_micrograph) ** 2 != plan.per_micrograph:
        raise InputError(
            f"--per-micrograph {plan.per_micrograph}: give a square number, for example {PER_MICROGRAPH}"
        )
    for option, value in (
        ("pixel-size", plan.pixel_size),
        ("dose", plan.dose),
        ("thickness", plan.thickness),
    ):
        if not (math.isfinite(value) and value >= 0.01):
            raise InputError(f"--{option} {value:g}: give a number of at least 0.01")
    width = 2 * read_atoms(plan.molecule).radius()
    if width > plan.box * plan.pixel_size:
        raise InputError(
            f"{plan.molecule}: the molecule is {width:.0f} A wide and does not fit the box of"
            f" {plan.box * plan.pixel_size:.0f} A; raise --box or --pixel-size"
        )
    if width > plan.thickness:
        raise InputError(
            f"--thickness {plan.thickness:g}: the molecule is {width:.0f} A wide; give thicker ice"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Write configurations as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m polardenoise.engine.simulate.parakeet_configuration",
        description="Write configurations for Parakeet: particles at random poses in ice.",
    )
    plan = ParakeetPlan(Path())
    parser.add_argument("molecule", type=Path, help="PDB or mmCIF file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--particles", type=int, default=plan.particles)
    parser.add_argument("--per-micrograph", type=int, default=plan.per_micrograph)
    parser.add_argument("--box", type=int, default=plan.box, help="pixels between particles")
    parser.add_argument("--pixel-size", type=float, default=plan.pixel_size, help="Angstrom")
    parser.add_argument("--dose", type=float, default=plan.dose, help="electrons per A^2")
    parser.add_argument("--thickness", type=float, default=plan.thickness, help="of the ice, A")
    parser.add_argument("--no-dqe", dest="dqe", action="store_false", help="a perfect detector")
    parser.add_argument("--seed", type=int, default=plan.seed)
    arguments = vars(parser.parse_args(argv))
    folder = arguments.pop("output")
    try:
        folders = write_configurations(ParakeetPlan(**arguments), folder)
    except InputError as error:
        print(f"parakeet_configuration: {error}", file=sys.stderr)
        return 2
    print(f"{len(folders)} micrographs in {folder}; run the run.sh of each where Parakeet is")
    return 0


if __name__ == "__main__":
    sys.exit(main())
