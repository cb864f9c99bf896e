"""Runs of `denoise particles` in chunks, on particles that the tests may make grow; what they all have to give."""

import functools
import os
import time

import numpy as np

from polardenoise.tests import scipion_project

from pwem.protocols import ProtImportParticles  # isort: skip

from polardenoise.convert.chunks import read_chunks
from polardenoise.protocols import ProtPolarDenoise
from polardenoise.protocols.forms.denoise_form import GROUP_RANDOM

PATIENCE = 240  # seconds, on a busy machine
# The 64 particles in three chunks.
CHUNK, CHUNKS = 24, [22, 21, 21]


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


def check_items(run):
    """Every particle is in the closed output, once, with the pixels of the uninterrupted run."""
    output = run.outputParticles
    assert output.isStreamClosed()
    assert output.getSize() == sum(CHUNKS)
    ids = [item.getObjId() for item in output.iterItems()]
    assert ids == [item.getObjId() for item in import_views().outputParticles.iterItems()]
    expected = scipion_project.read_stack(get_uninterrupted().outputParticles)
    np.testing.assert_array_equal(scipion_project.read_stack(output), expected)
