"""Find the particle and optics tables of a STAR file, and say what else a file is that has none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polardenoise.engine.particles.star import StarDocument, StarTable
from polardenoise.engine.particles.star_columns import (
    CLASS_LABEL,
    CTF_STATE_LABEL,
    NUMBER_LABELS,
    SCORE_LABEL,
)
from polardenoise.engine.particles.token_numbers import number_or_nan
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.input_files import shorten

#: Tables that a message names.
MOST_NAMED = 8

# Signs by which a table or column betrays a file that is not a particle set, the surer ones first.
TELLING_TABLES = {
    "model_general": "a RELION model file; give the _data.star of the same iteration",
    "optimiser_general": "a RELION optimiser file; give the _data.star of the same iteration",
    "sampling_general": "a RELION sampling file; give the _data.star of the same iteration",
    "pipeline_general": "a RELION pipeline; give the particles' STAR file of a job",
    "fsc": "an FSC or post-processing file; give the particles' STAR file",
    "job": "the options of a RELION job; give the particles' STAR file",
}
TELLING_COLUMNS = {
    "rlnTomoParticlesFile": "a tomography optimisation set; give the particles' STAR file it names",
    "rlnMicrographMovieName": "a table of movies; extract particles first",
    "rlnTomoTiltSeriesPixelSize": "a table of tomograms; extract particles as 2D images first",
    "rlnTomoName": "a table of tomograms or subtomograms; polardenoise takes 2D particles",
    "rlnReferenceImage": "a table of class averages; give the particles' STAR file",
    "rlnCoordinateX": "a table of particle coordinates; extract the particles first",
    "rlnMicrographName": "a table of micrographs; extract particles first",
    "image": "Xmipp metadata; export the particles as a RELION STAR file (Scipion does)",
}

#: Columns that the engine reads, or writes again, besides those of numbers.
OTHER_LABELS = (
    "rlnImageName",
    "rlnOpticsGroup",
    "rlnOpticsGroupName",
    "rlnImageSize",
    "rlnMicrographName",
    "rlnCoordinateX",
    "rlnCoordinateY",
    "rlnMicrographPixelSize",
    "rlnMicrographOriginalPixelSize",
    "rlnHelicalTubeID",
    "rlnClassNumber",
    "rlnCtfScalefactor",
    "rlnTiltIndex",
    "rlnTomoName",
    CTF_STATE_LABEL,
    SCORE_LABEL,
    CLASS_LABEL,
)
#: From small letters to the label as it is known.
AS_KNOWN = {label.lower(): label for label in (*NUMBER_LABELS, *OTHER_LABELS)}


def find_particle_table(document: StarDocument) -> StarTable:
    """Find the table that names the images.

    Parameters
    ----------
    document : StarDocument
        A whole file. The table may have any name (`data_particles`, `data_images`, `data_`,
        `data_model_class_1`); what counts is the column `rlnImageName`.

    Returns
    -------
    StarTable
        With one row or more.

    Raises
    ------
    InputError
        If there is none, it is empty, or several tables name images and none is called `particles`.
    """
    tables = [table for table in document.tables if "rlnImageName" in table.labels]
    tables = [table for table in tables if table.name == "particles"] or tables
    if not tables:
        raise InputError(
            f"{document.path}: no table has a column rlnImageName; this is {_recognise(document)}"
        )
    if len(tables) > 1:
        if len({table.name for table in tables}) == 1:
            raise InputError(
                f"{document.path}: {len(tables)} tables are called data_{tables[0].name}; join them into one"
            )
        raise InputError(
            f"{document.path}: several tables name images ({list_names(tables)}); keep one, or call it data_particles"
        )
    if len(tables[0]) == 0:
        raise InputError(
            f"{document.path}: table data_{tables[0].name} has no rows; give a STAR with particles"
        )
    return tables[0]


def find_optics_table(document: StarDocument, particles: StarTable) -> StarTable | None:
    """Find the table of optics groups (RELION 3.1 and later); None if there is none or it is empty."""
    # A table called so goes before others that happen to list optics groups (micrographs, say).
    for table in sorted(document.tables, key=lambda table: table.name != "optics"):
        is_optics = table.name == "optics" or (
            "rlnOpticsGroup" in table.labels and "rlnImageName" not in table.labels
        )
        if table is not particles and is_optics and len(table):
            return table
    return None


def find_optics_rows(
    document: StarDocument, particles: StarTable, optics: StarTable, groups: Sequence[str] | None
) -> np.ndarray:
    """Find each particle's row of the optics table.

    Parameters
    ----------
    document : StarDocument
        The file, for messages.
    particles, optics : StarTable
        Its tables.
    groups : Sequence[str] | None
        `rlnOpticsGroup` of each particle; None where the column is missing: this is understood if the
        optics table has one row.

    Returns
    -------
    ndarray
        `(n,)` rows of the optics table, from 0.

    Raises
    ------
    InputError
        If a group is listed twice, or a particle's group is not listed.
    """
    if groups is None:
        if len(optics) > 1:
            raise InputError(
                f"{document.path}: {len(optics)} optics groups, but data_{particles.name} has no column"
                " rlnOpticsGroup; add it"
            )
        return np.zeros(len(particles), dtype=np.int64)
    if "rlnOpticsGroup" not in optics.labels:
        raise InputError(
            f"{document.path}: data_{optics.name} has no column rlnOpticsGroup; add it"
        )
    row_of_group: dict[str, int] = {}
    for row, group in enumerate(optics.column("rlnOpticsGroup")):
        if row_of_group.setdefault(_canonical(group), row) != row:
            raise InputError(
                f"{document.path}: optics group {shorten(group)} is listed twice in data_{optics.name}; remove one"
            )
    # As written first, since nearly all tokens are the same few.
    known = {group: row_of_group.get(_canonical(group), -1) for group in set(groups)}
    rows = np.fromiter((known[group] for group in groups), dtype=np.int64, count=len(groups))
    missing = np.flatnonzero(rows < 0)
    if missing.size:
        raise InputError(
            f"{document.path}: row {missing[0] + 1} belongs to optics group {shorten(groups[missing[0]])}, which"
            f" data_{optics.name} does not list; add it there"
        )
    return rows


def _canonical(group: str) -> str:
    """Make "1", "001" and "1.0" the same group."""
    number = number_or_nan(group)
    return str(int(number)) if number.is_integer() else group


def _recognise(document: StarDocument) -> str:
    """Say what a STAR file without particle images seems to be, and what to do."""
    names = {table.name for table in document.tables}
    labels = {label for table in document.tables for label in table.labels}
    for name, meaning in TELLING_TABLES.items():
        if name in names:
            return meaning
    for label, meaning in TELLING_COLUMNS.items():
        if label in labels:
            return meaning
    return f"no particle set (tables: {list_names(document.tables)}); give the particles' STAR file"


def refuse_other_capitals(document: StarDocument) -> None:
    """Refuse a column whose name is a known one's in other capitals: it would be taken for a column nobody knows.

    Raises
    ------
    InputError
        Names the file, the first such column and how to mend it.
    """
    found = [
        (table, label)
        for table in document.tables
        if _is_read(table)
        for label in table.labels
        if AS_KNOWN.get(label.lower(), label) != label
    ]
    if not found:
        return
    table, label = found[0]
    more = f" (and {len(found) - 1} more such)" if len(found) > 1 else ""
    raise InputError(
        f"{document.path}: column _{label} of table {shorten(f'data_{table.name}')} would not be read, capitals count "
        f"in STAR files; rename it to _{AS_KNOWN[label.lower()]}{more}"
    )


def _is_read(table: StarTable) -> bool:
    """Tell whether a table is, but for capitals, one of particles or of their optics groups."""
    labels = {label.lower() for label in table.labels}
    return table.name.lower() == "optics" or bool(labels & {"rlnimagename", "rlnopticsgroup"})


def list_names(tables: Sequence[StarTable]) -> str:
    """List the names of some tables for a message, the first few of many."""
    names = [shorten(f"data_{table.name}") for table in tables[:MOST_NAMED]]
    others = len(tables) - len(names)
    return ", ".join(names + [f"{others} more"] * (others > 0)) or "nothing"
