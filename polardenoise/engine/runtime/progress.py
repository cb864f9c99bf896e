"""Progress of a stage of the work: printed lines with rate and time to go."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TextIO

#: Seconds below which a rate says nothing.
SHORTEST = 0.5
#: Share of a part of the work that passes over it show at most, until it is done.
ALMOST = 0.95


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
        self._share = 0.0  # of the part that is at work

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
        times = _times.get()
        if times is not None:
            stage = self.stage.partition(" of half ")[0].partition(" (")[0]
            times[stage] = times.get(stage, 0.0) + time.monotonic() - self._start
        if kind is None and not self._complete:
            self._write("", last=True)
        elif kind is not None and self._on_terminal and self.done:
            print(file=self._stream, flush=True)

    def advance(self, count: int, note: str = "") -> None:
        """Count `count` more units as done; `note` is added to the line ("loss 0.12")."""
        self.done += count
        self._share = 0.0
        now = time.monotonic()
        if self.done >= self.total or now - self._last >= self._interval:
            self._last = now
            self._write(note, last=self.done >= self.total)

    @contextmanager
    def watching(self, count: int, passes: float) -> Iterator[None]:
        """Show how far the work on the next `count` units has come, from what `tell_pass` is told meanwhile.

        Parameters
        ----------
        count : int
            Units that are worked on together; `advance` counts them when they are done.
        passes : float
            How often the work goes over them, as far as is known now.
        """
        passed, expected = 0.0, passes * count

        def listen(units: float, more_passes: float) -> None:
            nonlocal passed, expected
            passed += units
            expected += more_passes * count
            share = count * min(passed / max(expected, 1.0), ALMOST)
            self._share = max(self._share, share)  # a bar does not go back
            now = time.monotonic()
            if now - self._last >= self._interval:
                self._last = now
                self._write("", last=False)

        token = _listener.set(listen)
        try:
            yield
        finally:
            _listener.reset(token)

    def _write(self, note: str, last: bool) -> None:
        seconds = max(time.monotonic() - self._start, 1e-9)
        done = self.done + self._share
        rate = done / seconds
        parts = [f"{self.stage}: {int(done)}/{self.total} {self.unit}"]
        if last and seconds < SHORTEST:
            parts.append(f"took less than {SHORTEST} s")
        elif last:
            parts += [
                f"{format_rate(rate)} {self.unit}/s",
                f"took {format_duration(seconds)}",
            ]
        elif done:
            remaining = max(self.total - done, 0) / rate
            parts += [
                f"{format_rate(rate)} {self.unit}/s",
                f"{format_duration(remaining)} to go",
            ]
        line = ", ".join([*parts, note] if note else parts)
        if self._on_terminal:
            filled = round(20 * min(done / max(self.total, 1), 1.0))
            line = f"\r[{'#' * filled}{'.' * (20 - filled)}] {line}\x1b[K"
        print(
            line, end="\n" if last or not self._on_terminal else "", file=self._stream, flush=True
        )
        self._complete = self._complete or last


#: Seconds of each stage so far.
_times: ContextVar[dict[str, float] | None] = ContextVar("times", default=None)


@contextmanager
def timing_stages() -> Iterator[dict[str, float]]:
    """Count the seconds of every stage that ends meanwhile, those of both halves together; stages may overlap."""
    times: dict[str, float] = {}
    token = _times.set(times)
    try:
        yield times
    finally:
        _times.reset(token)


#: Told of units that a pass has gone over, and of passes that were not expected.
_listener: ContextVar[Callable[[float, float], None] | None] = ContextVar("listener", default=None)


def tell_pass(units: float = 0.0, more_passes: float = 0.0) -> None:
    """Say that a pass has gone over some units, or that there will be more passes: the bar of the stage moves."""
    listen = _listener.get()
    if listen is not None:
        listen(units, more_passes)


def format_rate(rate: float) -> str:
    """Write a rate as people read it: `0.5`, `12.3`, `4567`."""
    return f"{rate:.3g}" if rate < 1000 else f"{rate:.0f}"


def format_duration(seconds: float) -> str:
    """Write a time as people read it.

    Examples
    --------
    >>> [format_duration(seconds) for seconds in (0.84, 42.3, 200, 7500)]
    ['0.8 s', '42 s', '3 min 20 s', '2 h 05 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole >= 10 else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
