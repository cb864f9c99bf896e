"""Results that appear complete or not at all, what made them, and how far the work has come."""

from __future__ import annotations

import errno
import json
import math
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from polardenoise.engine.errors import InputError


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


def provenance(command: list[str], **facts: Any) -> dict[str, Any]:
    """State what made a result: program, version, time, command and machine.

    Parameters
    ----------
    command : list[str]
        The argument vector, program included.
    **facts : Any
        More to state: `seed`, `model`, ...

    Returns
    -------
    dict[str, Any]
        Ready for `write_json`.
    """
    import polardenoise

    libraries = {
        name: sys.modules[name].__version__ for name in ("numpy", "torch") if name in sys.modules
    }
    return {
        "program": "polardenoise",
        "version": getattr(polardenoise, "__version__", "unknown"),
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": [str(word) for word in command],
        "working_directory": os.getcwd(),
        "machine": {
            "host": platform.node(),
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            **libraries,
        },
        **facts,
    }


class Progress:
    """Say how far a stage of the work has come: flushed lines, or a bar on a terminal.

    Parameters
    ----------
    stage : str
        What is being done: "denoise".
    total : int
        How many units there are.
    unit : str
        What is counted, in the plural: "images".
    stream : TextIO | None
        Where to write; None is standard output.
    seconds_between_lines : float
        In a log, a line is written no more often than this, and always when the stage is complete.
    """

    def __init__(
        self,
        stage: str,
        total: int,
        unit: str = "images",
        stream: TextIO | None = None,
        seconds_between_lines: float = 20.0,
    ) -> None:
        self.stage, self.total, self.unit = stage, total, unit
        self.done = 0
        self._stream = sys.stdout if stream is None else stream
        self._on_terminal = self._stream.isatty()
        self._interval = 0.2 if self._on_terminal else seconds_between_lines
        self._start = self._last = time.monotonic()
        self._complete = False

    def __enter__(self) -> Progress:
        """Begin the stage."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the stage; leave a terminal on a fresh line."""
        if kind is None and not self._complete:
            self._write("", last=True)
        elif kind is not None and self._on_terminal and self.done:
            print(file=self._stream, flush=True)

    def advance(self, count: int, note: str = "") -> None:
        """Count `count` more units as done; `note` is added to the line ("loss 0.12")."""
        self.done += count
        now = time.monotonic()
        if self.done >= self.total or now - self._last >= self._interval:
            self._last = now
            self._write(note, last=self.done >= self.total)

    def _write(self, note: str, last: bool) -> None:
        seconds = max(time.monotonic() - self._start, 1e-9)
        rate = self.done / seconds
        parts = [f"{self.stage}: {self.done}/{self.total} {self.unit}", f"{rate:.3g} {self.unit}/s"]
        if last:
            parts.append(f"took {format_duration(seconds)}")
        elif self.done:
            parts.append(f"{format_duration((self.total - self.done) / rate)} to go")
        line = ", ".join([*parts, note] if note else parts)
        if self._on_terminal:
            filled = round(20 * min(self.done / max(self.total, 1), 1.0))
            line = f"\r[{'#' * filled}{'.' * (20 - filled)}] {line}\x1b[K"
        print(
            line, end="\n" if last or not self._on_terminal else "", file=self._stream, flush=True
        )
        self._complete = self._complete or last


def format_duration(seconds: float) -> str:
    """Write a time as people read it: `8 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole >= 10 else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


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
