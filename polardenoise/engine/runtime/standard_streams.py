"""Standard output and error that never end a run: whoever read them may go, and their disk may fill."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class PatientStream:
    """A text stream whose failures are passed over: from the first one on, what is written is dropped.

    Characters that the stream's encoding lacks (bytes of file names that are no text) are spelt out.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = False

    def __getattr__(self, name: str) -> Any:
        """Give what the stream itself has."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or drop."""
        if not self._lost:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = getattr(self._stream, "encoding", None) or "ascii"
                spelt = text.encode(encoding, "backslashreplace").decode(encoding)
                return self.write(spelt)
            except (OSError, ValueError) as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Hand what was written to the system, or drop it."""
        if not self._lost:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._lost = True
        try:
            number = self._stream.fileno()
        except (OSError, ValueError, AttributeError):
            return
        if number in (1, 2) and isinstance(error, OSError):
            # The interpreter flushes what is left when it ends, and would complain.
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, number)
            os.close(nothing)


@contextmanager
def patient_streams() -> Iterator[None]:
    """Let nothing that happens to standard output and error end the run inside this block."""
    fill_missing_descriptors()
    before = sys.stdout, sys.stderr
    streams = [
        open(os.devnull, "w") if stream is None else stream  # noqa: SIM115
        for stream in before
    ]
    sys.stdout, sys.stderr = (PatientStream(stream) for stream in streams)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def fill_missing_descriptors() -> None:
    """Point descriptors 0 to 2 at nothing where they are closed: else the next file that is opened gets their place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
