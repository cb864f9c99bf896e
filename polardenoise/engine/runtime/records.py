"""Tables of records in .npy files, as cryoSPARC keeps its data sets: nothing in them is ever unpickled."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from polardenoise.counts import word_count
from polardenoise.engine.runtime.arrays import FAULTS, read_npy_header
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import naming_a_full_disk, replace_when_complete
from polardenoise.engine.runtime.input_files import open_input, shorten

#: The mark of every .npy, and of the stream that cryoSPARC sends over a network and its tools can save.
NPY, STREAM = b"\x93NUMPY", b"\x94CSDAT"
#: Characters that a header may have: numpy's own limit is too low for tables of many fields.
LONGEST_HEADER = 200_000


def read_records(path: Path | str) -> np.ndarray:
    """Read a table of records.

    Parameters
    ----------
    path : Path | str
        A .npy file of one structured array, whatever its ending.

    Returns
    -------
    ndarray
        `(n,)` with named fields.

    Raises
    ------
    InputError
        If there is no such file, it is no such table, is cut short, or holds Python objects.
    """
    path = Path(path)
    try:
        with open_input(path) as file:
            return _read_open(path, file)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the name") from error
    except (*FAULTS, MemoryError) as error:
        raise InputError(
            f"{path}: no numpy table that can be read ({shorten(error) or type(error).__name__}); copy or export it "
            "again"
        ) from error


def _read_open(path: Path, file: BinaryIO) -> np.ndarray:
    """Read the table of an open file; the sizes that its header states are held against the file's own."""
    head = file.read(len(NPY))
    if head == STREAM:
        raise InputError(
            f"{path}: in the stream format of cryosparc-tools; save it as numpy's (Dataset.save(FILE, format=1))"
        )
    if head != NPY:
        raise InputError(
            f"{path}: not a cryoSPARC data set (a numpy table); give the .cs of the job's particles"
        )
    file.seek(0)
    shape, _, form = read_npy_header(file, LONGEST_HEADER)
    if form.hasobject:
        raise InputError(
            f"{path}: holds pickled Python objects, which are never loaded; export the particles from cryoSPARC again"
        )
    if form.names is None or len(shape) != 1 or form.itemsize == 0:
        raise ValueError(f"an array of {len(shape)} axes without named fields")
    count = shape[0]
    held = (os.fstat(file.fileno()).st_size - file.tell()) // form.itemsize
    if not 0 <= count <= held:
        raise InputError(
            f"{path}: cut short, its header says {word_count(count, 'row')} and the file holds {held}; copy or "
            "export it again"
        )
    return np.fromfile(file, form, count)


def write_records(path: Path | str, records: np.ndarray) -> None:
    """Write a table of records, `(n,)` with named fields, atomically and under exactly this name."""
    with (
        replace_when_complete(path) as temporary,
        naming_a_full_disk(Path(path)),
        temporary.open("wb") as file,
        warnings.catch_warnings(),
    ):
        # A header of more than 64 KiB takes version 2 of the format, of which numpy would warn.
        warnings.simplefilter("ignore", UserWarning)
        npy.write_array(file, records, version=None, allow_pickle=False)


def take_rows(records: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Take rows of a table, `(m,)` from 0, byte by byte: what lies between its fields too."""
    as_bytes = records.view(np.dtype((np.void, records.dtype.itemsize)))
    return as_bytes[rows].view(records.dtype)
