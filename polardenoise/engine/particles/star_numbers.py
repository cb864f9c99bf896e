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
from polardenoise.engine.particles.token_numbers import numbers_or_nan
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.input_files import shorten


def read_columns(
    document: StarDocument, table: StarTable, optics: StarTable | None
) -> tuple[ImageNames, ParticleColumns, set[str]]:
    """Read image names, numbers and the stated CTF state, in one pass over the rows.

    What is no number is noted, and refused only when the column is asked for: a command does without those it has no
    use for.

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
        If a row, or the table of optics groups, is not as it should be.
    """
    path = document.path
    labels = [label for label in NUMBER_LABELS if label in table.labels]
    texts = [k for k in ("rlnImageName", "rlnOpticsGroup", CTF_STATE_LABEL) if k in table.labels]
    names = ImageNames(path, len(table))
    own = {label: np.empty(len(table)) for label in labels}
    faults: dict[tuple[bool, str], str] = {}
    groups: list[str] = []
    stated: set[str] = set()
    for part, columns in table.column_chunks([*texts, *labels]):
        names.add(part.start, columns[0])
        if "rlnOpticsGroup" in texts:
            groups.extend(columns[1])
        if CTF_STATE_LABEL in texts:
            stated.update(columns[len(texts) - 1])
        for label, values in zip(labels, columns[len(texts) :], strict=True):
            place = f"row {{}} of data_{table.name}"
            own[label][part], fault = _as_numbers(path, label, values, place, part.start)
            if fault is not None:
                faults.setdefault((True, label), fault)
    shared: dict[str, np.ndarray] = {}
    optics_row = np.zeros(0, dtype=np.int64)
    if optics is not None:
        optics_row = find_optics_rows(document, table, optics, groups or None)
        for label in (label for label in NUMBER_LABELS if label in optics.labels):
            place = f"row {{}} of data_{optics.name}"
            shared[label], fault = _as_numbers(path, label, optics.column(label), place, 0)
            if fault is not None:
                faults[False, label] = fault
        if CTF_STATE_LABEL in optics.labels:
            states = optics.column(CTF_STATE_LABEL)
            stated = {states[row] for row in np.unique(optics_row)}
    return names, ParticleColumns(path, len(table), own, shared, optics_row, faults), stated


def has_defocus(columns: ParticleColumns) -> bool:
    """Tell whether a defocus is stated, be it one of the two."""
    return columns.has("rlnDefocusU") or columns.has("rlnDefocusV")


def refuse_lone_defocus(columns: ParticleColumns) -> None:
    """Refuse a set that states one defocus of the two: astigmatism, or the whole CTF, would be left out unsaid.

    Raises
    ------
    InputError
        Names the file, the column that is missing and how to mend it.
    """
    for given, missing in (("rlnDefocusU", "rlnDefocusV"), ("rlnDefocusV", "rlnDefocusU")):
        if columns.has(given) and not columns.has(missing):
            raise InputError(
                f"{columns.path}: has {given} but no {missing}; add this column (Angstrom; without astigmatism the "
                f"values of {given})"
            )


def _as_numbers(
    path: Path, label: str, values: list[str], place: str, first: int
) -> tuple[np.ndarray, str | None]:
    """Turn text into numbers, NaN where it is none, and word the first that is not finite; `place` says where."""
    numbers = numbers_or_nan(values)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if not bad.size:
        return numbers, None
    return numbers, (
        f"{path}: {place.format(first + bad[0] + 1)}: {label} is {shorten(repr(values[bad[0]]))}, not a finite number;"
        " correct it"
    )
