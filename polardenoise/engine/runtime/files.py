"""Files and folders that appear complete or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polardenoise.engine.runtime.errors import InputError


@contextmanager
def replace_when_complete(path: Path | str) -> Iterator[Path]:
    """Lend a temporary path that takes the final name when the block ends without an error.

    Parameters
    ----------
    path : Path | str
        The final name. Its folder is made if need be; an existing file is replaced in one step.

    Yields
    ------
    Path
        A hidden name in the same folder with the same ending (programs choose formats by the ending).
        After an error, Ctrl-C included, it is removed and an earlier file `path` is as it was.

    Raises
    ------
    InputError
        If the folder cannot be made or written, `path` is a folder, or the disk is full.
    """
    final = Path(path)
    if final.is_dir():
        raise InputError(f"{final}: is a folder; give the name of a file to write")
    make_folder(final.parent)
    if not os.access(final.parent, os.W_OK | os.X_OK):
        raise InputError(f"{final.parent}: cannot be written; choose another folder")
    temporary = final.with_name(f".{final.stem}.{os.getpid()}.partial{final.suffix}")
    try:
        with naming_a_full_disk(final):
            yield temporary
            os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming_a_full_disk(path: Path) -> Iterator[None]:
    """Turn the system's word for a full disk into an `InputError` that names the file being written."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(f"{path}: the disk is full; make room or write elsewhere") from error


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where they are not there yet.

    Raises
    ------
    InputError
        If that cannot be done, or a file has the name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be made ({error.strerror}); choose another folder"
        ) from error


def write_text_atomically(path: Path | str, text: str) -> None:
    """Write a text file that appears complete or not at all (UTF-8, line ends as given)."""
    with replace_when_complete(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", errors="surrogateescape"))


def write_json(path: Path | str, data: Any) -> None:
    """Write data as JSON, atomically.

    Parameters
    ----------
    path : Path | str
        The file.
    data : Any
        Dictionaries, lists, numbers, text; numpy and torch numbers and arrays, paths and tuples are turned
        into them. Numbers that JSON does not know (NaN, infinities) become `null`.
    """
    write_text_atomically(path, json.dumps(_as_json(data), indent=2, allow_nan=False) + "\n")


def _as_json(value: Any) -> Any:
    """Turn what the engine works with into what JSON knows."""
    if isinstance(value, dict):
        return {str(key): _as_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(entry) for entry in value]
    if hasattr(value, "tolist"):  # numpy and torch numbers and arrays
        return _as_json(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    return str(value)


def move_folder(source: Path, final: Path) -> None:
    """Give a complete folder its final name, from another file system too; one that is there is replaced.

    The source goes last: a move that was killed can be done again.
    """
    beside, former = (final.with_name(f".{final.name}.{word}") for word in ("partial", "former"))
    for left_over in (beside, former):
        shutil.rmtree(left_over, ignore_errors=True)
    moved = source
    if source.stat().st_dev != final.parent.stat().st_dev:
        shutil.copytree(source, beside)
        moved = beside
    if final.exists():
        os.replace(final, former)
    os.replace(moved, final)
    shutil.rmtree(former, ignore_errors=True)
    shutil.rmtree(source, ignore_errors=True)
