"""Reconstruct maps from particles with known poses: two half maps, the whole, and their correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.backprojection import (
    Backprojection,
    begin_backprojection,
    insert_slices,
    solve_backprojection,
)
from polardenoise.engine.imaging.ctf import compute_ctf
from polardenoise.engine.imaging.euler_angles import matrices_from_angles
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.particles.cryosparc.column_names import name_column, name_columns
from polardenoise.engine.particles.half_sets import find_inseparable
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.set_checks import common_pixel_size
from polardenoise.engine.reconstruct.grid_symmetry import split_group, turn_sums
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.progress import Progress

BYTES_READ_AT_ONCE = 16 * 2**20
SEED_OF_DRAWN_HALVES = 0
CTF_OF_STATE = {"raw": "signed", "flipped": "absolute", "none": "none", "corrected": "none"}
RESOLUTION = "resolution"
CONSISTENCY = "consistency, not resolution"
OF_FEW_VIEWS = "of too few views, not resolution"


@dataclass(frozen=True)
class HalfMaps:
    """Maps of the two random halves and of all particles, `(N, N, N)` float32 each, zyx."""

    half1: Tensor
    half2: Tensor
    volume: Tensor


def choose_ctf(particles: ParticleSet, option: str) -> tuple[str, list[str]]:
    """Decide which CTF weights the images.

    Parameters
    ----------
    particles : ParticleSet
        Its `ctf_state` says what the images carry.
    option : str
        `--ctf`: `auto` follows the state, `on` insists on a CTF, `off` on none.

    Returns
    -------
    str
        `signed` (raw images), `absolute` (phase-flipped ones) or `none`.
    list[str]
        Warnings, where the option contradicts the state.

    Raises
    ------
    InputError
        If a CTF is asked for and the STAR carries none.
    """
    state = particles.ctf_state
    stated = CTF_OF_STATE[state]
    if option == "auto":
        return stated, []
    if option == "off":
        if stated == "none":
            return "none", []
        return "none", [
            f"--ctf off, but the images are stated to carry their CTF ({state}): "
            "the map keeps their contrast transfer"
        ]
    if particles.ctf is None:
        raise InputError(
            f"{particles.star_path}: --ctf on needs {name_column(particles.star_path, 'rlnDefocusU')}, which is not "
            "there; use --ctf auto"
        )
    if stated != "none":
        return stated, []
    return "signed", [
        f"--ctf on, but the images are stated to be free of the CTF ({state}): "
        "they are weighted by it as if they were raw; use --ctf auto"
    ]


def split_halves(particles: ParticleSet) -> tuple[np.ndarray, np.ndarray, str]:
    """Find the rows of the two random halves.

    Parameters
    ----------
    particles : ParticleSet
        With `rlnRandomSubset`, or without: the halves are then drawn, always the same ones.

    Returns
    -------
    rows1, rows2 : ndarray
        Ascending row numbers, from 0.
    origin : str
        Where the halves come from, for the summary.

    Raises
    ------
    InputError
        If a half is empty.
    """
    column = name_column(particles.star_path, "rlnRandomSubset")
    subset, origin = particles.random_subset, column
    if subset is None:
        image, units = find_inseparable(particles)
        generator = np.random.default_rng(SEED_OF_DRAWN_HALVES)
        subset = generator.permutation(int(units.max()) + 1)[units][image] % 2 + 1
        origin = f"drawn, seed {SEED_OF_DRAWN_HALVES} (no {column})"
    rows1, rows2 = np.flatnonzero(subset == 1), np.flatnonzero(subset == 2)
    if len(particles) == 1:
        raise InputError(
            f"{particles.star_path}: holds 1 particle, and two half maps need one each; give more particles"
        )
    if not len(rows1) or not len(rows2):
        if particles.random_subset is None:
            raise InputError(
                f"{particles.star_path}: all rows show one image or one filament, which half maps may not share; give "
                "more particles"
            )
        empty = 2 if len(rows1) else 1
        raise InputError(
            f"{particles.star_path}: no particle is in half {empty} ({column}); "
            "two half maps need both: correct the column, or remove it to have halves drawn"
        )
    return rows1, rows2, origin


def reconstruct_halves(
    particles: ParticleSet, rows1: np.ndarray, rows2: np.ndarray, ctf: str, symmetry: Tensor
) -> HalfMaps:
    """Reconstruct two half maps and the map of both, reading every image once.

    Parameters
    ----------
    particles : ParticleSet
        With angles; origins are undone.
    rows1, rows2 : ndarray
        Rows of the two halves, from 0.
    ctf : str
        `signed`, `absolute` or `none`, as `choose_ctf` gives it.
    symmetry : Tensor
        `(s, 3, 3)` rotations of the point group.

    Returns
    -------
    HalfMaps
        Protein bright. The whole map comes from the sums of both halves, not from the mean of the half maps.

    Raises
    ------
    InputError
        If the particles have no angles or more than one pixel size.
    """
    turns, others = split_group(symmetry)
    with Progress("reconstruct", len(rows1) + len(rows2)) as progress:
        first = backproject_particles(particles, rows1, ctf, others, progress)
        second = backproject_particles(particles, rows2, ctf, others, progress)
    if len(turns) > 1:
        with Progress("apply symmetry", 2, "halves") as progress:
            for half in (first, second):
                turn_sums(half, turns)
                progress.advance(1)
    with Progress("invert", 3, "maps") as progress:
        half1 = solve_backprojection(first)
        progress.advance(1)
        half2 = solve_backprojection(second)
        progress.advance(1)
        first.sums.add_(second.sums)
        volume = solve_backprojection(first)
        progress.advance(1)
    return HalfMaps(half1, half2, volume)


def backproject_particles(
    particles: ParticleSet, rows: np.ndarray, ctf: str, rotations: Tensor, progress: Progress
) -> Backprojection:
    """Add the central slices of particles up, a chunk of images at a time.

    Parameters
    ----------
    particles, ctf
        As for `reconstruct_halves`.
    rows : ndarray
        `(m,)` rows to use, from 0.
    rotations : Tensor
        `(s, 3, 3)`: each image is inserted once at each of them.
    progress : Progress
        Counts the images done.

    Returns
    -------
    Backprojection
        Its size depends on the box alone.
    """
    pixel_size = common_pixel_size(particles)
    box = particles.box
    backprojection = begin_backprojection(box)
    matrices = matrices_from_angles(torch.from_numpy(require_poses(particles))).float()
    # Content moved by +origin has the particle in the centre (RELION's convention).
    shifts = torch.from_numpy(particles.origins / pixel_size).float()
    images_at_once = max(BYTES_READ_AT_ONCE // (4 * box * box), 1)
    for start in range(0, len(rows), images_at_once):
        chunk = rows[start : start + images_at_once]
        index = torch.from_numpy(np.asarray(chunk))
        images = torch.from_numpy(read_images(particles, chunk))
        slices = _transform_about_centre(shift_images(images, shifts[index]))
        weights = torch.ones(slices.shape)
        if ctf != "none":
            assert particles.ctf is not None
            transfer = compute_ctf(particles.ctf.select(index), pixel_size, box)
            if ctf == "absolute":
                transfer = transfer.abs()
            slices, weights = slices * transfer, transfer**2
        for rotation in rotations.float():
            insert_slices(backprojection, slices, weights, rotation @ matrices[index])
        progress.advance(len(chunk))
    return backprojection


def require_poses(particles: ParticleSet) -> np.ndarray:
    """Give the angles of a set, `(n, 3)` rot, tilt, psi in degrees.

    Raises
    ------
    InputError
        If it has none.
    """
    if particles.angles is None:
        labels = name_columns(particles.star_path, "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
        raise InputError(f"{particles.star_path}: no angles ({labels}); align the particles first")
    return particles.angles


def _transform_about_centre(images: Tensor) -> Tensor:
    """Transform images `(n, N, N)` about their centre pixel into `(n, N, N // 2 + 1)`."""
    return torch.fft.rfft2(torch.fft.ifftshift(images, dim=(-2, -1)))
