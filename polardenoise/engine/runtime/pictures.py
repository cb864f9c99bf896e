"""Matplotlib as the command line uses it: canvases of Agg only, and nothing of what others have set for it."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from polardenoise.engine.runtime.files import replace_when_complete
from polardenoise.engine.runtime.running_command import name_maker

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Dots an inch of a picture in a file.
RESOLUTION = 120


def make_figure(width: float, height: float) -> Figure:
    """Make a figure, inches, with a canvas of its own: pyplot would keep global state and ask for a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path | str) -> None:
    """Save a figure, whole or not at all; the ending of the path chooses the format. It says what made it."""
    facts = state_maker(Path(path).suffix.lower().removeprefix("."))
    with replace_when_complete(path) as temporary:
        figure.savefig(temporary, dpi=RESOLUTION, metadata=facts)


def state_maker(kind: str) -> dict[str, str | None]:
    """State in the metadata of a picture of a kind, such as "png", what made it; no time, so that its bytes stay."""
    if kind == "png":
        return {"Software": name_maker()}
    dates = {"pdf": "CreationDate", "svg": "Date"}
    return {"Creator": name_maker(), dates[kind]: None} if kind in dates else {}


def load_matplotlib() -> None:
    """Import matplotlib with its own settings, before there are threads; once imported, it is left as it is.

    A `matplotlibrc` of the working directory goes before all others, whatever the environment says: it is imported from
    within the folder of matplotlib's own.
    """
    if "matplotlib" in sys.modules:
        return
    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        return  # whoever draws says so
    # It tells where it keeps its fonts, and that it has to look for them.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    before = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "Agg"
    try:
        with inside(Path(found.origin).parent / "mpl-data"):
            importlib.import_module("matplotlib")
    finally:
        if before is None:
            del os.environ["MPLBACKEND"]
        else:
            os.environ["MPLBACKEND"] = before


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work inside a folder for a moment; where one cannot come back from it, it is not entered."""
    try:
        here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        os.chdir(folder)
        try:
            yield
        finally:
            os.fchdir(here)
    finally:
        os.close(here)
