"""Input that is still arriving: what is there is denoised, and in the end all of it, once."""

import contextlib
import os

import numpy as np
import pytest

from polardenoise.tests import scipion_project

from pwem.objects import SetOfParticles  # isort: skip

from polardenoise.convert.chunks import read_chunks
from polardenoise.protocols.forms.denoise_form import GROUP_NEIGHBOURS
from polardenoise.tests.chunked_runs import (
    CHUNKS,
    check_items,
    get_uninterrupted,
    import_views,
    make_denoise,
    read_stacks,
    wait_until,
)

# Several launches each: minutes on a machine that is busy with other work.
pytestmark = [pytest.mark.usefixtures("project"), pytest.mark.timeout(900)]


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
