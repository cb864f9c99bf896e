"""What Parakeet leaves behind: its configuration, held against a shape, and its images, MRC and HDF5.

Images are opened only where they are regular files, and their pixels are read only when their size is the wanted one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import mrcfile.utils
import numpy as np
from mrcfile.mrcinterpreter import MrcInterpreter
from msgspec import Meta, Struct

from polardenoise.engine.particles.mrc_header import HEADER_BYTES
from polardenoise.engine.particles.star_columns import LIMITS
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.input_files import open_input, read_json, shorten

CURE = "simulate it again"
#: How a file may be broken, as h5py and mrcfile tell it.
BROKEN = (
    *(ImportError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError),
    *(RuntimeError, OverflowError),
)

#: Angstrom; a rotation vector in radians, which has at most pi of them as it is written; pixels along a side.
Place = Annotated[float, Meta(ge=-1e6, le=1e6)]
Turn = Annotated[float, Meta(ge=-1e3, le=1e3)]
Side = Annotated[int, Meta(ge=1, le=32768)]


def _within(label: str) -> Meta:
    """Give the limits that a column of a STAR file is held against."""
    least, most = LIMITS[label]
    return Meta(ge=least, le=most)


class Pose(Struct):
    """Where a molecule lies and how it is turned."""

    position: tuple[Place, Place, Place]
    orientation: tuple[Turn, Turn, Turn]


class Molecule(Struct):
    """The copies of the one structure."""

    instances: Annotated[list[Pose], Meta(min_length=1)]


class Molecules(Struct):
    """Molecules by where their structures come from."""

    local: Annotated[list[Molecule], Meta(min_length=1, max_length=1)]


class Sample(Struct):
    """What is looked at."""

    molecules: Molecules


class Beam(Struct):
    """The electrons, kV."""

    energy: Annotated[float, _within("rlnVoltage")]


class Lens(Struct):
    """Defocus with the sign turned, Angstrom; spherical aberration, mm; no astigmatism."""

    c_10: Annotated[float, _within("rlnDefocusU")]
    c_30: Annotated[float, _within("rlnSphericalAberration")]
    c_12: Annotated[float, Meta(ge=0, le=0)] = 0.0


class Detector(Struct):
    """Pixels, their size in Angstrom, and where the first of them lies."""

    nx: Side
    ny: Side
    pixel_size: Annotated[float, _within("pixel size")]
    origin: tuple[Place, Place] = (0.0, 0.0)


class Microscope(Struct):
    """What is looked with."""

    beam: Beam
    lens: Lens
    detector: Detector


class Scan(Struct, forbid_unknown_fields=True):
    """One still image."""

    mode: Literal["still"]
    num_images: Literal[1]


class Configuration(Struct):
    """The parts of a configuration that the particle set is made with."""

    sample: Sample
    microscope: Microscope
    scan: Scan


def read_configuration(path: Path) -> Configuration:
    """Read a configuration as `simulate --parakeet` writes it; an `InputError` says what is not so."""
    return read_json(path, Configuration, f"not as simulate --parakeet writes it, {CURE}")


def find_images(folder: Path) -> tuple[Path | None, Path | None]:
    """Find the image of a micrograph, and its wave without ice; HDF5 goes before MRC."""
    found = [
        next((path for end in ("h5", "mrc") for path in sorted(folder.glob(f"{name}.{end}"))), None)
        for name in ("image", "truth_*")
    ]
    return found[0], found[1]


#: Called with the shape `(rows, columns)`, pixel size and defocus of an image before its pixels are read.
Check = Callable[[tuple[int, int], float, float], None]


def read_image(path: Path, wave: bool, check: Check) -> np.ndarray:
    """Read an image, `(rows, columns)`.

    Parameters
    ----------
    path : Path
        MRC where its name ends so, else HDF5.
    wave : bool
        Whether it must be complex; else it must be real.
    check : callable
        Refuses what does not fit, see `Check`. The pixel size is in Angstrom, and the defocus 0 where it is not stated.

    Raises
    ------
    InputError
        If it is no such image.
    """
    try:
        with open_input(path) as file:
            read = _read_mrc if path.suffix == ".mrc" else _read_nexus
            data = read(file, wave, check)
        if not np.isfinite(data).all():
            raise ValueError("pixels are not finite")
    except InputError:
        raise
    except BROKEN as error:
        raise InputError(
            f"{path}: not an image file of Parakeet ({shorten(error)}); {CURE}"
        ) from error
    return data


def _read_mrc(file: BinaryIO, wave: bool, check: Check) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters is told as an error
        raw = bytearray(file.read(HEADER_BYTES))
        extended, raw[92:96] = bytes(raw[92:96]), bytes(4)  # its length; it is not read
        with MrcInterpreter(iostream=BytesIO(raw), header_only=True) as head:
            kind = mrcfile.utils.data_dtype_from_header(head.header)
            shape = mrcfile.utils.data_shape_from_header(head.header)
            pixel_size = float(head.voxel_size.x)
            (skipped,) = np.frombuffer(extended, head.header.nsymbt.dtype)
    shape = _judge(shape, kind, wave)
    check(shape, pixel_size, 0.0)
    file.seek(HEADER_BYTES + max(int(skipped), 0))
    return np.frombuffer(file.read(shape[0] * shape[1] * kind.itemsize), kind).reshape(shape)


def _read_nexus(file: BinaryIO, wave: bool, check: Check) -> np.ndarray:
    import h5py

    with h5py.File(file, "r") as archive:
        group: Any = archive
        for name in ("entry", "data"):
            group = _follow(group, name, h5py.Group)
        pixel_size, c_10, data = (
            _follow(group, name, h5py.Dataset) for name in ("pixel_size_x", "c_10", "data")
        )
        shape = _judge(data.shape, data.dtype, wave)
        check(shape, float(pixel_size[0]), -float(c_10[0]))
        pixels: np.ndarray = data[()].reshape(shape)
        return pixels


def _follow(group: Any, name: str, kind: type) -> Any:
    """Take a member of a group, which lies in this file as a whole."""
    import h5py

    if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
        raise ValueError(f"{name} lies in another file")
    found = group[name]
    if not isinstance(found, kind):
        raise ValueError(f"{name} is no {kind.__name__.lower()}")
    if isinstance(found, h5py.Dataset) and (found.external or found.is_virtual):
        raise ValueError(f"{name} lies in another file")
    return found


def _judge(shape: tuple[int, ...] | None, kind: np.dtype, wave: bool) -> tuple[int, int]:
    """Give rows and columns of one image, or a stack of one, with pixels that can be used."""
    if kind.kind not in ("c" if wave else "iuf"):
        raise ValueError(f"pixels are {kind}, not {'complex' if wave else 'real'} numbers")
    if shape is None or len(shape) < 2 or any(length != 1 for length in shape[:-2]):
        raise ValueError(f"of shape {shape}, not one image")
    rows, columns = (int(length) for length in shape[-2:])
    return rows, columns
