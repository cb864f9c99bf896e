"""New images of a data set of cryoSPARC: a .cs that its uids join to the project."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from polardenoise.engine.particles.cryosparc.fields import Fields, find_rows
from polardenoise.engine.runtime.records import write_records


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
        The set that the particles are of.
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
