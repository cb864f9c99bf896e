"""The steps of a run that works through its particles chunk by chunk, while they may still arrive."""

import glob
import json
import os

import numpy as np
from pyworkflow.protocol import STATUS_NEW
from pyworkflow.utils import cleanPath

from polardenoise.convert.chunks import (
    Chunk,
    cut_final_ids,
    cut_ids,
    find_first_final,
    list_enabled_ids,
    open_fresh,
    read_chunks,
    write_chunk,
)

# Hidden ones are what the engine had not finished when it was killed.
CHUNK_FILES = (
    "ids_*.npy",
    "particles*.star",
    "denoised*",
    ".denoised*",
    "summary*.json",
    "matches*.npz",
    "report*",
)


class ChunkSteps:
    """Insert the steps of every chunk, those of a growing input as it grows; mixed into the protocol.

    Scipion compares the steps of a run that is continued by their places. So the step that closes the
    output, which runs last, stands first: two steps for every chunk follow it, in the order in which
    chunks were cut, and keep their places however many more come.

    The protocol brings `denoiseStep`, `addToOutputStep` and `closeOutputStep`.
    """

    def _insertAllSteps(self):
        config = self.getConfiguration()
        self.rememberSettings(config)
        self._config = config
        self._insertFunctionStep(
            self.closeOutputStep, config, [], prerequisites=[], wait=True, needsGPU=False
        )
        self._chunks = []
        for chunk in self.readValidChunks():
            self.insertChunkSteps(chunk)
        self.insertNewChunks()
        if not self._chunks and self.isClosing():
            raise RuntimeError("The input set has no enabled particle.")

    def _stepsCheck(self):
        """Look for particles that have arrived; Scipion asks every few seconds."""
        if self.isClosing():
            return
        if self.insertNewChunks():
            self.updateSteps()

    def insertChunkSteps(self, chunk):
        """Insert the two steps of a chunk: they wait for no other chunk."""
        self._chunks.append(chunk)
        arguments = (self._config, chunk.number, chunk.digest)
        denoised = self._insertFunctionStep(
            self.denoiseStep, *arguments, prerequisites=[], needsGPU=self.usesGpu()
        )
        self._insertFunctionStep(
            self.addToOutputStep, *arguments, prerequisites=[denoised], needsGPU=False
        )

    def insertNewChunks(self):
        """Cut what has arrived into chunks and insert their steps; the last one when all are there.

        Returns
        -------
        bool
            True if the steps have changed.
        """
        particles = open_fresh(self.inputParticles.get())
        complete = particles.isStreamClosed()  # asked first: none can come between
        ids = list_enabled_ids(particles)
        particles.close()
        size = self.particlesPerChunk.get()
        if complete:
            parts = cut_final_ids(self._chunks, ids, size)
        else:
            if self._chunks:
                ids = np.setdiff1d(ids, np.concatenate([chunk.ids for chunk in self._chunks]))
            parts = cut_ids(ids, size, False, self.streamingBatch.get())
        for part in parts:
            chunk = Chunk(len(self._chunks) + 1, part)
            write_chunk(self._getExtraPath(), chunk)
            self.insertChunkSteps(chunk)
        if complete:
            self.releaseClosingStep()
        return complete or bool(parts)

    def releaseClosingStep(self):
        """Let the last step run after all chunks, whose ids are among its arguments from now on."""
        step = self._steps[0]
        step._args = (self._config, [chunk.digest for chunk in self._chunks])
        step.argsStr.set(json.dumps(step._args))
        # Steps count from 1: 1 closes, 2 and 3 are the first chunk's.
        step.setPrerequisites(*range(3, len(self._steps) + 1, 2))
        step.setStatus(STATUS_NEW)

    def isClosing(self):
        """Tell whether all chunks are known."""
        return not self._steps[0].isWaiting()

    def readValidChunks(self):
        """Read the chunks of an earlier start; none where the input has lost particles since."""
        chunks = read_chunks(self._getExtraPath())
        particles = open_fresh(self.inputParticles.get())
        ids = list_enabled_ids(particles)
        particles.close()
        if all(np.isin(chunk.ids, ids).all() for chunk in chunks):
            return chunks
        self.info("Particles of the input are gone or disabled: all is denoised again.")
        self.dropOutputs()
        self.cleanResults()
        return []

    def readChunk(self, number, digest):
        """Read a chunk that a step names, and see that it is the one."""
        chunk = read_chunks(self._getExtraPath())[number - 1]
        if chunk.digest != digest:
            raise RuntimeError(f"Chunk {number} is not the one that was cut: restart the run.")
        return chunk

    def cleanResults(self):
        """Remove all chunks and the output set's file."""
        for pattern in CHUNK_FILES:
            for path in glob.glob(glob.escape(self._getExtraPath()) + "/" + pattern):
                cleanPath(path)
        for path in (self.getOutputSetPath(), self.getOutputSetPath() + "-journal"):
            cleanPath(path)

    def readFinalChunks(self):
        """Read the chunks that count: the final ones where the set was cut once more, else all.

        Returns
        -------
        tuple of list of Chunk and bool
            Whether there are others, whose particles are denoised once more.
        """
        chunks = read_chunks(self._getExtraPath())
        first = find_first_final(chunks)
        return chunks[first:], first > 0

    def readShownChunks(self):
        """Read the chunks to be shown: the final ones as soon as all of them are done."""
        final, again = self.readFinalChunks()
        done = all(os.path.exists(self.getChunkPath("summary.json", one.number)) for one in final)
        if done or not again:
            return final
        return read_chunks(self._getExtraPath())[: final[0].number - 1]

    def getChunkPath(self, name, number):
        """Return a file of a chunk in `extra/`; that of the first has the plain name."""
        stem, ending = os.path.splitext(name)
        return self._getExtraPath(name if number == 1 else f"{stem}_{number:05d}{ending}")
