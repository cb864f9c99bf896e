"""What a public host runs is there: its commands, its Pythons, its files; and the wheel that it keeps holds all."""

import importlib.util
import re
import subprocess
import sys
import zipfile

import pytest
import yaml

from tests.places import PACKAGE, REPOSITORY

WORKFLOW = REPOSITORY / ".github" / "workflows" / "tests.yml"
JOBS = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
COMMANDS = [step["run"].split() for step in STEPS if "run" in step]


def test_it_runs_lint_tests_and_the_wheel():
    said = [" ".join(words) for words in COMMANDS]
    assert {"make lint", "make test"} <= set(said)
    assert any(" pip wheel " in line for line in said)
    # Real data lie beside a developer's checkout only: what needs them is left out by its marker.
    assert "SHARED_DATA" not in WORKFLOW.read_text(encoding="utf-8")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_its_commands_are_there(words):
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        assert words[1] in targets
    else:
        assert words[:2] == [".venv/bin/python", "-m"]
        assert importlib.util.find_spec(words[2])


def test_its_pythons_are_those_that_the_package_names():
    setup = (REPOSITORY / "setup.py").read_text(encoding="utf-8")
    named = re.findall(r"Programming Language :: Python :: (3\.1[0-9])", setup)
    (job,) = JOBS.values()
    assert job["strategy"]["matrix"]["python"] == named
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert all(f"python{version}" in makefile for version in named)


def test_the_wheel_holds_modules_models_and_templates(tmp_path):
    """As the workflow builds it, but with the setuptools that are here: no test needs the network."""
    words = ["-q", "egg_info", "--egg-base", tmp_path, "bdist_wheel", "--dist-dir", tmp_path]
    subprocess.run(
        [sys.executable, "-W", "ignore", "setup.py", "build", "--build-base", tmp_path, *words],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    needed = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".j2", ".safetensors")]
    assert {str(path.relative_to(REPOSITORY)) for path in needed} <= held
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in held)
