"""Rows of a file that are written in any order."""

import os
from typing import BinaryIO

import numpy as np


def split_into_runs(rows: np.ndarray) -> list[np.ndarray]:
    """Divide `(m,)` rows into runs that follow one another in a file.

    Returns
    -------
    list of ndarray
        Places in `rows`, so that `rows[run]` counts up by one.
    """
    order = np.argsort(rows, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(rows[order]) != 1) + 1)


def write_at(file: BinaryIO, values: np.ndarray, place: int) -> None:
    """Write all bytes of an array at a place of a file; the system may take a part at a time."""
    rest = np.ascontiguousarray(values).data.cast("B")
    while len(rest):
        written = os.pwrite(file.fileno(), rest, place)
        rest, place = rest[written:], place + written
