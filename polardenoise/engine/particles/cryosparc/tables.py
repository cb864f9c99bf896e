"""The tables that hold a data set of cryoSPARC, as they are in their files, and new ones with some of their rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polardenoise.engine.particles.cryosparc.fields import (
    ENDING,
    Fields,
    begin_fields,
    find_first_table,
    find_uids,
    join_rows,
    refuse_second_passthrough,
    slot_of,
)
from polardenoise.engine.particles.cryosparc.group_writing import compose_group, rewrite_group
from polardenoise.engine.particles.cryosparc.groups import (
    BESIDE,
    GROUP_ENDING,
    is_group,
    read_group,
)
from polardenoise.engine.particles.image_names import is_there
from polardenoise.engine.particles.mrc import read_stack_header
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import Outputs, write_text_atomically
from polardenoise.engine.runtime.input_files import shorten
from polardenoise.engine.runtime.records import read_records, take_rows, write_records

#: What a new set may be named by; either way it has both, the data set and the group file that names it.
ENDINGS = (ENDING, GROUP_ENDING)
PASSTHROUGH = "passthrough"
IMAGES = "blob/path"


@dataclass(frozen=True)
class DataTables:
    """A data set and what else holds its fields.

    Attributes
    ----------
    path : Path
        The data set, or the group file that names it.
    records : dict of Path to ndarray
        Each table, as it is in its file.
    slots : dict of str to Path
        Which table holds each slot.
    particles : Fields
        The uids of the particles, and the table whose rows they are.
    """

    path: Path
    records: dict[Path, np.ndarray]
    slots: dict[str, Path]
    particles: Fields


def list_tables(path: Path, passthrough: Path | None = None) -> list[Path]:
    """List the tables of a data set, its passthrough last; errors as `read_fields`."""
    refuse_second_passthrough(path, passthrough)
    if not is_group(path):
        return list(dict.fromkeys([path, *([passthrough] if passthrough else [])]))
    tables = dict.fromkeys(read_group(path).values())
    return sorted(tables, key=lambda table: PASSTHROUGH in table.name)


def read_tables(path: Path, passthrough: Path | None = None) -> DataTables:
    """Read the tables of a data set, and check that all of them have its particles.

    Raises
    ------
    InputError
        If one cannot be read, has no particles, has a uid twice, or they are not of the same particles.
    """
    records = {table: read_records(table) for table in list_tables(path, passthrough)}
    slots = read_group(path) if is_group(path) else find_slots(records)
    first = find_first_table(slots) if is_group(path) else path
    particles = begin_fields(path, first, records[first], names=())
    for table in records.keys() - {first}:
        join_rows(particles, table, records[table])
    return DataTables(path, records, slots, particles)


def find_slots(records: dict[Path, np.ndarray]) -> dict[str, Path]:
    """Find which table holds each slot: the first that has fields of it."""
    slots: dict[str, Path] = {}
    for table, rows in records.items():
        for name in rows.dtype.names or ():
            if "/" in name:
                slots.setdefault(slot_of(name), table)
    return slots


def name_new_tables(output: Path, tables: Sequence[Path]) -> dict[Path, Path]:
    """Name the new file of each table: that of the output, and its passthrough beside it."""
    endings = ["", f"_{PASSTHROUGH}", *(f"_{PASSTHROUGH}_{n}" for n in range(2, len(tables)))]
    return {
        table: output.with_name(f"{output.stem}{ending}{ENDING}")
        for table, ending in zip(tables, endings, strict=False)
    }


def name_new_group(output: Path) -> Path:
    """Name the group file of an output."""
    return output.with_suffix(GROUP_ENDING)


def list_stacks(tables: DataTables) -> tuple[Path, list[str]]:
    """List the stacks of a set as it names them, and give the table that does; none where it names none."""
    source = tables.slots.get(slot_of(IMAGES), tables.path)
    records = tables.records.get(source)
    if records is None or IMAGES not in (records.dtype.names or ()):
        return source, []
    names = np.unique(records[IMAGES]).tolist()
    return source, [os.fsdecode(one) if isinstance(one, bytes) else str(one) for one in names]


def refuse_denoised_images(tables: DataTables) -> None:
    """Refuse the .cs that `denoise` wrote where the raw particles are wanted: it alone names its stack in full."""
    source, names = list_stacks(tables)
    for name in names:
        if name.startswith("/") and is_there(Path(name)) and read_stack_header(name).is_denoised:
            raise InputError(
                f"--particles {source}: holds denoised images (the header of {shorten(name)} says so); give the raw "
                "particles that they came from"
            )


def refuse_lost_images(tables: DataTables, output: Path) -> None:
    """Refuse an output in a folder from which images would not be found that are named from that of the set."""
    source, names = list_stacks(tables)
    for name in names:
        stack = name.removeprefix(BESIDE)
        if name == stack or not is_there(source.parent / stack):
            continue
        if not is_there(output.parent / stack):
            raise InputError(
                f"-o {output}: {shorten(stack)} lies beside {source} and would not be found from there; write the "
                "output into that folder, or name a .star, which names them in full"
            )


def write_tables(tables: DataTables, uids: np.ndarray, output: Path, comment: str) -> None:
    """Write the rows of some particles, as they are and in the order of each table, and the group file of these.

    Parameters
    ----------
    tables : DataTables
        The set.
    uids : ndarray
        `(m,)` uint64, the particles.
    output : Path
        Where (`name_new_tables`, `name_new_group`); all files appear together.
    comment : str
        The first line of the group file.
    """
    new = name_new_tables(output, list(tables.records))
    kept = {
        table: take_rows(records, np.flatnonzero(np.isin(find_uids(table, records), uids)))
        for table, records in tables.records.items()
    }
    names = {table: path.name for table, path in new.items()}
    counts = {table: len(records) for table, records in kept.items()}
    if is_group(tables.path):
        text = rewrite_group(tables.path, comment, names, counts)
    else:
        text = compose_group(comment, tables.slots, names, counts)
    with Outputs() as outputs:
        for table, path in new.items():
            write_records(outputs.lend(path), kept[table])
        write_text_atomically(outputs.lend(name_new_group(output)), text)
