"""The headless Scipion project that the tests of the plugin share."""

import os
from pathlib import Path

import pytest

# Before any test: whichever of them imports pyworkflow first, it finds the configuration.
from polardenoise.tests import scipion_project


@pytest.fixture(scope="module")
def module_project():
    """Go into the Scipion project for what a whole module shares; come back after its last test."""
    before = Path.cwd()
    project = scipion_project.get_project()
    os.chdir(project.path)
    yield project
    os.chdir(before)


@pytest.fixture
def project():
    """Go into the Scipion project that the tests of the protocols share; come back after the test."""
    before = Path.cwd()
    project = scipion_project.get_project()
    os.chdir(project.path)
    yield project
    os.chdir(before)
