"""What the tests share: the data of the workplace and the programs that may not be there."""

import os
import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Find the folder of real structures and particles that is not part of the repository."""
    folder = Path(os.environ.get("POLARDENOISE_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there (POLARDENOISE_SHARED_DATA names it)")
    return folder


@pytest.fixture(scope="session")
def relion() -> Path:
    """Find the folder of RELION's programs."""
    program = shutil.which("relion_reconstruct")
    if program is None:
        pytest.skip("RELION is not installed: relion_reconstruct is not on PATH")
    return Path(program).parent


@pytest.fixture(scope="module")
def module_project():
    """Go into the Scipion project for what a whole module shares; come back after its last test."""
    from polardenoise.tests import scipion_project

    before = Path.cwd()
    project = scipion_project.get_project()
    os.chdir(project.path)
    yield project
    os.chdir(before)


@pytest.fixture
def project():
    """Go into the Scipion project that the tests of the protocols share; come back after the test."""
    from polardenoise.tests import scipion_project

    before = Path.cwd()
    project = scipion_project.get_project()
    os.chdir(project.path)
    yield project
    os.chdir(before)


def pytest_collection_modifyitems(items):
    """Give the marker `relion` to every test that asks for the fixture of that name."""
    for item in items:
        if "relion" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.relion)
