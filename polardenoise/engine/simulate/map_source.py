"""Density maps as sources: checked, their background taken off, brought to the box and pixel size asked for.

The centre of a map is its voxel `(n // 2)` along each axis, RELION's and ours; origin and start fields of the header
are not used. The contrast is kept as it is: a map with dark protein gives dark particles.
"""

from __future__ import annotations

import bz2
import gzip
import math
from pathlib import Path

import numpy as np

from polardenoise.engine.particles.mrc import read_volume
from polardenoise.engine.runtime.errors import InputError, TooLargeError

# A voxel is the molecule's if it reaches this share of the map's bright end above the background.
MOLECULE_SHARE = 0.2
# Pixel sizes that differ by less than this share are the same: headers store float32 and rounded cells.
SAME_PIXEL_SIZE = 2e-4


def read_map_density(path: Path, box: int, pixel_size: float | None) -> tuple[np.ndarray, float]:
    """Read a map as a particle's density on the grid asked for.

    Parameters
    ----------
    path : Path
        MRC or CCP4 map, plain, ``.gz`` or ``.bz2``. It need not be cubic, nor its voxels.
    box : int
        Voxels along one side of the result.
    pixel_size : float or None
        Angstrom. None: the map's field of view (its longest side) becomes the box's. If the header has no voxel size,
        this states the map's own, and nothing is resampled.

    Returns
    -------
    volume : ndarray
        `(box, box, box)` float32, z, y, x, grey values as in the map less its background (the median of its faces).
    pixel_size : float
        Angstrom.

    Raises
    ------
    InputError
        Not a map, damaged, empty, of a crystal, without voxel size, or with a molecule larger than the box.
    """
    volume, _ = read_volume(path)
    header_voxels, space_group = _read_geometry(path)
    if 2 <= space_group <= 230:
        raise InputError(
            f"{path}: a crystal's map (space group {space_group}), not one particle; cut the molecule out as a P1 map"
        )
    if space_group > 400 and space_group <= 630:
        raise InputError(f"{path}: several volumes in one file; give one map a file")
    count, rows, columns = volume.shape
    if space_group == 0 and rows == columns != count:
        raise InputError(
            f"{path}: a stack of {count} images of {columns} x {rows}, not a map; give a volume"
        )
    if float(volume.max()) == float(volume.min()):
        raise InputError(
            f"{path}: every voxel is {float(volume.max()):g}, the map is empty; give another"
        )

    if header_voxels is None and pixel_size is None:
        raise InputError(
            f"{path}: no voxel size in the header; state the map's own with --pixel-size, in Angstrom"
        )
    voxels = header_voxels if header_voxels is not None else np.full(3, pixel_size)
    volume = volume - _background(volume)
    extent = np.array(volume.shape) * voxels
    if pixel_size is None:
        pixel_size = round(float(extent.max()) / box, 4)
    else:
        diameter = _diameter(volume, voxels)
        if diameter > box * pixel_size:
            cure = f"--pixel-size {math.ceil(100 * diameter / (0.7 * box)) / 100:g} or larger, or "
            if header_voxels is None:
                cure = ""
            raise TooLargeError(
                f"{path}: the molecule is {diameter:.0f} A wide and does not fit the box of {box * pixel_size:.0f} A"
                f" ({box} px at {pixel_size:g} A); use {cure}--box {_next_even(diameter / pixel_size)} or larger",
                diameter,
            )
    for axis in range(3):
        resample = _resampling_matrix(volume.shape[axis], voxels[axis], box, pixel_size)
        volume = np.moveaxis(np.tensordot(resample, volume, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(volume, dtype=np.float32), float(pixel_size)


def _read_geometry(path: Path) -> tuple[np.ndarray | None, int]:
    """Read voxel sizes z, y, x in Angstrom (None: not in the header) and the space group."""
    with path.open("rb") as plain:
        magic = plain.read(3)
    reader = gzip.open if magic[:2] == b"\x1f\x8b" else bz2.open if magic == b"BZh" else open
    with reader(path, "rb") as file:
        raw = file.read(1024)
    order = "<" if 0 <= int.from_bytes(raw[12:16], "little") < 128 else ">"
    whole, real = np.frombuffer(raw, f"{order}i4"), np.frombuffer(raw, f"{order}f4")
    intervals, cell, angles = whole[7:10], real[10:13], real[13:16]
    known = (intervals > 0).all() and np.isfinite(cell).all() and (cell > 0).all()
    if known and not (np.isin(angles, (0.0,)).all() or np.abs(angles - 90).max() < 0.01):
        raise InputError(
            f"{path}: the axes of the map are not perpendicular; resample it to a P1 map"
        )
    voxels = (cell / intervals).astype(np.float64)[::-1] if known else None
    if voxels is not None and voxels.max() > 20 * voxels.min():
        raise InputError(f"{path}: voxels of {voxels[::-1]} A make no sense; correct the header")
    return voxels, int(whole[22])


def _next_even(length: float) -> int:
    return 2 * math.ceil(length / 2)


def _background(volume: np.ndarray) -> float:
    """Give the median of the six faces."""
    faces = [volume.take(end, axis=axis).ravel() for axis in range(3) for end in (0, -1)]
    return float(np.median(np.concatenate(faces)))


def _diameter(volume: np.ndarray, voxels: np.ndarray) -> float:
    """Measure twice the distance from the centre within which nearly all of the molecule lies, Angstrom."""
    bright_end = np.quantile(np.abs(volume), 0.999)
    places = np.argwhere(np.abs(volume) > MOLECULE_SHARE * bright_end)
    if len(places) == 0:
        return 0.0
    from_centre = (places - np.array(volume.shape) // 2) * voxels
    # Not the farthest voxel: a speck of noise in a corner is not the molecule.
    return 2 * float(np.quantile(np.linalg.norm(from_centre, axis=1), 0.995))


def _resampling_matrix(count: int, voxel: float, box: int, pixel_size: float) -> np.ndarray:
    """Make the `(box, count)` matrix that resamples one axis, centre to centre, without aliasing.

    A Fourier series with the period of the new box, cut at the lower of the two Nyquist frequencies: trigonometric
    interpolation when finer, Fourier cropping when coarser, at any ratio. Equal pixel sizes: cut or padded only.
    """
    old, new = np.arange(count) - count // 2, np.arange(box) - box // 2
    if abs(voxel / pixel_size - 1) < SAME_PIXEL_SIZE:
        return (new[:, None] == old[None, :]).astype(np.float64)
    extent = box * pixel_size
    highest = math.ceil(min(0.5 / voxel, 0.5 / pixel_size) * extent) - 1
    harmonics = np.arange(1, max(highest, 0) + 1)
    distance = (new[:, None] * pixel_size - old[None, :] * voxel) / extent
    # The sum of cosines in closed form (Dirichlet kernel) is 0/0 at distance 0; summing them is safe and quick.
    kernel = np.ones_like(distance)
    for harmonic in harmonics:
        kernel += 2 * np.cos(2 * np.pi * harmonic * distance)
    # What lies outside the new box would come in again on its other side.
    inside = np.abs(old * voxel) <= extent / 2
    return kernel * inside[None, :] * (voxel / extent)
