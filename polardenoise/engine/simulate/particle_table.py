"""The metadata of a simulated particle set: drawn, rounded as it will be written, written in RELION's dialect.

Every number is rounded to the digits of the STAR file before an image is made from it, so that what a program reads
there is exactly what was simulated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import numpy as np
import torch

from polardenoise.engine.imaging.ctf import CtfParameters
from polardenoise.engine.imaging.euler_angles import draw_orientations, draw_views
from polardenoise.engine.particles.star import quote_token, write_loop
from polardenoise.engine.runtime.running_command import comment_maker

VOLTAGE = 300.0  # kV
SPHERICAL_ABERRATION = 2.7  # mm
AMPLITUDE_CONTRAST = 0.1

PARTICLES_PER_MICROGRAPH = 100
FEWEST_MICROGRAPHS = 4
MICROGRAPH_SIDE = 4096  # px
# Under focus of micrographs, its astigmatism (U - V), and how it varies with height inside one; Angstrom.
DEFOCUS_RANGE = (8_000.0, 25_000.0)
ASTIGMATISM_RANGE = (0.0, 600.0)
DEFOCUS_SPREAD = 150.0

ROWS_AT_ONCE = 20_000


@dataclass(frozen=True)
class SimulationTable:
    """What is known of every simulated particle; arrays of `n` rows in the order of the stack.

    Attributes
    ----------
    angles : ndarray
        `(n, 3)` rot, tilt, psi, degrees.
    origins : ndarray
        `(n, 2)` rlnOriginXAngst and Y: minus where the particle lies, Angstrom.
    defocus : ndarray or None
        `(n, 3)` U, V in Angstrom and angle in degrees.
    random_subset : ndarray
        `(n,)` 1 or 2.
    source : ndarray
        `(n,)` which source, from 0.
    view : ndarray or None
        `(n,)` which viewing direction, from 0; the views of the second source follow those of the first.
    micrograph : ndarray
        `(n,)` which micrograph, from 0.
    coordinates : ndarray
        `(n, 2)` x, y in the micrograph, pixels.
    microscope : ndarray
        `(n, 4)` voltage in kV, spherical aberration in mm, amplitude contrast, phase shift in degrees.
    """

    angles: np.ndarray
    origins: np.ndarray
    defocus: np.ndarray | None
    random_subset: np.ndarray
    source: np.ndarray
    view: np.ndarray | None
    micrograph: np.ndarray
    coordinates: np.ndarray
    microscope: np.ndarray

    def __len__(self) -> int:
        """Count the particles."""
        return len(self.angles)

    def ctf_parameters(self, rows: slice) -> CtfParameters | None:
        """Give the CTFs of some particles, None where there is no CTF."""
        if self.defocus is None:
            return None
        u, v, angle = torch.from_numpy(self.defocus[rows]).unbind(1)

        microscope = torch.from_numpy(self.microscope[rows]).unbind(1)
        return CtfParameters(u, v, angle, *microscope)

    def find_optics_groups(self) -> tuple[np.ndarray, np.ndarray]:
        """Find the settings that occur, `(groups, 3)` voltage, aberration and contrast, and each row's, from 0."""
        groups, group = np.unique(self.microscope[:, :3], axis=0, return_inverse=True)
        return groups, group.reshape(-1)


