"""What has been measured, one line of JSON a cell, so that a killed benchmark goes on where it was."""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polardenoise import __version__

Figures = dict[str, float]


class Journal:
    """Cells measured so far, in a file that only grows.

    Parameters
    ----------
    path : Path
        The file; made with the first cell. A line that a kill has cut short does not count.
    """

    def __init__(self, path: Path):
        self.path = path
        self.cells: dict[str, dict[str, Any]] = {}
        self.measured = 0
        written = path.read_text() if path.is_file() else ""
        self.break_first = not written.endswith("\n") and bool(written)
        for line in written.splitlines():
            try:
                cell = json.loads(line)
            except ValueError:
                continue
            self.cells[cell["key"]] = cell

    def measure(self, facts: dict[str, Any], work: Callable[[], Figures]) -> dict[str, Any]:
        """Give the cell of these facts, measured now if it has not been.

        Parameters
        ----------
        facts : dict
            All that the figures depend on: images, model, sets, device.
        work : callable
            Measures.

        Returns
        -------
        dict
            `figures`, and the `seconds` that they took.
        """
        told = json.dumps({"version": __version__, **facts}, sort_keys=True)
        key = hashlib.sha256(told.encode()).hexdigest()
        if key not in self.cells:
            start = time.perf_counter()
            figures = work()
            seconds = time.perf_counter() - start
            cell = {"key": key, "figures": figures, "seconds": round(seconds, 3)}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as stream:
                stream.write("\n" * self.break_first + json.dumps(cell) + "\n")
            self.break_first = False
            self.cells[key] = cell
            self.measured += 1
        return self.cells[key]
