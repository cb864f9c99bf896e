"""The numbers of a particle set, read off its tables in one pass over the rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from polardenoise.engine.particles.image_names import ImageNames
from polardenoise.engine.particles.star import StarDocument, StarTable
from polardenoise.engine.particles.star_columns import (
    CTF_STATE_LABEL,
    NUMBER_LABELS,
    ParticleColumns,
)
from polardenoise.engine.particles.star_tables import find_optics_rows
from polardenoise.engine.runtime.errors import InputError


def read_columns(
    document: StarDocument, table: StarTable, optics: StarTable | None
) -> tuple[ImageNames, ParticleColumns, set[str]]:
    """Read image names, numbers and the stated CTF state, in one pass over the rows.

    Parameters
    ----------
    document : StarDocument
        The file.
    table, optics : StarTable
        Its particles, and its optics groups where it has any.

    Returns
    -------
    tuple
        The names, the numbers of `NUMBER_LABELS`, and every CTF state that the file states.

    Raises
    ------
    InputError
        If a number is none; names the row.
    """
    path = document.path
    labels = [label for label in NUMBER_LABELS if label in table.labels]
    texts = [k for k in ("rlnImageName", "rlnOpticsGroup", CTF_STATE_LABEL) if k in table.labels]
    names = ImageNames(path, len(table))
    own = {label: np.empty(len(table)) for label in labels}
    groups: list[str] = []
    stated: set[str] = set()
    for part, columns in table.column_chunks([*texts, *labels]):
        names.add(part.start, columns[0])
        if "rlnOpticsGroup" in texts:
            groups.extend(columns[1])
        if CTF_STATE_LABEL in texts:
            stated.update(columns[len(texts) - 1])
        for label, values in zip(labels, columns[len(texts) :], strict=True):
            own[label][part] = _as_numbers(
                path, label, values, f"row {{}} of data_{table.name}", part.start
            )
    shared: dict[str, np.ndarray] = {}
    optics_row = np.zeros(0, dtype=np.int64)
    if optics is not None:
        optics_row = find_optics_rows(document, table, optics, groups or None)
        for label in (label for label in NUMBER_LABELS if label in optics.labels):
            place = f"row {{}} of data_{optics.name}"
            shared[label] = _as_numbers(path, label, optics.column(label), place, 0)
        if CTF_STATE_LABEL in optics.labels:
            states = optics.column(CTF_STATE_LABEL)
            stated = {states[row] for row in np.unique(optics_row)}
    return names, ParticleColumns(path, len(table), own, shared, optics_row), stated


def _as_numbers(path: Path, label: str, values: list[str], place: str, first: int) -> np.ndarray:
    """Turn text into finite numbers; `place` words where a bad one stands."""
    numbers = numbers_or_nan(values)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        raise InputError(
            f"{path}: {place.format(first + bad[0] + 1)}: {label} is {values[bad[0]]!r}, not a finite number;"
            " correct it"
        )
    return numbers


def numbers_or_nan(values: list[str]) -> np.ndarray:
    """Turn text into numbers, float64, NaN where it is none."""
    try:
        return np.fromiter(map(float, values), dtype=np.float64, count=len(values))
    except ValueError:
        return np.array([number_or_nan(value) for value in values])


def number_or_nan(text: str) -> float:
    """Turn text into a number, NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def number_by_appearance(values: np.ndarray) -> np.ndarray:
    """Give equal values `(n,)` equal numbers from 0, the first value 0, the next new one 1."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[inverse.reshape(-1)]
