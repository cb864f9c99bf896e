"""A screen without a monitor, for the tests that open a window; `from ... import display` brings the fixture."""

import os
import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def display():
    """Start a virtual screen of the test's own; gives the name for DISPLAY."""
    if shutil.which("Xvfb") is None:
        pytest.skip("no virtual screen: Xvfb is not installed")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1024x768x24", "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as numbers:
        name = numbers.readline().strip()
    yield f":{name}"
    server.terminate()
    server.wait(10)


def see_window(display, script, *words):
    """Run a Python script that opens a window on a screen; give what it prints behind `SEEN`."""
    finished = subprocess.run(
        [sys.executable, "-c", script, *words],
        env={**os.environ, "DISPLAY": display},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.rsplit("SEEN ", 1)[1].strip()
