"""Arrays in .npz files: their headers are looked at before anything is unpacked, and no code runs."""

from __future__ import annotations

import tokenize
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.input_files import open_input, shorten

#: Bytes that unpacked arrays may have more than four times those of their file: a bomb has a thousand times.
SPARE_BYTES = 64 * 2**20
#: What may go wrong while an archive is read that somebody else has written.
FAULTS = (
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,  # numpy looks for the numbers of Python 2 in a header that is no Python
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
)


def read_arrays(
    path: Path, wanted: Mapping[str, tuple[str, int]], cure: str
) -> dict[str, np.ndarray]:
    """Read arrays of a .npz file.

    Parameters
    ----------
    path : Path
        The file.
    wanted : mapping
        Name -> the kinds that its type may have ("f" real, "i" whole numbers, "fi" either) and its number of axes.
    cure : str
        What to do where it cannot be used.

    Raises
    ------
    InputError
        If there is no such file, it is no .npz, or an array is missing, of another form, or too large for the file.
    """
    try:
        with open_input(path) as file, zipfile.ZipFile(file) as archive:
            room = 4 * path.stat().st_size + SPARE_BYTES
            return {name: read_member(archive, name, *form, room) for name, form in wanted.items()}
    except FileNotFoundError as error:
        raise InputError(f"{path}: is not there; correct the name") from error
    except FAULTS as error:
        raise InputError(f"{path}: {shorten(error) or type(error).__name__}; {cure}") from error


def read_member(
    archive: zipfile.ZipFile, name: str, kinds: str, axes: int, room: int
) -> np.ndarray:
    """Read one array of an archive, once its header has said that it is what is wanted."""
    try:
        entry = archive.getinfo(f"{name}.npy")
    except KeyError as error:
        raise ValueError(f"holds no array {name}") from error
    if entry.file_size > room:
        raise ValueError(f"{name} would take {entry.file_size} bytes")
    with archive.open(entry) as member:
        shape, _, form = read_npy_header(member)
    if form.hasobject or form.kind not in kinds.replace("i", "iu") or len(shape) != axes:
        raise ValueError(
            f"{name} is an array of {len(shape)} axes of {form}, not what it should be"
        )
    if int(np.prod(shape, dtype=object)) * form.itemsize > entry.file_size:
        raise ValueError(f"{name} is cut short")
    with archive.open(entry) as member:
        return np.asarray(npy.read_array(member, allow_pickle=False))


def read_npy_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read shape, order and type of an array."""
    version = npy.read_magic(member)
    if version == (1, 0):
        return npy.read_array_header_1_0(member)
    if version == (2, 0):
        return npy.read_array_header_2_0(member)
    raise ValueError(f"is of a version of .npy ({version}) that is not known")
