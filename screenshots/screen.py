"""A virtual screen: windows found, clicked and photographed."""

from __future__ import annotations

import ctypes.util
import io
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageChops

PROGRAMS = ("Xvfb", "xdotool", "import")
# Of Qt, in which Scipion's viewer of tables is written.
LIBRARIES = ("xcb-icccm", "xcb-keysyms", "xcb-xinerama")
PACKAGES = "xvfb xdotool imagemagick libxcb-icccm4 libxcb-keysyms1 libxcb-xinerama0"
SIZE = "1600x1300x24"
# Difference of neighbouring pixels that is an edge, grey levels of 255; pixels at edges in a picture of something.
EDGE, LEAST_EDGES = 30.0, 0.015
# Pictures of a window in a row that have to be the same.
SETTLED = 3
MOST_BYTES = 150_000

T = TypeVar("T")


def find_missing() -> list[str]:
    """List the programs that are needed and not on PATH, and the libraries that are not installed."""
    programs = [program for program in PROGRAMS if shutil.which(program) is None]
    return programs + [name for name in LIBRARIES if ctypes.util.find_library(name) is None]


def wait_for(ask: Callable[[], T | None], what: str, seconds: float) -> T:
    """Ask again and again until there is an answer.

    Parameters
    ----------
    ask : callable
        Gives the answer, or something false as long as there is none.
    what : str
        What is waited for, for the error.
    seconds : float
        How long at most.

    Raises
    ------
    TimeoutError
        If it did not come.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.2)
    raise TimeoutError(f"{what} did not come within {seconds:.0f} s")


class Screen:
    """An X server without a monitor; `with` ends it."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self.server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-screen", "0", SIZE, "-nolisten", "tcp"],
            pass_fds=[writing],
            stderr=subprocess.DEVNULL,
        )
        os.close(writing)
        with os.fdopen(reading) as numbers:
            self.name = ":" + numbers.readline().strip()
        if self.name == ":":
            raise RuntimeError("Xvfb did not start")
        self.environment = {**os.environ, "DISPLAY": self.name}

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *error: object) -> None:
        self.server.terminate()
        self.server.wait(10)

    def run(self, *command: str) -> bytes:
        """Run a program on this screen and return what it says; nothing where it fails."""
        finished = subprocess.run(
            command, env=self.environment, capture_output=True, timeout=30, check=False
        )
        return finished.stdout if finished.returncode == 0 else b""

    def find_windows(self, title: str) -> list[str]:
        """List the visible windows whose title matches a regular expression, the newest last."""
        found = self.run("xdotool", "search", "--onlyvisible", "--name", title)
        return found.decode().split()

    def wait_for_window(self, title: str, seconds: float = 60) -> str:
        """Wait until a window with this title is visible, and return its number."""
        return wait_for(lambda: self.find_windows(title), f"a window titled {title!r}", seconds)[-1]

    def wait_until_closed(self, title: str, seconds: float = 60) -> None:
        """Wait until no window has this title."""
        wait_for(lambda: not self.find_windows(title), f"the end of the window {title!r}", seconds)

    def click(self, x: int, y: int, times: int = 1, key: str = "") -> None:
        """Click with the left button, while a key is held down if one is named."""
        hold, release = (["keydown", key], ["keyup", key]) if key else ([], [])
        self.run("xdotool", "mousemove", str(x), str(y), *hold)
        self.run("xdotool", "click", "--repeat", str(times), "--delay", "80", "1", *release)

    def photograph(self, window: str, seconds: float = 60) -> Image.Image:
        """Take a picture of a window once several in a row are the same and show something.

        Raises
        ------
        TimeoutError
            If the window stays blank or keeps changing.
        """
        same: list[Image.Image] = []

        def take() -> Image.Image | None:
            self.run("xdotool", "windowraise", window)
            png = self.run("import", "-silent", "-window", window, "png:-")
            if not png:
                return None
            now = Image.open(io.BytesIO(png)).convert("RGB")
            if same and not are_equal(same[-1], now):
                same.clear()
            same.append(now)
            return now if len(same) >= SETTLED and not is_blank(now) else None

        return wait_for(take, f"a settled picture of window {window}", seconds)


def are_equal(one: Image.Image, other: Image.Image) -> bool:
    """Tell whether two pictures are the same."""
    return one.size == other.size and ImageChops.difference(one, other).getbbox() is None


def is_blank(picture: Image.Image) -> bool:
    """Tell whether a picture shows nothing: hardly an edge in it, as in a window that is not drawn yet."""
    grey = np.asarray(picture.convert("L"), dtype=float)
    edges = np.abs(np.diff(grey, axis=0))[:, 1:] + np.abs(np.diff(grey, axis=1))[1:]
    return float((edges > EDGE).mean()) < LEAST_EDGES


def save_small(picture: Image.Image, path: Path) -> int:
    """Save a picture as PNG, with as many colours as `MOST_BYTES` allow, chosen so that the rarest stays.

    What is drawn in colour is a thin line among thousands of greys: by their numbers alone it would become grey.

    Returns
    -------
    int
        Bytes of the file.

    Raises
    ------
    ValueError
        If it does not fit even with few colours and at half its size.
    """
    for scale in (1.0, 0.75, 0.5):
        size = (round(picture.width * scale), round(picture.height * scale))
        scaled = picture if scale == 1 else picture.resize(size, Image.Resampling.LANCZOS)
        for colours in (256, 64, 24):
            few = scaled.quantize(
                colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
            )
            few.save(path, optimize=True)
            if path.stat().st_size <= MOST_BYTES:
                return path.stat().st_size
    raise ValueError(f"{path} does not fit into {MOST_BYTES} bytes")
