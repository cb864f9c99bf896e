"""A map to compare a reconstruction with, and what it means where they do not agree."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from polardenoise.engine.particles.mrc import read_volume
from polardenoise.engine.runtime.errors import InputError

#: Where one molecule is in both, half maps fall below 0.143 where the map falls below 0.5 against its reference
#: (Rosenthal & Henderson, J. Mol. Biol. 333, 721, 2003). Beyond this ratio something else is in one of them.
FARTHEST_APART = 1.5


def read_reference(path: Path, box: int, pixel_size: float) -> Tensor:
    """Read a map to compare a reconstruction with.

    Parameters
    ----------
    path : Path
        MRC or CCP4 map. A header without a pixel size is taken to have the particles'.
    box : int
        `N` of the particles, pixels.
    pixel_size : float
        Of the particles, Angstrom.

    Returns
    -------
    Tensor
        `(N, N, N)` float32.

    Raises
    ------
    InputError
        If it cannot be read, is empty or lies on another grid.
    """
    volume, its_pixel_size = read_volume(path)
    if volume.shape != (box, box, box):
        size = " x ".join(str(side) for side in volume.shape[::-1])
        raise InputError(
            f"--reference {path}: {size} voxels, the particles need {box} x {box} x {box}; "
            "resample it (relion_image_handler --rescale_angpix, --new_box)"
        )
    if its_pixel_size > 0 and abs(its_pixel_size - pixel_size) > 0.01 * pixel_size:
        raise InputError(
            f"--reference {path}: {its_pixel_size:g} A per voxel, the particles have "
            f"{pixel_size:g} A; resample it (relion_image_handler --rescale_angpix, --new_box)"
        )
    if volume.min() == volume.max():
        raise InputError(f"--reference {path}: every voxel has one value; give a map")
    return torch.from_numpy(volume)


def doubt_reference(
    half_angstrom: float, reference_angstrom: float, group: str, denoised: bool
) -> list[str]:
    """Word that half maps agree far beyond what their reference confirms.

    Parameters
    ----------
    half_angstrom : float
        Where the half maps' correlation falls below 0.143.
    reference_angstrom : float
        Where the map's correlation with the reference falls below 0.5.
    group : str
        The point group that was given, in small letters.
    denoised : bool
        Whether the images are estimates.
    """
    if reference_angstrom <= FARTHEST_APART * half_angstrom:
        return []
    causes = ["poses that are wrong alike"]
    if group != "c1":
        causes.append(f"a symmetry ({group}) that the molecule does not have")
    if denoised:
        causes.append("what the model adds to its estimates")
    return [
        f"the half maps agree to {half_angstrom:.2f} A, but the map with the reference only to "
        f"{reference_angstrom:.2f} A: what the halves share is not in the reference. Either both halves were given it "
        f"({' or '.join(causes)}), or the reference is coarser, of something else, or lies turned, shifted or mirrored"
    ]
