"""Progress of a stage of the work: printed lines with rate and time to go."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO


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
