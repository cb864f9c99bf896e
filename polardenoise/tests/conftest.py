"""The headless Scipion project that the tests of the plugin share."""

import os
from pathlib import Path

import pytest

# Before any test: whichever of them imports pyworkflow first, it finds the configuration.
from polardenoise.tests import scipion_project

from pwem import Domain  # isort: skip

from polardenoise.constants import POLARDENOISE_ENV_ACTIVATION
from polardenoise.tests.fast_commands.warm_engine import start_warm_engine


@pytest.fixture(scope="module")
def warm_engine():
    """Name the warm engine to the runs that protocols start, as a facility names an environment of its own."""
    Domain.getPluginModule(
        "polardenoise"
    )  # reads its variables once: in this process they are none
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(POLARDENOISE_ENV_ACTIVATION, f"export PATH={start_warm_engine()}:$PATH")
        yield


@pytest.fixture(scope="module")
def module_project(warm_engine):
    """Go into the Scipion project for what a whole module shares; come back after its last test."""
    before = Path.cwd()
    project = scipion_project.get_project()
    os.chdir(project.path)
    yield project
    os.chdir(before)


@pytest.fixture
def project(warm_engine):
    """Go into the Scipion project that the tests of the protocols share; come back after the test."""
    before = Path.cwd()
    project = scipion_project.get_project()
    os.chdir(project.path)
    yield project
    os.chdir(before)