def draw_table(
    count: int,
    sources: int,
    views: int,
    max_shift: float,
    with_ctf: bool,
    generator: np.random.Generator,
    like: CtfParameters | None = None,
) -> SimulationTable:
    """Draw poses, shifts, defoci, halves and micrographs.

    Parameters
    ----------
    count : int
        Particles.
    sources : int
        Molecules, mixed at random and equally often (or one more).
    views : int
        Viewing directions of each molecule; 0: every particle has its own.
    max_shift : float
        Origins are uniform in +- this, along x and y, Angstrom.
    with_ctf : bool
        Whether to draw defoci.
    generator : numpy.random.Generator
        Source of randomness. What one option draws does not depend on the others: sub-streams are spawned.
    like : CtfParameters, optional
        CTFs of a particle set: each image gets that of one of its particles, drawn at random.

    Returns
    -------
    SimulationTable
        Rounded to the digits of the STAR file.
    """
    for_source, for_poses, for_halves, for_shifts, for_optics = generator.spawn(5)
    source = for_source.permutation(np.arange(count) % sources)
    angles = np.empty((count, 3))
    view = np.zeros(count, dtype=np.int64) if views else None
    for number in range(sources):
        rows = np.flatnonzero(source == number)
        if view is None:
            angles[rows] = draw_orientations(len(rows), for_poses).numpy()
        else:
            some_angles, some_views = draw_views(views, len(rows), for_poses)
            angles[rows], view[rows] = some_angles.numpy(), some_views.numpy() + number * views

    micrographs = min(count, max(FEWEST_MICROGRAPHS, -(-count // PARTICLES_PER_MICROGRAPH)))
    micrograph = np.arange(count) * micrographs // count
    defocus = None
    microscope = np.tile([VOLTAGE, SPHERICAL_ABERRATION, AMPLITUDE_CONTRAST, 0.0], (count, 1))
    if with_ctf and like is not None:
        defocus, microscope = _draw_like(like, count, for_optics)
    elif with_ctf:
        defocus = _draw_defoci(micrograph, micrographs, for_optics)
    return SimulationTable(
        angles=angles.round(6),
        origins=for_shifts.uniform(-max_shift, max_shift, size=(count, 2)).round(6),
        defocus=defocus,
        random_subset=draw_halves(source if view is None else view, for_halves),
        source=source,
        view=view,
        micrograph=micrograph,
        coordinates=draw_coordinates(micrograph, for_shifts),
        microscope=microscope,
    )


def draw_coordinates(micrograph: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw places on the grids of micrographs `(n,)`, from 0 in ascending order: `(n, 2)` int64 pixels.

    Each image has noise of its own, so that their boxes must not overlap: places are 400 px apart, as a rule.
    """
    counts = np.bincount(micrograph)
    side = math.ceil(math.sqrt(counts.max()))
    cells = np.concatenate([generator.permutation(side**2)[:count] for count in counts])
    pitch = MICROGRAPH_SIDE // side
    return np.stack([cells % side, cells // side], axis=1) * pitch + pitch // 2


def _draw_like(
    like: CtfParameters, count: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw defoci, and what the microscope was set to, from the particles of a set."""
    rows = torch.from_numpy(generator.integers(len(like.defocus_u), size=count))
    chosen = like.select(rows)
    defocus = torch.stack([chosen.defocus_u, chosen.defocus_v, chosen.defocus_angle], dim=1)
    microscope = torch.stack(
        [
            chosen.voltage,
            chosen.spherical_aberration,
            chosen.amplitude_contrast,
            chosen.phase_shift,
        ],
        dim=1,
    )
    return defocus.numpy().round(2), microscope.numpy().round(6)


def _draw_defoci(
    micrograph: np.ndarray, micrographs: int, generator: np.random.Generator
) -> np.ndarray:
    """Draw defocus U, V and angle: one mean and astigmatism a micrograph, heights that differ inside."""
    mean = generator.uniform(*DEFOCUS_RANGE, size=micrographs)[micrograph]
    mean = mean + generator.normal(0, DEFOCUS_SPREAD, size=len(micrograph))
    half = generator.uniform(*ASTIGMATISM_RANGE, size=micrographs)[micrograph] / 2
    angle = generator.uniform(0, 180, size=micrographs)[micrograph]
    return np.stack([mean + half, mean - half, angle], axis=1).round(2)


def draw_halves(group: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Split particles into halves 1 and 2 at random, equally inside each group and over all."""
    order = generator.permutation(len(group))
    order = order[np.argsort(group[order], kind="stable")]
    half = np.empty(len(group), dtype=np.int64)
    # Alternating through the sorted groups: inside each the halves differ by one at most, and so do they over all.
    half[order] = 1 + (np.arange(len(group)) + generator.integers(2)) % 2
    return half


def write_star(
    file: TextIO,
    table: SimulationTable,
    stack: str,
    box: int,
    pixel_size: float,
    with_ctf: bool,
    micrographs: str = "micrograph",
) -> None:
    """Write a particle set in the dialect of RELION 3.1 and later.

    Parameters
    ----------
    file : TextIO
        Where to.
    table : SimulationTable
        The particles.
    stack : str
        Name of the image stack, as it will stand in rlnImageName.
    box : int
        Pixels.
    pixel_size : float
        Angstrom.
    with_ctf : bool
        Whether these images carry the CTF: without it no defocus columns are written.
    micrographs : str
        What micrographs are called, but for their numbers.
    """
    groups, group = table.find_optics_groups()
    numbers = [str(number) for number in range(1, len(groups) + 1)]
    voltage, aberration, contrast = ([f"{value:.6f}" for value in one] for one in groups.T)
    optics = {
        "rlnOpticsGroup": numbers,
        "rlnOpticsGroupName": [f"opticsGroup{number}" for number in numbers],
        "rlnVoltage": voltage,
        "rlnSphericalAberration": aberration,
        "rlnAmplitudeContrast": contrast,
        "rlnMicrographOriginalPixelSize": [f"{pixel_size:.6f}"] * len(groups),
        "rlnImagePixelSize": [f"{pixel_size:.6f}"] * len(groups),
        "rlnImageSize": [str(box)] * len(groups),
        "rlnImageDimensionality": ["2"] * len(groups),
    }
    comment = comment_maker("simulated particles")
    file.writelines([f"{comment}\n\n# version 30001\n\n", *write_loop("optics", optics)])
    with_defocus = with_ctf and table.defocus is not None
    labels = [
        "rlnImageName",
        "rlnMicrographName",
        "rlnCoordinateX",
        "rlnCoordinateY",
        "rlnAngleRot",
        "rlnAngleTilt",
        "rlnAnglePsi",
        "rlnOriginXAngst",
        "rlnOriginYAngst",
        *(["rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"] if with_defocus else []),
        *(["rlnPhaseShift"] if with_defocus and table.microscope[:, 3].any() else []),
        "rlnOpticsGroup",
        "rlnRandomSubset",
        *(["rlnClassNumber"] if table.view is not None else []),
        *(["polardenoiseSource"] if table.source.any() else []),
    ]
    header = write_loop("particles", {label: [] for label in labels})
    file.writelines(["\n\n# version 30001\n\n", *header])
    for start in range(0, len(table), ROWS_AT_ONCE):
        file.writelines(
            _rows(
                table,
                range(start, min(start + ROWS_AT_ONCE, len(table))),
                stack,
                with_defocus,
                group,
                micrographs,
            )
        )
    file.write("\n")


def _rows(
    table: SimulationTable,
    rows: range,
    stack: str,
    with_defocus: bool,
    group: np.ndarray,
    micrographs: str,
) -> Iterator[str]:
    """Format some rows; `group` is each row's optics group, from 0."""
    with_phase = with_defocus and table.microscope[:, 3].any()
    for row in rows:
        x, y = table.coordinates[row]
        words = [
            quote_token(f"{row + 1:06d}@{stack}"),
            f"{micrographs}_{table.micrograph[row] + 1:05d}.mrc",
            f"{x:.6f} {y:.6f}",
            *(f"{angle:.6f}" for angle in table.angles[row]),
            *(f"{origin:.6f}" for origin in table.origins[row]),
        ]
        if with_defocus and table.defocus is not None:
            words += [f"{number:.2f}" for number in table.defocus[row]]
        if with_phase:
            words.append(f"{table.microscope[row, 3]:.6f}")
        words += [str(group[row] + 1), str(table.random_subset[row])]
        if table.view is not None:
            words.append(str(table.view[row] + 1))
        if table.source.any():
            words.append(str(table.source[row] + 1))
        yield " ".join(words) + "\n"
