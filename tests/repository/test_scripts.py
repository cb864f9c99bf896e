"""The scripts of the documentation run as they stand, each in a process of its own, as a reader would run them."""

import os
import re
import subprocess
import sys
import textwrap

import pytest

from polardenoise.tests import scipion_project
from tests.places import REPOSITORY

PAGE = REPOSITORY / "docs" / "scripts.rst"
BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?: {4}.*\n|\n)+)", re.MULTILINE)
MOST_LINES = 30


def list_scripts():
    """Give the scripts of the page: the one for Scipion, the one for the engine alone."""
    return [textwrap.dedent(text) for text in BLOCK.findall(PAGE.read_text(encoding="utf-8"))]


def run_script(text, folder, environment):
    (folder / "script.py").write_text(text)
    finished = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_each_is_short_and_there_are_two():
    scripts = list_scripts()
    assert len(scripts) == 2
    assert "pyworkflow" in scripts[0]
    assert "pyworkflow" not in scripts[1]
    for text in scripts:
        compile(text, "script", "exec")
        code = [line for line in text.splitlines() if line.strip()]
        assert len(code) <= MOST_LINES


def test_the_script_of_the_engine_runs(tmp_path):
    said = run_script(list_scripts()[1], tmp_path, {**os.environ, "OMP_NUM_THREADS": "1"})
    assert "100 particles, [50, 50] in the halves" in said
    before, after = map(float, re.search(r"error (\S+) before, (\S+) after", said).groups())
    assert after < 0.5 < 5 < before


@pytest.mark.long
def test_the_script_of_a_project_runs(tmp_path):
    environment = {**os.environ, **scipion_project.make_environment(tmp_path / "scipion")}
    said = run_script(list_scripts()[0], tmp_path, environment)
    lines = said.splitlines()
    assert any(line.startswith("100 particles, grouped by neighbours") for line in lines)
    assert sum(line.startswith("*Next*: ") for line in lines) == 2
