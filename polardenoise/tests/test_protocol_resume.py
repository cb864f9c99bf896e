"""Runs that are killed: what is done stays done, and nothing is lost."""

import contextlib
import csv
import os
import signal

import psutil
import pytest

from polardenoise.tests import scipion_project

from polardenoise.protocols import ProtPolarTrain  # isort: skip
from polardenoise.protocols.run_settings import read_json  # isort: skip
from polardenoise.tests.chunked_runs import (
    PATIENCE,
    check_items,
    get_uninterrupted,
    import_views,
    make_denoise,
    read_stacks,
    wait_until,
)

# Several launches each: minutes on a machine that is busy with other work.
pytestmark = [pytest.mark.usefixtures("project"), pytest.mark.timeout(900)]

# A fast machine may finish before the kill arrives: then the next length is tried.
STEPS = (300, 1200, 4800)


@pytest.fixture(scope="module")
def warm_engine():
    """None: what is killed here is the program itself."""


def kill_when(condition, run):
    """Launch a run and kill it, with all that it started, as soon as a condition holds: no goodbye.

    Returns whether the kill came in time: a fast machine may have finished the run.
    """
    project = scipion_project.get_project()
    project.launchProtocol(run)
    wait_until(condition, run)
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(run.getPid())
        for process in [*parent.children(recursive=True), parent]:
            process.send_signal(signal.SIGKILL)
        parent.wait(PATIENCE)
    # As the project's window does when it finds that the process is gone.
    project._updateProtocol(run, checkPid=True)
    return not run.isFinished()


def has_kept_a_report(run):
    """Tell whether the checkpoint that follows the first report is written: what came after it is lost to a kill."""
    kept = read_json(run.getTrainingPath("resume", "state.json")) or {}
    return kept.get("step", 0) > 0 and os.path.exists(run.getTrainingPath("history.csv"))


def kill_training(steps):
    """Launch a training and kill it after its first report; returns the run and whether the kill came in time."""
    run = scipion_project.get_project().newProtocol(
        ProtPolarTrain,
        phantoms="1",
        preset=1,
        steps=steps,
        useGpu=False,
        numberOfThreads=1,
        binThreads=1,
    )
    killed = kill_when(lambda: run.workingDir.hasValue() and has_kept_a_report(run), run)
    return run, killed and read_history(run)[-1]["step"] < steps


def test_a_killed_training_goes_on_from_its_checkpoint(project):
    for steps in STEPS:
        run, in_time = kill_training(steps)
        if in_time:
            break
    assert in_time
    before = read_history(run)
    project.launchProtocol(run, wait=True)
    assert run.isFinished(), scipion_project.read_log(run)
    assert "--resume" in scipion_project.read_log(run)
    after = read_history(run)
    # What was reported before the kill still stands, nothing comes twice and nothing is missing.
    assert after[: len(before)] == before
    reported = [row["step"] for row in after]
    assert reported == sorted(set(reported))
    assert reported[-1] == steps
    assert len({row["images"] / row["step"] for row in after}) == 1
    assert run.readSummary("summary.json")["steps"] == steps


def read_history(run):
    with open(run.getTrainingPath("history.csv"), newline="") as file:
        return [{name: float(row[name]) for name in row} for row in csv.DictReader(file)]


def kill_denoise():
    """Launch a run and kill it in its second chunk; returns the run and whether the kill came in time."""
    run = make_denoise(import_views())
    killed = kill_when(
        lambda: (
            run.workingDir.hasValue()
            and os.path.exists(run.getChunkPath("particles.star", 2))
            and os.path.exists(run.getOutputSetPath())
        ),
        run,
    )
    return run, killed and not os.path.exists(run.getChunkPath("denoised.mrcs", 3))


def test_a_killed_denoise_goes_on_at_the_next_chunk(project):
    for _ in range(3):
        run, in_time = kill_denoise()
        if in_time:
            break
    assert in_time
    first = os.stat(run.getChunkPath("denoised.mrcs", 1)).st_mtime_ns
    project.launchProtocol(run, wait=True)
    assert run.isFinished(), scipion_project.read_log(run)
    assert os.stat(run.getChunkPath("denoised.mrcs", 1)).st_mtime_ns == first
    assert read_stacks(run) == read_stacks(get_uninterrupted())
    check_items(run)


def test_pressing_continue_on_a_finished_run_does_nothing(project):
    run = get_uninterrupted()
    times = [os.stat(run.getStarPath(number)).st_mtime_ns for number in (1, 2, 3)]
    project.launchProtocol(run, wait=True)
    assert run.isFinished()
    assert times == [os.stat(run.getStarPath(number)).st_mtime_ns for number in (1, 2, 3)]
    check_items(run)
