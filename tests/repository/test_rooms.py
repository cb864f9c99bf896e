"""The rooms of the package: imports point down, each room says what it is, none is a hall, nothing names a machine."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.places import PACKAGE, REPOSITORY

ROOMS = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))
MOST_MODULES = 20

#: An import the wrong way: the file that gets it, the line, and the contract that it breaks.
WRONG_WAYS = [
    (
        "polardenoise/engine/imaging/ctf.py",
        "from polardenoise.engine.denoise import plan",
        "Rooms of the engine",
    ),
    (
        "polardenoise/engine/networks/layers.py",
        "from polardenoise.engine.particles import star",
        "Rooms of the engine",
    ),
    (
        "polardenoise/engine/simulate/phantoms.py",
        "from polardenoise.engine.networks import unet",
        "Simulation knows neither",
    ),
    (
        "polardenoise/engine/runtime/files.py",
        "import pyworkflow",
        "The engine imports nothing of Scipion",
    ),
    (
        "polardenoise/protocols/sources.py",
        "import torch",
        "The Scipion wing imports neither",
    ),
    (
        "polardenoise/convert/curves.py",
        "from polardenoise.engine.runtime import errors",
        "The Scipion wing imports neither",
    ),
    (
        "polardenoise/engine/train/run.py",
        "from benchmarks.common import tables",
        "The package imports neither",
    ),
    (
        "polardenoise/engine/new_room/__init__.py",
        '"""A room that stands in no layer."""',
        "Rooms of the engine",
    ),
]


def name_of(path):
    return str(path.relative_to(REPOSITORY))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Copy what lint-imports reads."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("polardenoise", "benchmarks", "tests"):
        ignore = shutil.ignore_patterns("__pycache__", "*.safetensors", "results", "pretrained")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignore)
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    return folder


def lint_imports(folder):
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-cache", "--no-logo"], cwd=folder, capture_output=True, text=True
    )


def test_imports_point_down(tree):
    finished = lint_imports(tree)
    assert finished.returncode == 0, finished.stdout
    assert "0 broken" in finished.stdout


@pytest.mark.parametrize(("file", "line", "contract"), WRONG_WAYS)
def test_an_import_the_wrong_way_breaks(tree, file, line, contract):
    path = tree / file
    before = path.read_text() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{before or ''}\n{line}\n")
    try:
        finished = lint_imports(tree)
    finally:
        if before is None:
            shutil.rmtree(path.parent)
        else:
            path.write_text(before)
    assert finished.returncode == 1, finished.stdout
    assert re.search(rf"^{contract}.*BROKEN", finished.stdout, re.MULTILINE) or (
        "new_room" in finished.stdout
    )


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_a_room_is_no_hall_and_says_what_it_is(room):
    modules = [path for path in room.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES
    assert ast.get_docstring(ast.parse((room / "__init__.py").read_text()))


def test_the_wheel_holds_the_package_and_no_test_of_the_engine():
    code = "import setuptools, distutils.core as core; print(*core.run_setup('setup.py', stop_after='init').packages)"
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    packages = set(finished.stdout.split())
    rooms = {".".join(room.relative_to(REPOSITORY).parts) for room in ROOMS}
    assert packages == rooms, finished.stderr
    assert "polardenoise.tests" in packages  # Scipion looks there


def test_every_room_of_the_engine_stands_in_contributing():
    text = (REPOSITORY / "CONTRIBUTING.rst").read_text()
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    for room in (path for path in ROOMS if path.parent == PACKAGE / "engine"):
        assert f"    {room.name}/ " in text, room.name
    assert " > ".join(layers) in " ".join(text.split())


def test_no_file_names_a_machine():
    """Provenance, cards and tables hold relative names: no home, no work folder, no temporary one."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a clone: no list of committed files")
    place = re.compile(rb"(?<![\w.~$}*-])/(?:work|root|home|tmp|Users|scratch)/")
    for name in filter(None, listed.decode().split("\0")):
        path = REPOSITORY / name
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" in content:
            continue
        found = place.search(content)
        assert not found, f"{name}: {content[found.start() :][:80]!r}" if found else ""
