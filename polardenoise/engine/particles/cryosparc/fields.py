"""The fields of a data set of cryoSPARC and of its passthrough, joined by uid and checked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polardenoise.engine.particles.cryosparc.groups import (
    GROUP_ENDING,
    is_group,
    read_group,
)
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
        The data set, or the group file that names it.
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

    @property
    def files(self) -> tuple[Path, ...]:
        """The set, and what else holds its fields."""
        return tuple(dict.fromkeys([self.path, *(path for path, _ in self.sources.values())]))

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
    """Tell a data set of cryoSPARC, or a group of them, by its name."""
    return Path(path).suffix.lower() == ENDING or is_group(path)


def read_fields(path: Path, passthrough: Path | None = None) -> Fields:
    """Read a data set and its passthrough, or what a group file names.

    Raises
    ------
    InputError
        If one cannot be read, has no particles, or they are not of the same particles.
    """
    refuse_second_passthrough(path, passthrough)
    if is_group(path):
        return read_group_fields(path)
    fields = begin_fields(path, path, read_records(path))
    if passthrough is not None:
        join_fields(fields, passthrough, read_records(passthrough))
    return fields


def refuse_second_passthrough(path: Path, passthrough: Path | None) -> None:
    """Refuse a passthrough beside a group file, which names its own."""
    if passthrough is not None and is_group(path):
        raise InputError(
            f"--passthrough: {path} names the passthrough of its job itself; leave it out"
        )


def read_group_fields(path: Path) -> Fields:
    """Read the fields of each slot from the data set that a group file names for it; errors as `read_fields`."""
    slots = read_group(path)
    first = find_first_table(slots)
    tables = {one: read_records(one) for one in dict.fromkeys([first, *slots.values()])}
    fields = begin_fields(path, first, tables[first], names=())
    for source, records in tables.items():
        held = [name for name in records.dtype.names or () if slots.get(slot_of(name)) == source]
        join_fields(fields, source, records, held)
    return fields


def find_first_table(slots: Mapping[str, Path]) -> Path:
    """Find the data set of a group, slot -> its data set, whose rows are the particles: that of the images."""
    return slots.get("blob", next(iter(slots.values())))


def slot_of(name: str) -> str:
    """Name the slot of a field: `ctf` of `ctf/df1_A`."""
    return name.partition("/")[0]


def begin_fields(
    path: Path, source: Path, records: np.ndarray, names: Sequence[str] | None = None
) -> Fields:
    """Take uids, and all fields or those of some names, of the table whose rows are the particles of a set."""
    if not len(records):
        raise InputError(f"{source}: has no rows; give the .cs of a job that has particles")
    rows = np.arange(len(records))
    values = {name: records[name] for name in list_names(records, names)}
    values["uid"] = find_uids(source, records)
    return Fields(path, values, {name: (source, rows) for name in values})


def join_fields(
    fields: Fields, source: Path, records: np.ndarray, names: Sequence[str] | None = None
) -> None:
    """Add fields of a further table, joined by uid: all that are not there yet, or those of some names."""
    of_row = join_rows(fields, source, records)
    for name in set(list_names(records, names)) - fields.values.keys():
        fields.values[name] = records[name][of_row]
        fields.sources[name] = (source, of_row)


def join_rows(fields: Fields, source: Path, records: np.ndarray) -> np.ndarray:
    """Find the rows of a further table that are a set's particles, `(n,)` from 0; an `InputError` if it lacks one."""
    uids = fields.values["uid"]
    of_row = find_rows(find_uids(source, records), uids)
    lost = np.flatnonzero(of_row < 0)
    if lost.size:
        first, rows = fields.sources["uid"]
        raise InputError(
            f"{source}: has no particle {uids[lost[0]]} (uid of row {rows[lost[0]] + 1} of {first}); give the "
            "passthrough of the same job"
        )
    return of_row


def list_names(records: np.ndarray, names: Sequence[str] | None) -> Sequence[str]:
    """Give the names of fields that are asked for; None asks for all of a table."""
    return records.dtype.names or () if names is None else names


def has_uids(records: np.ndarray) -> bool:
    """Tell whether a table has uids, whole numbers."""
    return "uid" in (records.dtype.names or ()) and records.dtype["uid"].kind in "iu"


def find_uids(path: Path, records: np.ndarray) -> np.ndarray:
    """Give the uids of a table, `(n,)` uint64; an `InputError` if it has none, or two rows one.

    Some programs write them signed, with the same bits: compared with unsigned ones as they are, both would become
    floating-point numbers, in which uids of 64 bits are no longer told apart.
    """
    if not has_uids(records):
        raise InputError(f"{path}: has no field uid; give the .cs of a job's particles")
    uids = records["uid"].astype(np.uint64)
    repeated = find_repeated(uids)
    if repeated is not None:
        row, before = repeated
        raise InputError(
            f"{path}: row {row + 1}: uid {uids[row]} is also that of row {before + 1}; remove duplicate particles in "
            "cryoSPARC"
        )
    return uids


def find_repeated(uids: np.ndarray) -> tuple[int, int] | None:
    """Find the first row, from 0, whose uid an earlier one has, and that earlier one; None where all differ."""
    found, first = np.unique(uids, return_index=True)
    if len(found) == len(uids):
        return None
    row = int(np.setdiff1d(np.arange(len(uids)), first)[0])
    return row, int(np.flatnonzero(uids == uids[row])[0])


def find_rows(uids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Find the rows of wanted uids among those of a table, both uint64: `(m,)` from 0, -1 for one that it lacks."""
    if not len(uids):
        return np.full(len(wanted), -1)
    order = np.argsort(uids)
    rows = order[np.searchsorted(uids, wanted, sorter=order).clip(max=len(uids) - 1)]
    return np.where(uids[rows] == wanted, rows, -1)


def advise_passthrough(path: Path) -> str:
    """Say what to do where a field is missing: the group file works wherever a set is read, the option not."""
    if is_group(path):
        return "give the group of a job that has it, or export the particles"
    group, passthrough = (
        find_beside(path, pattern)
        for pattern in (f"*particles*{GROUP_ENDING}", f"*passthrough*particles*{ENDING}")
    )
    return (
        f"give the group file of the same job{group} in its place, its passthrough{passthrough} with --passthrough, or "
        "export the particles"
    )


def find_beside(path: Path, pattern: str) -> str:
    """Word which file of a pattern lies beside a data set; empty where none does."""
    try:
        beside = sorted(one for one in path.parent.glob(pattern) if one != path)
    except OSError:
        return ""
    return f" ({beside[0].name} lies beside it)" if beside else ""


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
