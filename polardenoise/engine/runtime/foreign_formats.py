"""Files of other formats in the place of MRC and STAR files: told by their first bytes, and refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np

from polardenoise.engine.runtime.errors import InputError

#: The word that a header of MRC has had since 2000, and where.
MAP_WORD = slice(208, 211)
CONVERT = "convert it to MRC (relion_image_handler does)"
CONVERT_HDF5 = "convert it to MRC (EMAN2's e2proc2d.py does)"
UNPACK = "unpack it"
#: What files of other formats begin with, what they are, and what to do with them.
BEGINNINGS = {
    b"\x89HDF\r\n\x1a\n": ("an HDF5 file", CONVERT_HDF5),
    b"II*\0": ("a TIFF file", CONVERT),
    b"MM\0*": ("a TIFF file", CONVERT),
    b"\x89PNG": ("a PNG picture", "give the particles' own images"),
    b"\x93NUMPY": ("an array of NumPy", "write it as MRC (the package mrcfile does)"),
    b"\x1f\x8b": ("a gzip file", UNPACK),
    b"BZh": ("a bzip2 file", UNPACK),
}
#: Words of a header of SPIDER, all of them float32: sections, rows, kind of image, columns, records of the header, its
#: bytes and those of a record.
SPIDER_WORDS = (0, 1, 4, 11, 12, 21, 22)
SPIDER_KINDS = (1, 3, -11, -12, -21, -22)
SPIDER = ("a SPIDER file", CONVERT)


def name_foreign_format(raw: bytes) -> tuple[str, str] | None:
    """Say of which other format a file is by its first bytes, and the cure; None where that is not known, or of MRC.

    A header of SPIDER would be taken for one of MRC: as whole numbers its words are large, but not too large.
    """
    for beginning, found in BEGINNINGS.items():
        if raw.startswith(beginning):
            return found
    if len(raw) < MAP_WORD.stop or raw[MAP_WORD] == b"MAP":
        return None
    for order in ("<", ">"):
        words = np.frombuffer(raw, f"{order}f4", max(SPIDER_WORDS) + 1)[list(SPIDER_WORDS)]
        if not np.isfinite(words).all() or (words != words.round()).any():
            continue
        sections, rows, kind, columns, records, header_bytes, record_bytes = words.tolist()
        sized = record_bytes == 4 * columns and header_bytes == records * record_bytes
        if sections and rows > 0 and columns > 0 and kind in SPIDER_KINDS and sized:
            return SPIDER
    return None


def refuse_binary(path: Path, head: bytes) -> NoReturn:
    """Refuse a binary file in the place of a STAR file, by its first bytes: what it is, and what to do with it."""
    foreign = name_foreign_format(head)
    if foreign is not None:
        name, cure = foreign
        raise InputError(f"{path}: {name}, neither a STAR file nor an MRC stack; {cure}")
    if head[MAP_WORD] == b"MAP":
        raise InputError(
            f"{path}: an MRC file, not a STAR file; give the .star that names its images, or name the stack .mrcs"
        )
    raise InputError(
        f"{path}: a binary file, not a STAR file; give the particles' .star, or a stack named .mrcs"
    )
