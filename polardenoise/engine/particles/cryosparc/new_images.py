"""New images of a data set of cryoSPARC: a .cs that its uids join to the project."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from polardenoise.engine.particles.cryosparc.fields import (
    ENDING,
    Fields,
    find_rows,
    is_cryosparc,
)
from polardenoise.engine.runtime.records import write_records

#: What a set says of its images besides where they lie.
IMAGE_FIELDS = ("uid", "blob/psize_A", "blob/shape", "blob/sign")


def keep_image_fields(fields: Fields) -> Fields:
    """Keep of a set what new images of it are described by; its other fields, which are many, can go."""
    kept = [name for name in IMAGE_FIELDS if name in fields]
    return Fields(
        fields.path,
        # Copies: a field of a table keeps all of the table.
        {name: fields.values[name].copy() for name in kept},
        {name: fields.sources[name] for name in kept},
    )


def name_data_set(particles: Path, output: Path) -> Path | None:
    """Name the .cs beside the STAR file of a denoised set; None where the particles are not cryoSPARC's."""
    return output.with_suffix(ENDING) if is_cryosparc(particles) else None


def write_images_slot(
    path: Path,
    source: Fields,
    uids: np.ndarray,
    stack: Path,
    index: np.ndarray,
    box: int,
    bright: bool,
) -> None:
    """Write a `.cs` that names new images of some particles of a set; their uids join it to the project.

    Parameters
    ----------
    path : Path
        The new file.
    source : Fields
        What the set that the particles are of says of its images (`keep_image_fields`).
    uids : ndarray
        `(m,)` uint64, theirs.
    stack : Path
        The new images; named by its full name, which cryoSPARC takes from any project.
    index : ndarray
        `(m,)` place of each in the stack, from 0.
    box : int
        Pixels.
    bright : bool
        Whether protein is bright in the images, where the set does not say (`blob/sign`).
    """
    full = os.fsencode(os.path.abspath(stack))
    records = np.zeros(
        len(uids),
        dtype=[
            ("uid", "<u8"),
            ("blob/path", f"S{len(full)}"),
            ("blob/idx", "<u4"),
            ("blob/shape", "<u4", (2,)),
            ("blob/psize_A", "<f4"),
            ("blob/sign", "<f4"),
        ],
    )
    records["uid"], records["blob/path"], records["blob/idx"] = uids, full, index
    of_row = find_rows(source.values["uid"], uids)
    field_of_view = source.numbers("blob/psize_A") * source.numbers("blob/shape", 2)[:, 0]
    records["blob/shape"], records["blob/psize_A"] = box, field_of_view[of_row] / box
    records["blob/sign"] = 1.0 if bright else -1.0
    if "blob/sign" in source:
        records["blob/sign"] = source.numbers("blob/sign")[of_row]
    write_records(path, records)
