"""Runs that are killed, and input that is still arriving: what is done stays done, and nothing is lost."""

import contextlib
import csv
import functools
import os
import signal
import time

import numpy as np
import psutil
import pytest

from polardenoise.tests import scipion_project

from pwem.objects import SetOfParticles  # isort: skip
from pwem.protocols import ProtImportParticles  # isort: skip

from polardenoise.convert.chunks import read_chunks
from polardenoise.protocols import ProtPolarDenoise, ProtPolarTrain
from polardenoise.protocols.forms.denoise_form import GROUP_RANDOM

# Several launches each: minutes on a machine that is busy with other work.
pytestmark = [pytest.mark.usefixtures("project"), pytest.mark.timeout(900)]

PATIENCE = 240  # seconds, on a busy machine
# The 64 particles in three chunks.
CHUNK, CHUNKS = 24, [22, 21, 21]
# A fast machine may finish before the kill arrives: then the next length is tried.
STEPS = (300, 1200, 4800)


def make_denoise(source, **params):
    """Make a run that denoises in chunks, one after another, with the tiny model."""
    settings = {
        "modelSource": 1,
        "setSize": 8,
        "particlesPerChunk": CHUNK,
        "grouping": GROUP_RANDOM,
    }
    threads = {"useGpu": False, "numberOfThreads": 1, "binThreads": 1}
    run = scipion_project.get_project().newProtocol(
        ProtPolarDenoise, **{**settings, **threads, **params}
    )
    scipion_project.set_input(run, "inputParticles", (source, "outputParticles"))
    scipion_project.set_input(run, "inputModel", (scipion_project.get_training(), "outputModel"))
    return run


@functools.lru_cache(maxsize=None)
def import_views():
    """Import the small particles: a run whose output the tests may make grow."""
    views = scipion_project.get_views()
    return scipion_project.run_protocol(
        scipion_project.get_project(),
        ProtImportParticles,
        importFrom=ProtImportParticles.IMPORT_FROM_RELION,
        starFile=os.path.abspath(views.getResultPath("particles.star")),
        samplingRate=views.outputParticles.getSamplingRate(),
    )


@functools.lru_cache(maxsize=None)
def get_uninterrupted():
    """Return the run that nothing disturbs."""
    run = make_denoise(import_views())
    scipion_project.get_project().launchProtocol(run, wait=True)
    assert run.isFinished(), scipion_project.read_log(run)
    return run


def read_stacks(run):
    """Return the bytes of the chunks' stacks."""
    chunks = read_chunks(run._getExtraPath())
    assert [len(chunk.ids) for chunk in chunks] == CHUNKS
    stacks = []
    for chunk in chunks:
        with open(run.getChunkPath("denoised.mrcs", chunk.number), "rb") as file:
            stacks.append(file.read())
    return stacks


def wait_until(condition, run):
    """Wait for something that a run does; fail with its log when it takes too long."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, scipion_project.read_log(run)
        time.sleep(0.1)


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


def kill_training(steps):
    """Launch a training and kill it at its first report; returns the run and whether the kill came in time."""
    run = scipion_project.get_project().newProtocol(
        ProtPolarTrain,
        phantoms="1",
        preset=1,
        steps=steps,
        useGpu=False,
        numberOfThreads=1,
        binThreads=1,
    )
    history = run.getTrainingPath
    killed = kill_when(
        lambda: run.workingDir.hasValue() and os.path.exists(history("history.csv")), run
    )
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


def check_items(run):
    """Every particle is in the closed output, once, with the pixels of the uninterrupted run."""
    output = run.outputParticles
    assert output.isStreamClosed()
    assert output.getSize() == sum(CHUNKS)
    ids = [item.getObjId() for item in output.iterItems()]
    assert ids == [item.getObjId() for item in import_views().outputParticles.iterItems()]
    expected = scipion_project.read_stack(get_uninterrupted().outputParticles)
    np.testing.assert_array_equal(scipion_project.read_stack(output), expected)


def test_pressing_continue_on_a_finished_run_does_nothing(project):
    run = get_uninterrupted()
    times = [os.stat(run.getStarPath(number)).st_mtime_ns for number in (1, 2, 3)]
    project.launchProtocol(run, wait=True)
    assert run.isFinished()
    assert times == [os.stat(run.getStarPath(number)).st_mtime_ns for number in (1, 2, 3)]
    check_items(run)


def test_particles_that_arrive_in_batches_are_denoised_once(project):
    """The output grows with the input and closes with it; the result is that of the whole set."""
    expected = get_uninterrupted()  # before its input is taken apart
    given = import_views().outputParticles
    items = [item.clone() for item in given.iterItems()]
    given.close()
    path = given.getFileName()
    os.rename(path, path + ".whole")
    parts = np.split(np.arange(len(items)), np.cumsum(CHUNKS)[:-1])

    def arrive(part, state):
        growing = SetOfParticles(filename=path)
        growing.enableAppend()
        growing.copyInfo(given)
        for row in part:
            growing.append(items[row].clone())
        growing.setStreamState(state)
        growing.write()
        growing.close()

    def count_done():
        if not os.path.exists(run.getOutputSetPath()):
            return 0
        done = SetOfParticles(filename=run.getOutputSetPath())
        size = done.getSize()
        done.close()
        return size

    arrive(parts[0], SetOfParticles.STREAM_OPEN)
    given.setStreamState(SetOfParticles.STREAM_OPEN)
    project.mapper.store(given)
    project.mapper.commit()
    # Two steps at once, in threads: as with two GPUs.
    run = make_denoise(import_views(), streamingBatch=16, numberOfThreads=3)
    try:
        project.launchProtocol(run)
        seen = []
        for number, part in enumerate(parts[1:], 1):
            wait_until(lambda: count_done() > (seen[-1] if seen else 0), run)
            seen.append(count_done())
            last = number == len(parts) - 1
            arrive(part, SetOfParticles.STREAM_CLOSED if last else SetOfParticles.STREAM_OPEN)

        def is_done():
            project._updateProtocol(run)
            return run.isFinished() or run.isFailed()

        wait_until(is_done, run)
        assert run.isFinished(), scipion_project.read_log(run)
        assert seen == [CHUNKS[0], CHUNKS[0] + CHUNKS[1]]
        log = scipion_project.read_log(run)
        with open(run.getStdoutLog()) as file:
            stdout = file.read()
        assert stdout.count("polardenoise.engine denoise") == len(CHUNKS), log
        assert read_stacks(run) == read_stacks(expected)
        check_items(run)
    finally:
        os.replace(path + ".whole", path)
        given.setStreamState(SetOfParticles.STREAM_CLOSED)
        project.mapper.store(given)
        project.mapper.commit()
