"""The fields of a data set of cryoSPARC and of its passthrough, joined by uid and checked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.records import read_records

ENDING = ".cs"


@dataclass(frozen=True)
class CryosparcFiles:
    """What a user says besides the name of a `.cs`: its passthrough, and the folder of its project."""

    passthrough: Path | None = None
    project: Path | None = None


@dataclass(frozen=True)
class Fields:
    """The fields of `n` particles, of a data set and of its passthrough.

    Attributes
    ----------
    path : Path
        The data set.
    values : dict
        Name -> `(n, ...)`, in the order of the data set's rows.
    sources : dict
        Name -> the file that has it, and each particle's row there, from 0.
    """

    path: Path
    values: dict[str, np.ndarray]
    sources: dict[str, tuple[Path, np.ndarray]]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def place(self, name: str, row: int) -> str:
        """Say where a particle's value stands, for messages."""
        path, rows = self.sources[name]
        return f"{path}: row {rows[row] + 1}: {name}"

    def require(self, name: str) -> None:
        """Refuse a set without a field; an `InputError` names the cure."""
        if name not in self.values:
            raise InputError(f"{self.path}: has no field {name}; {advise_passthrough(self.path)}")

    def numbers(self, name: str, width: int = 0) -> np.ndarray:
        """Give a field as float64, `(n,)`, or `(n, width)`; an `InputError` if it is none such, or not finite."""
        self.require(name)
        values = self.values[name]
        if values.dtype.kind not in "fiu" or values.shape[1:] != ((width,) if width else ()):
            raise InputError(
                f"{self.sources[name][0]}: {name} holds {values.dtype} of shape {values.shape[1:]}, not "
                f"{width or 'a'} number{'s' if width else ''} a row; export the particles again"
            )
        numbers = values.astype(np.float64)
        bad = ~np.isfinite(numbers.reshape(len(numbers), -1)).all(1)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"{self.place(name, row)} is {numbers[row]}, not a finite number; take the row out in cryoSPARC, or "
                "run the job again"
            )
        return numbers


def is_cryosparc(path: Path | str) -> bool:
    """Tell a data set of cryoSPARC by its name."""
    return Path(path).suffix.lower() == ENDING


def read_fields(path: Path, passthrough: Path | None = None) -> Fields:
    """Read a data set and its passthrough.

    Raises
    ------
    InputError
        If one cannot be read, has no particles, or they are not of the same particles.
    """
    records = read_records(path)
    if not len(records):
        raise InputError(f"{path}: has no rows; give the .cs of a job that has particles")
    uids = find_uids(path, records)
    rows = np.arange(len(records))
    values = {name: records[name] for name in records.dtype.names or ()}
    sources = {name: (path, rows) for name in values}
    if passthrough is not None:
        others = read_records(passthrough)
        of_row = find_rows(find_uids(passthrough, others), uids)
        lost = np.flatnonzero(of_row < 0)
        if lost.size:
            raise InputError(
                f"{passthrough}: has no particle {uids[lost[0]]} (uid of row {lost[0] + 1} of {path}); give the "
                "passthrough of the same job"
            )
        for name in set(others.dtype.names or ()) - values.keys():
            values[name] = others[name][of_row]
            sources[name] = (passthrough, of_row)
    return Fields(path, values, sources)


def find_uids(path: Path, records: np.ndarray) -> np.ndarray:
    """Give the uids of a table, `(n,)`; an `InputError` if it has none, or two rows one."""
    if "uid" not in (records.dtype.names or ()) or records.dtype["uid"].kind not in "iu":
        raise InputError(f"{path}: has no field uid; give the .cs of a job's particles")
    uids = records["uid"]
    found, first = np.unique(uids, return_index=True)
    if len(found) != len(uids):
        row = int(np.setdiff1d(np.arange(len(uids)), first)[0])
        before = int(np.flatnonzero(uids == uids[row])[0])
        raise InputError(
            f"{path}: row {row + 1}: uid {uids[row]} is also that of row {before + 1}; remove duplicate particles in "
            "cryoSPARC"
        )
    return uids


def find_rows(uids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Find the rows of wanted uids `(m,)` among those of a table `(n,)`: `(m,)` from 0, -1 for one that it lacks."""
    if not len(uids):
        return np.full(len(wanted), -1)
    order = np.argsort(uids)
    rows = order[np.searchsorted(uids, wanted, sorter=order).clip(max=len(uids) - 1)]
    return np.where(uids[rows] == wanted, rows, -1)


def advise_passthrough(path: Path) -> str:
    """Say what to do where a field is missing."""
    try:
        beside = sorted(path.parent.glob("*passthrough*particles*" + ENDING))
    except OSError:
        beside = []
    named = f" ({beside[0].name} lies beside it)" if beside and beside[0] != path else ""
    return (
        f"give the passthrough of the same job with --passthrough{named}, or export the particles"
    )


def read_texts(fields: Fields, name: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Read a field of text: its different values, the first row of each, and `(n,)` which of them each row has."""
    fields.require(name)
    values = fields.values[name]
    if values.dtype.kind not in "SU" or values.ndim != 1:
        raise InputError(
            f"{fields.sources[name][0]}: {name} is no text; export the particles again"
        )
    found, first, of_row = np.unique(values, return_index=True, return_inverse=True)
    texts = [os.fsdecode(text) if isinstance(text, bytes) else text for text in found.tolist()]
    return texts, first, of_row
