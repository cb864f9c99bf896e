"""Whether a stack is still the file whose header was read: images of two files are no set."""

from __future__ import annotations

import os
from typing import BinaryIO

from polardenoise.engine.particles.mrc_header import StackHeader
from polardenoise.engine.runtime.errors import InputError, SystemFailureError
from polardenoise.engine.runtime.input_files import open_input


def read_state(file: BinaryIO) -> tuple[int, int, int, int]:
    """Read what tells an open file from another, or from itself once it has been written to: see `StackHeader`."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev


def open_unchanged(header: StackHeader) -> BinaryIO:
    """Open the file that a header was read from; errors as `read_images_at`."""
    try:
        file = open_input(header.path)
    except OSError as error:
        raise SystemFailureError(
            f"{header.path}: is not there any more ({error.strerror}); put it back and run again"
        ) from error
    try:
        refuse_change(header, file)
    except InputError:
        file.close()
        raise
    return file


def refuse_change(header: StackHeader, file: BinaryIO) -> None:
    """Fail if a file is not what it was when its header was read: its images may be of two files."""
    if any(header.state) and read_state(file) != header.state:
        raise InputError(
            f"{header.path}: has changed while it was read; let the program that writes it finish, then run again"
        )
