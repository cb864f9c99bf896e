"""Files that are read: regular ones only, no larger than what they can be, and of the form that they should have."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from polardenoise.engine.runtime.errors import InputError

#: No text that describes something (a model, a recipe, a state) is longer.
LARGEST_DESCRIPTION = 16 * 2**20
#: How much of a reason that somebody else has worded is told.
LONGEST_REASON = 160

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO (a pipe)"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
Shape = TypeVar("Shape")


def name_kind(mode: int) -> str | None:
    """Say what a file of this mode is; None for a regular one."""
    return next((name for test, name in KINDS if test(mode)), None)


def open_input(path: Path | str) -> BinaryIO:
    """Open a file for reading; FIFOs, devices and folders are refused rather than waited for.

    Raises
    ------
    InputError
        If it is no regular file.
    OSError
        If there is none, or it may not be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        kind = name_kind(os.fstat(descriptor).st_mode)
        if kind is not None:
            raise InputError(f"{path}: is {kind}; name a file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_description(path: Path | str, cure: str) -> bytes:
    """Read a small file as a whole.

    Parameters
    ----------
    path : Path | str
        The file.
    cure : str
        What to do where it cannot be used.

    Raises
    ------
    InputError
        If it is not there, no regular file, or longer than any description.
    """
    try:
        with open_input(path) as file:
            raw = file.read(LARGEST_DESCRIPTION + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {cure}") from error
    if len(raw) > LARGEST_DESCRIPTION:
        raise InputError(f"{path}: has more than {LARGEST_DESCRIPTION // 2**20} MiB; {cure}")
    return raw


def read_json(path: Path | str, shape: type[Shape], cure: str) -> Shape:
    """Read a JSON file of a known shape.

    Parameters
    ----------
    path : Path | str
        The file.
    shape : type
        What msgspec is to make of it: a dataclass or struct whose fields state types and ranges.
    cure : str
        What to do where it cannot be used.

    Raises
    ------
    InputError
        If it is no JSON, or of another shape; says where.
    """
    return decode_json(read_description(path, cure), shape, str(path), cure)


def decode_json(raw: bytes, shape: type[Shape], source: str, cure: str) -> Shape:
    """Decode JSON of a known shape; `source` is what an error names, else as `read_json`."""
    try:
        return msgspec.json.decode(raw, type=shape)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise InputError(f"{source}: {shorten(error)}; {cure}") from error


def convert_data(data: Any, shape: type[Shape], source: str, cure: str) -> Shape:
    """Check plain data against a shape, as `decode_json`."""
    try:
        return msgspec.convert(data, type=shape)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise InputError(f"{source}: {shorten(error)}; {cure}") from error


def shorten(reason: object) -> str:
    """Put somebody else's reason, or a word out of a file, on one line of bounded length, without places in memory.

    Examples
    --------
    >>> shorten("malformed node: <ast.Name object at 0x7f7f7ca99a50>")
    'malformed node: <ast.Name object>'
    """
    line = re.sub(r" at 0x[0-9a-f]+(?=>)", "", " ".join(str(reason).split()))
    return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 3] + "..."
