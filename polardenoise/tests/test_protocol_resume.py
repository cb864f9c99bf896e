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
from polardenoise.protocols.forms.denoise_form import GROUP_NEIGHBOURS, GROUP_RANDOM

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


@contextlib.contextmanager
def growing_input(project, parts):
    """Take the imported particles apart, with the first part there; gives what lets the next part arrive."""
    given = import_views().outputParticles
    items = [item.clone() for item in given.iterItems()]
    given.close()
    path = given.getFileName()
    os.rename(path, path + ".whole")
    waiting = list(np.split(np.arange(len(items)), np.cumsum(parts)[:-1]))

    def arrive():
        growing = SetOfParticles(filename=path)
        growing.enableAppend()
        growing.copyInfo(given)
        for row in waiting.pop(0):
            growing.append(items[row].clone())
        growing.setStreamState(
            SetOfParticles.STREAM_OPEN if waiting else SetOfParticles.STREAM_CLOSED
        )
        growing.write()
        growing.close()

    def tell_project(state):
        given.setStreamState(state)
        project.mapper.store(given)
        project.mapper.commit()

    arrive()
    tell_project(SetOfParticles.STREAM_OPEN)
    try:
        yield arrive
    finally:
        os.replace(path + ".whole", path)
        tell_project(SetOfParticles.STREAM_CLOSED)


def count_done(run):
    """Count the particles of the output, as far as it is."""
    if not os.path.exists(run.getOutputSetPath()):
        return 0
    done = SetOfParticles(filename=run.getOutputSetPath())
    size = done.getSize()
    done.close()
    return size


def wait_for_end(project, run):
    """Wait until a run has ended, and see that it ended well."""

    def is_done():
        project._updateProtocol(run)
        return run.isFinished() or run.isFailed()

    wait_until(is_done, run)
    assert run.isFinished(), scipion_project.read_log(run)


def count_engine_runs(run):
    """Count how often the engine was called."""
    with open(run.getStdoutLog()) as file:
        return file.read().count("polardenoise.engine denoise")


def test_particles_that_arrive_in_batches_are_denoised_once(project):
    """Batches that are the chunks of the whole set: the output grows with the input and closes with it."""
    expected = get_uninterrupted()  # before its input is taken apart
    with growing_input(project, CHUNKS) as arrive:
        # Two steps at once, in threads: as with two GPUs.
        run = make_denoise(import_views(), streamingBatch=16, numberOfThreads=3)
        project.launchProtocol(run)
        seen = []
        for _ in CHUNKS[1:]:
            wait_until(lambda: count_done(run) > (seen[-1] if seen else 0), run)
            seen.append(count_done(run))
            arrive()
        wait_for_end(project, run)
        assert seen == [CHUNKS[0], CHUNKS[0] + CHUNKS[1]]
        assert count_engine_runs(run) == len(CHUNKS)
        assert read_stacks(run) == read_stacks(expected)
        check_items(run)


def describe_result(run):
    """Give what a run of one chunk has made: pixels, scores, and which particles are in which class."""
    (chunk,), _ = run.readFinalChunks()
    with open(run.getChunkPath("denoised.mrcs", chunk.number), "rb") as file:
        pixels = file.read()
    scores = [
        (item.getObjId(), item.getIndex(), item._polardenoiseScore.get())
        for item in run.outputParticles.iterItems()
    ]
    classes = [sorted(item.getObjId() for item in one) for one in run.outputClasses.iterItems()]
    with open(run._getExtraPath("averages.mrcs"), "rb") as file:
        averages = file.read()
    return pixels, scores, classes, averages


def test_streamed_in_five_batches_the_result_is_that_of_one_run(project):
    """What was denoised among the few that had arrived is denoised once more among all, to the byte."""
    options = {"particlesPerChunk": 100, "grouping": GROUP_NEIGHBOURS, "makeClasses": True}
    whole = make_denoise(import_views(), **options)
    project.launchProtocol(whole, wait=True)
    assert whole.isFinished(), scipion_project.read_log(whole)
    with growing_input(project, [16, 16, 16, 8, 8]) as arrive:
        run = make_denoise(import_views(), streamingBatch=16, numberOfThreads=3, **options)
        project.launchProtocol(run)
        for expected in (16, 32, 48):
            wait_until(lambda expected=expected: count_done(run) == expected, run)
            arrive()
        arrive()
        wait_for_end(project, run)
        chunks = read_chunks(run._getExtraPath())
        assert [len(chunk.ids) for chunk in chunks[:3]] == [16, 16, 16]
        assert len(chunks[-1].ids) == sum(CHUNKS)
        assert count_engine_runs(run) == len(chunks)
        assert describe_result(run) == describe_result(whole)
        assert run.outputParticles.isStreamClosed()
        # Scipion's window speaks of the run over all, and so does the page of the report.
        assert "64 particles" in " ".join(run.summary())
        assert [one.number for one in run.readShownChunks()] == [len(chunks)]
        # Pressing Continue does nothing.
        written = os.stat(run.getStarPath(len(chunks))).st_mtime_ns
        project.launchProtocol(run, wait=True)
        assert os.stat(run.getStarPath(len(chunks))).st_mtime_ns == written
        assert describe_result(run) == describe_result(whole)
