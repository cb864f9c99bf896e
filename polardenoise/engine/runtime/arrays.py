"""Arrays in .npz files: written whole; looked at by their headers before anything is unpacked, and no code runs."""

from __future__ import annotations

import tokenize
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import replace_when_complete
from polardenoise.engine.runtime.input_files import open_input, shorten

#: Bytes that unpacked arrays may have more than four times those of their file: a bomb has a thousand times.
SPARE_BYTES = 64 * 2**20
#: Characters that the header of an array may have, as numpy has it.
LONGEST_HEADER = 10_000
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


def save_arrays(path: Path, **arrays: Any) -> None:
    """Save arrays as .npz, complete or not at all."""
    with replace_when_complete(path) as temporary:
        np.savez(temporary, **arrays)


def holds_arrays(path: Path) -> bool:
    """Tell whether a .npz is on the disk as it was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


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


def read_npy_header(
    member: IO[bytes], longest: int = LONGEST_HEADER
) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read shape, order and type of an array; a `ValueError` for a header of more than `longest` characters."""
    version = npy.read_magic(member)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of .npy is not known")
    return readers[version](member, max_header_size=longest)  # type: ignore[call-arg, no-untyped-call]
