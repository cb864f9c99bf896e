"""Scipion's project window in a process of its own, which is asked where things are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from screen import Screen

HERE = Path(__file__).resolve().parent


class Window:
    """Scipion's project window in a process of its own, and its probe."""

    def __init__(self, screen: Screen, project: str) -> None:
        # -O keeps Scipion in this process, as `python -O -m scipion project` does.
        command = [sys.executable, "-O", str(HERE / "gui.py"), project]
        self.process = subprocess.Popen(
            command,
            env=screen.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=open("gui.log", "w"),  # noqa: SIM115 - lives as long as the process
            text=True,
        )
        self.read()

    def ask(self, do: str, **command: Any) -> dict[str, Any]:
        """Send a command to the probe and return its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **command}) + "\n")
        self.process.stdin.flush()
        answer = self.read()
        if "error" in answer:
            raise RuntimeError(f"{do}: {answer['error']}")
        return answer

    def read(self) -> dict[str, Any]:
        """Return the next answer; other lines on standard output are Scipion's talk."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"the project window ended: {Path('gui.log').read_text()[-2000:]}")

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)
