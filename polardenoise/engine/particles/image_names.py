"""From image names to images: which stack and which place, and whether they are there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from polardenoise.counts import word_count
from polardenoise.engine.particles.mrc import read_stack_header
from polardenoise.engine.particles.mrc_header import StackHeader
from polardenoise.engine.particles.star import is_quotable
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.input_files import shorten

# Place of an image whose name has no `index@`: the only image of its file.
ONLY_IMAGE = -1
# Past the end of any stack: what a number too long to count with stands for.
LARGEST_PLACE = 2**40 - 1
MOST_DIGITS = 12
#: Pixels along a side that no particle exceeds.
LARGEST_BOX = 4096


class ImageNames:
    """Image names taken apart, `000012@Extract/job007/mic.mrcs` -> place 11 of that file.

    Parameters
    ----------
    star_path : Path
        The STAR file, for messages.
    count : int
        `n`, names to come.
    """

    def __init__(self, star_path: Path, count: int) -> None:
        self.star_path = star_path
        self.files: dict[str, int] = {}
        self.file_of_row = np.zeros(count, dtype=np.int64)
        self.place_of_row = np.zeros(count, dtype=np.int64)

    def add(self, first_row: int, names: list[str]) -> None:
        """Take apart the names of consecutive rows, the first being `first_row` (from 0)."""
        for row, name in enumerate(names, first_row):
            index, at, file = name.partition("@")
            place = read_place(index) if at else ONLY_IMAGE
            if not at:
                file = name
            elif place < 0:
                raise InputError(
                    f"{self.star_path}: row {row + 1}: image name {shorten(name)} does not begin with a number"
                    " from 1; write it as index@stack.mrcs"
                )
            if not file:
                raise InputError(
                    f"{self.star_path}: row {row + 1}: the image name is empty; write index@stack.mrcs"
                )
            self.file_of_row[row] = self.files.setdefault(file, len(self.files))
            self.place_of_row[row] = place


def read_place(index: str) -> int:
    """Read an image's number, from 1, as its place, from 0; below 0 where it is none."""
    if not (index.isascii() and index.isdecimal()):
        return -1
    digits = index.lstrip("0")
    # Numbers of thousands of digits are not converted.
    return LARGEST_PLACE if len(digits) > MOST_DIGITS else int(digits or 0) - 1


def check_stacks(names: ImageNames) -> tuple[tuple[StackHeader, ...], np.ndarray]:
    """Look at the header and size of every stack, and at every row's place in it.

    Parameters
    ----------
    names : ImageNames
        Of all rows. Files are looked for from the working directory, then from the STAR file's folder.

    Returns
    -------
    tuple[tuple[StackHeader, ...], ndarray]
        One header for each file, and `(n,)` image numbers from 0.

    Raises
    ------
    InputError
        For the first stack, in the order of the rows, that is missing or there twice, not MRC, truncated, too
        short for a row, or whose images are not square, or unlike the first stack's in size.
    """
    index_in_stack = np.maximum(names.place_of_row, 0)
    order = np.argsort(names.file_of_row, kind="stable")
    bounds = np.searchsorted(names.file_of_row[order], np.arange(len(names.files) + 1))
    headers: list[StackHeader] = []
    for number, file in enumerate(names.files):
        rows = order[bounds[number] : bounds[number + 1]]  # ascending
        row_text = f"row {rows[0] + 1} of {names.star_path}"
        path = _locate(names, file, int(rows[0]))
        try:
            header = read_stack_header(path)
        except InputError as error:
            raise InputError(f"{error} (needed by {row_text})") from error
        _check_completeness(header, rows, index_in_stack[rows], names.star_path)
        if header.count > 1 and (unnumbered := rows[names.place_of_row[rows] == ONLY_IMAGE]).size:
            raise InputError(
                f"{names.star_path}: row {unnumbered[0] + 1}: {shorten(file)} holds "
                f"{word_count(header.count, 'image')} (a stack or a"
                " volume) and the image name has no number; 2D particles are named index@stack.mrcs"
            )
        size = f"{header.columns} x {header.rows} px"
        if header.columns != header.rows:
            raise InputError(
                f"{path}: images are {size} ({row_text}); extract them in a square box"
            )
        if header.axes[2] != 3:
            raise InputError(
                f"{path}: its sections do not run along z (mapc, mapr, maps {header.axes}), so that no section is an "
                "image; write the stack again with x fastest, z slowest"
            )
        if header.columns > LARGEST_BOX:
            raise InputError(
                f"{path}: images are {size} ({row_text}); particles have at most {LARGEST_BOX} px"
            )
        if headers and header.columns != headers[0].columns:
            raise InputError(
                f"{path}: images are {size} ({row_text}), those of {headers[0].path} {headers[0].columns} px;"
                " bring all to one box size and pixel size"
            )
        headers.append(header)
    return tuple(headers), index_in_stack


def _locate(names: ImageNames, file: str, row: int) -> Path:
    """Find a stack from the working directory, else from the STAR file's folder."""
    star_path = names.star_path
    here, beside = Path(file), star_path.parent / file
    if is_there(here) and is_there(beside) and not here.samefile(beside):
        raise InputError(
            f"{star_path}: row {row + 1}: {shorten(file)} is there twice, as {here.absolute()} and as "
            f"{beside.absolute()}; run in the STAR file's folder, or write the full name of the right one"
        )
    for candidate in (here, beside):
        if is_there(candidate):
            return candidate
    if names.place_of_row[row] == ONLY_IMAGE:
        raise InputError(
            f"{star_path}: row {row + 1}: image name {shorten(file)} is no NUMBER@STACK, such as "
            "000012@Extract/mic.mrcs, nor the name of a file that is there; correct rlnImageName"
        )
    raise InputError(
        f"{star_path}: row {row + 1}: stack {shorten(file)} is not there, neither from {Path.cwd()} nor from the STAR"
        " file's folder; run in the project's folder or correct the name"
    )


def is_there(path: Path) -> bool:
    """Tell whether a file is there; a name that no file can have is not."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _check_completeness(
    header: StackHeader, rows: np.ndarray, indices: np.ndarray, star_path: Path
) -> None:
    """Refuse a truncated stack, and rows past a stack's end."""
    if header.complete < header.count:
        needy = rows[indices >= header.complete]
        row = int(needy[0] if needy.size else rows[0]) + 1
        raise InputError(
            f"{header.path}: truncated, its header says {word_count(header.count, 'image')} and the file holds"
            f" {header.complete} (first missed by row {row} of {star_path}); copy or extract it again"
        )
    beyond = np.flatnonzero(indices >= header.count)
    if beyond.size:
        raise InputError(
            f"{star_path}: row {rows[beyond[0]] + 1} asks for image {indices[beyond[0]] + 1} of {header.path},"
            f" which holds {header.count}; correct the row or extract the stack again"
        )


def refuse_unquotable_stack(option: str, stack: Path) -> None:
    """Refuse a stack whose name no STAR file can hold.

    Raises
    ------
    InputError
        Names the option.
    """
    if not is_quotable(name_in_star(stack)):
        raise InputError(
            f"{option} {stack}: no STAR file can hold this name (a line break, or white space beside both kinds of "
            "quotes); choose another"
        )


def name_in_star(stack: Path) -> str:
    """Name a stack as RELION does, relative to the working directory; absolute where it lies outside."""
    relative = os.path.relpath(stack)
    return str(stack.resolve()) if relative.startswith(os.pardir) else relative
