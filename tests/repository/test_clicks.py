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
SELECT = "polardenoise - select particles"
MODULES = ("clicks", "empty_boxes", "screen", "window")
# Of the set that is cleaned: particles, those of them that are empty boxes, and views.
PARTICLES, EMPTY, VIEWS = 400, 40, 6


@pytest.fixture
def clicks(monkeypatch):
    """What makes clicks, and the screen for them."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "screenshots"))
    import clicks

    missing = sys.modules["screen"].find_missing()
    if missing:
        pytest.skip(f"no screen to click on: {', '.join(missing)} not installed")
    yield clicks
    for name in MODULES:
        sys.modules.pop(name, None)


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
    Manager().deleteProject(PROJECT)


@pytest.fixture
def with_junk(clicks, project):
    """A finished simulation, some of whose images show nothing, and the ids of these."""
    from empty_boxes import empty_last_boxes

    from polardenoise.protocols import ProtPolarSimulate
    from polardenoise.tests.scipion_project import run_protocol

    sizes = {"numberOfParticles": PARTICLES, "views": VIEWS, "snr": 0.1, "numberOfThreads": 1}
    run = run_protocol(project, ProtPolarSimulate, label=SIMULATE, **sizes)
    return run, empty_last_boxes(run.outputParticles, EMPTY)


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
    assert len(clicks.read_runs(project)) == 3


def check_raw(selected, raw, ids):
    """These particles of the raw set and no others, every attribute and pixel as it was."""
    from polardenoise.tests.known_particles import differ, read_items
    from polardenoise.tests.scipion_project import check_set_facts, read_stack

    before, after = read_items(raw), read_items(selected)
    assert sorted(after) == sorted(ids)
    assert selected.getSize() == len(ids)
    for number, attributes in after.items():
        assert set(attributes) == set(before[number])
        for name, value in before[number].items():
            assert not differ(value, attributes[name]), (number, name)
    check_set_facts(raw, selected)
    rows = [place for place, number in enumerate(sorted(before)) if number in after]
    np.testing.assert_array_equal(read_stack(selected), read_stack(raw)[rows])


def test_denoise_and_select_clean_raw_particles_by_the_mouse(clicks, project, with_junk, opened):
    """By the score that the wand proposes, then by classes picked in Scipion's viewer."""
    window, screen = opened
    simulated, empty = with_junk
    raw = simulated.outputParticles

    clicks.select_run(window, screen, SIMULATE)
    execute(clicks, opened, "ProtPolarDenoise")
    denoised = clicks.wait_until_finished(project, DENOISE, 900)
    score = {
        item.getObjId(): item._polardenoiseScore.get()
        for item in denoised.outputParticles.iterItems()
    }
    given = f"{denoised.strId()}.outputParticles"

    clicks.select_run(window, screen, DENOISE)
    clicks.open_protocol(window, screen, "ProtPolarSelect")
    assert window.ask("inputs") == {"inputParticles": given}
    clicks.answer_question(window, screen, "useMinScore", "Yes")
    proposed = float(clicks.click_wand(window, screen, "minScore"))
    assert proposed == denoised.getProposedScore()
    clicks.execute_form(window, screen, "ProtPolarSelect$")
    by_score = clicks.wait_until_finished(project, SELECT, 120)
    check_next(by_score)
    kept = {number for number, one in score.items() if one >= proposed}
    check_raw(by_score.outputParticles, raw, kept)
    assert by_score.summary()[0].startswith(f"*{len(kept)} of {PARTICLES}* raw particles kept: ")
    assert len(kept & empty) <= EMPTY / 10
    assert len(kept - empty) >= 0.95 * (PARTICLES - EMPTY)

    # Scipion fills in all classes of the run that is selected; the form says how to pick, and nothing is run.
    clicks.raise_project(screen, PROJECT)
    clicks.select_run(window, screen, DENOISE)
    clicks.open_protocol(window, screen, "ProtPolarSelect")
    clicks.answer_question(window, screen, "usePickedClasses", "Yes")
    assert window.ask("inputs")["pickedClasses"] == f"{denoised.strId()}.outputClasses"
    clicks.click_execute(window, screen)
    screen.wait_for_window("^Info$")
    assert len(clicks.read_runs(project)) == 3
    window.ask("close_forms")
    screen.wait_until_closed("ProtPolarSelect$")

    clicks.raise_project(screen, PROJECT)
    clicks.select_run(window, screen, DENOISE)
    clicks.open_gallery(window, screen, "outputClasses")
    clicks.pick_items(window, screen, [1, 2, 3])
    clicks.make_subset(window, screen, "Class2D")
    subset = clicks.wait_until_finished(project, clicks.SUBSET, 120)
    assert subset.outputClasses2D.getSize() == 3

    clicks.raise_project(screen, PROJECT)
    clicks.select_run(window, screen, clicks.SUBSET)
    clicks.open_protocol(window, screen, "ProtPolarSelect")
    clicks.answer_question(window, screen, "usePickedClasses", "Yes")
    clicks.choose_input(window, screen, "inputParticles", f"{DENOISE}.outputParticles")
    picked = f"{subset.strId()}.outputClasses2D"
    assert window.ask("inputs") == {"inputParticles": given, "pickedClasses": picked}
    clicks.execute_form(window, screen, "ProtPolarSelect$")
    by_classes = clicks.wait_until_finished(project, f"{SELECT} (2)", 120)
    check_next(by_classes)
    in_classes = {
        item.getObjId()
        for number in (1, 2, 3)
        for item in denoised.outputClasses[number].iterItems()
    }
    assert 0 < len(in_classes) < PARTICLES
    check_raw(by_classes.outputParticles, raw, in_classes)
