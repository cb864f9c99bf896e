"""A newcomer's first runs with the mouse alone: a protocol in the tree, its form untouched, *Execute*."""

import os
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.places import REPOSITORY

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

PROJECT = "clicks"
SIMULATE = "polardenoise - simulate particles"
DENOISE = "polardenoise - denoise particles"
RECONSTRUCT = "polardenoise - reconstruct"
MODULES = ("clicks", "screen", "window")


@pytest.fixture
def clicks(monkeypatch):
    """What makes clicks, and the screen for them."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "screenshots"))
    import clicks

    missing = sys.modules["screen"].find_missing_programs()
    if missing:
        pytest.skip(f"no screen to click on: {', '.join(missing)} not installed")
    yield clicks
    for name in MODULES:
        del sys.modules[name]


@pytest.fixture
def project():
    """An empty project; the working directory is its folder."""
    from polardenoise.tests import scipion_project  # noqa: F401 - Scipion's folders

    from pyworkflow.project import Manager  # isort: skip

    before = Path.cwd()
    made = Manager().createProject(PROJECT)
    os.chdir(made.path)
    yield made
    os.chdir(before)


@pytest.fixture
def opened(clicks, project):
    """The project's window on a screen of its own, as large as the screen."""
    with clicks.Screen() as screen:
        window = clicks.Window(screen, PROJECT)
        try:
            clicks.raise_project(screen, PROJECT)
            window.ask("arrange", width=1580, height=1000, tree=450)
            yield window, screen
        finally:
            window.close()


def execute(clicks, opened, name):
    """Open a protocol from the tree and press *Execute*; return what its form had in its inputs."""
    window, screen = opened
    clicks.raise_project(screen, PROJECT)
    clicks.open_protocol(window, screen, name)
    inputs = window.ask("inputs")
    clicks.execute_form(window, screen, f"{name}$")
    return inputs


def check_next(run):
    """A run says in its summary what to do next."""
    assert any(line.startswith("*Next*: ") for line in run.summary())


def test_simulate_denoise_reconstruct_by_the_mouse(clicks, project, opened):
    """Forms take their input from the run that was clicked last; nothing else is chosen."""
    window, screen = opened
    assert execute(clicks, opened, "ProtPolarSimulate") == {}
    simulated = clicks.wait_until_finished(project, SIMULATE, 300)
    check_next(simulated)
    noisy = f"{simulated.strId()}.outputParticles"

    clicks.select_run(window, screen, SIMULATE)
    assert execute(clicks, opened, "ProtPolarDenoise") == {"inputParticles": noisy}
    denoised = clicks.wait_until_finished(project, DENOISE, 900)
    check_next(denoised)
    assert denoised.outputParticles.getSize() == simulated.outputParticles.getSize() == 1000
    assert denoised.outputClasses.getSize() > 1
    index, path = denoised.outputParticles.getFirstItem().getLocation()
    with mrcfile.mmap(path) as stack:
        assert np.isfinite(stack.data[index - 1]).all()
        assert stack.data[index - 1].std() > 0

    clicks.select_run(window, screen, SIMULATE)
    assert execute(clicks, opened, "ProtPolarReconstruct") == {"inputParticles": noisy}
    map_run = clicks.wait_until_finished(project, RECONSTRUCT, 300)
    check_next(map_run)

    # The form of *evaluate* gets the denoised images twice; it says so, and nothing is run.
    clicks.select_run(window, screen, DENOISE)
    clicks.open_protocol(window, screen, "ProtPolarEvaluate")
    given = f"{denoised.strId()}.outputParticles"
    assert window.ask("inputs") == {"inputParticles": given, "referenceParticles": given}
    clicks.click_execute(window, screen)
    screen.wait_for_window("^Info$")
    assert len(project.getRuns(refresh=True)) == 3
