"""Run the cases that lie beside the real data: small sets with a command each, and what is right."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from polardenoise.tests.fast_commands.warm_engine import start_warm_engine


@dataclass(frozen=True)
class Case:
    """What came of a case: its folder, exit code and all that it said."""

    folder: Path
    code: int
    said: str

    def warnings(self):
        """Give the lines of warning of the summaries."""
        return [line for line in self.said.splitlines() if line.startswith("WARNING: ")]


def run_case(shared_data, name, folder):
    """Run a copy of a case in a folder."""
    copy = folder / name
    shutil.copytree(shared_data.parent / "cases" / name, copy)
    environment = {
        **os.environ,
        "POLARDENOISE": f"{start_warm_engine()}/python -m polardenoise.engine",
        "PYTHON": sys.executable,
        "OMP_NUM_THREADS": "1",
    }
    run = subprocess.run(
        ["sh", "cmd.sh"], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    return Case(copy, run.returncode, run.stdout + run.stderr)
