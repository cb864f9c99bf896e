"""Protocol: denoise a set of particles jointly."""

import os
from enum import Enum

import pyworkflow.protocol.params as params
from pwem.objects import SetOfAverages, SetOfClasses2D, SetOfParticles
from pwem.protocols import ProtProcessParticles
from pyworkflow.constants import BETA
from pyworkflow.object import Set
from pyworkflow.protocol import STEPS_PARALLEL
from pyworkflow.utils import cleanPath

from polardenoise.architectures import ARCHITECTURES, is_joint
from polardenoise.convert.chunks import iter_chunk, open_fresh
from polardenoise.convert.classes import fill_averages, fill_classes, write_averages
from polardenoise.convert.convert import read_denoised_rows, write_particles_star
from polardenoise.convert.denoised_set import PixelsReplaced, add_denoised_chunk, open_denoised_set
from polardenoise.convert.matches_file import join_matches, read_matches
from polardenoise.convert.particle_columns import get_group_label
from polardenoise.convert.star_loops import read_loop
from polardenoise.protocols.chunk_steps import ChunkSteps
from polardenoise.protocols.denoise_summary import DenoiseSummary
from polardenoise.protocols.engine_runner import EngineRunner
from polardenoise.protocols.forms.denoise_form import (
    CONTRAST_CHOICES,
    DEFAULT_SET_SIZE,
    GROUP_ATTRIBUTE,
    GROUP_CLASS,
    GROUP_NEIGHBOURS,
    DenoiseForm,
)

PIXEL_SIZE_TOLERANCE = 1e-4


class DenoiseOutputs(Enum):
    """What the protocol gives; classes and averages where neighbours were found."""

    outputParticles = SetOfParticles
    outputClasses = SetOfClasses2D
    outputAverages = SetOfAverages


class ProtPolarDenoise(ChunkSteps, DenoiseForm, DenoiseSummary, EngineRunner, ProtProcessParticles):
    """Denoise a set of particles jointly, every attribute kept.

    Each image is compared with others of its half at every in-plane rotation and gathers what they
    know about it (polar transformer). The output is the same set with denoised pixels: CTF,
    alignment, coordinates, micrographs, optics groups and random halves are the input's.

    Denoised images are for looking, cleaning, classifying, initial models and alignment.
    Reconstruct the final map from the raw particles at the poses found here.

    The input may still be growing (streaming): what has arrived is denoised, and the output grows.
    """

    _label = "denoise particles"
    _devStatus = BETA
    _possibleOutputs = DenoiseOutputs
    stepsExecutionMode = STEPS_PARALLEL

    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam(
            "inputParticles",
            params.PointerParam,
            pointerClass="SetOfParticles",
            important=True,
            label="Input particles",
            help="Raw particles, with CTF where the data have one. Alignment, classes and coordinates "
            "are not needed; what is there is kept.",
        )
        self._defineProcessParams(form)
        self.defineParallelParams(form, steps_at_once=1)

    # --------------------------- steps (their order: chunk_steps) ----------------------------
    def getConfiguration(self):
        """Return all that the result depends on, for the arguments of every step."""
        return {
            # Not its size: an input that has grown has more chunks, and those that are done stay.
            "particles": self.describeInput(self.inputParticles)[:2],
            "model": self.getModel(),
            "modelHash": self.getModelHash(),
            "setSize": self.setSize.get(),
            "group": self.getGrouping(),
            "ctfState": self.getCtfState(),
            "ctfOutput": self.getEnumText("ctfOutput"),
            "outputBox": self.getEnumText("outputBox"),
            "ignoreHalves": self.ignoreHalves.get(),
            "contrast": CONTRAST_CHOICES[self.contrast.get()],
            "chunk": self.particlesPerChunk.get(),
            "classes": self.findsClasses(),
            "seed": self.seed.get(),
        }

    def denoiseStep(self, config, number, digest):
        """Write one chunk as the STAR file that the engine reads, and run the engine on it."""
        chunk = self.readChunk(number, digest)
        particles = open_fresh(self.inputParticles.get())
        given, star = self.getChunkPath("particles.star", number), self.getStarPath(number)
        write_particles_star(
            particles,
            given,
            self._getTmpPath(f"stacks_{number}"),
            self.getGroupAttribute(),
            iter_chunk(particles, chunk.ids),
        )
        particles.close()
        summary = self.getChunkPath("summary.json", number)
        # Goes on where a chunk that was killed had come to, and starts where none was begun.
        arguments = [given, "-o", star, "--resume", *self.getEngineOptions(config)]
        arguments += ["--report", self.getChunkPath("report", number)]
        results = [star, self.getChunkPath("denoised.mrcs", number), summary]
        results.append(self.getReportPath(number))
        if config["classes"]:
            results.append(self.getChunkPath("matches.npz", number))
            arguments += ["--matches", results[-1]]
        else:
            arguments += ["--class-count", 0]
        self.runEngine("denoise", arguments, summary, uses_device=True)
        return results

    def getEngineOptions(self, config):
        """Return the engine's options that are the same for every chunk."""
        group = config["group"]
        words = ["--model", config["model"]]
        if config["setSize"] != DEFAULT_SET_SIZE:  # else a model that was adapted says how many
            words += ["--set-size", config["setSize"]]
        words += ["--group-by", get_group_label(group) if group.startswith("_") else group]
        words += ["--ctf-output", config["ctfOutput"], "--ctf-state", config["ctfState"]]
        words += ["--contrast", config["contrast"], "--seed", config["seed"]]
        if config["outputBox"] != "original":
            words += ["--output-box", config["outputBox"]]
        if config["ignoreHalves"]:
            words.append("--ignore-halves")
        return words

    def addToOutputStep(self, config, number, digest):
        """Add one chunk's items, with the denoised pixels, to the output; final ones wait for the last step."""
        chunk = self.readChunk(number, digest)
        final, again = self.readFinalChunks()
        path = self.getOutputSetPath()
        if again and number >= final[0].number:
            return []
        name = DenoiseOutputs.outputParticles.name
        with self._lock:
            denoised = self.addChunk(config, chunk, path, self._createSetOfParticles)
            first = not hasattr(self, name)
            self._updateOutputSet(name, denoised, Set.STREAM_OPEN)
            if first:
                self._defineTransformRelation(self.inputParticles, getattr(self, name))
        return [path]

    def addChunk(self, config, chunk, path, create):
        """Add one chunk's items to the set in a file, which `create` begins, and return the open set."""
        star = self.getStarPath(chunk.number)
        scores = None
        if config["classes"]:
            matches = read_matches(self.getChunkPath("matches.npz", chunk.number), chunk.ids)
            scores = dict(zip(matches.ids.tolist(), matches.score.astype(float).tolist()))
        pixel_size = self.readChangedPixelSize(star)
        replace = PixelsReplaced(read_denoised_rows(star), config["model"], scores, pixel_size)
        corrected = config["ctfOutput"] == "corrected"
        given = self.inputParticles.get()
        particles = open_fresh(given)
        denoised = open_denoised_set(path, given, create, corrected, pixel_size)
        add_denoised_chunk(denoised, particles, chunk.ids, replace)
        particles.close()
        return denoised

    def closeOutputStep(self, config, digests):
        """Give classes and averages, and close the output: no more will come.

        Where all was denoised once more when it had arrived, the output is made anew.
        """
        final, again = self.readFinalChunks()
        if [one.digest for one in final] != list(digests[len(digests) - len(final) :]):
            raise RuntimeError("The chunks are not those that were cut: restart the run.")
        if again:
            self.replaceItems(config, final)
        if config["classes"]:
            self.createClasses(final)
        name = DenoiseOutputs.outputParticles.name
        denoised = SetOfParticles(filename=self.getOutputSetPath())
        denoised.loadAllProperties()
        self._updateOutputSet(name, denoised, Set.STREAM_CLOSED)

    def replaceItems(self, config, chunks):
        """Put the set of some chunks, which hold all particles, in the place of the output set's file."""
        path = self._getPath("particles_final.sqlite")
        for leftover in (path, path + "-journal"):
            cleanPath(leftover)
        for chunk in chunks:
            denoised = self.addChunk(config, chunk, path, lambda: SetOfParticles(filename=path))
            denoised.setStreamState(Set.STREAM_OPEN)
            # A set remembers the name of its file, which is going to be another.
            denoised._mapperPath.set(f"{self.getOutputSetPath()}, {denoised.getPrefix() or ''}")
            denoised.write()
            denoised.close()
        os.replace(path, self.getOutputSetPath())

    def createClasses(self, chunks):
        """Give the classes that the attention found, of the input particles, and their averages."""
        matches = join_matches(
            [read_matches(self.getChunkPath("matches.npz", one.number), one.ids) for one in chunks]
        )
        stack = self._getExtraPath("averages.mrcs")
        write_averages(matches, stack)
        averages = self._createSetOfAverages()
        fill_averages(averages, matches, stack)
        classes = self._createSetOfClasses2D(self.inputParticles)
        fill_classes(classes, matches, stack)
        outputs = {
            DenoiseOutputs.outputClasses.name: classes,
            DenoiseOutputs.outputAverages.name: averages,
        }
        self._defineOutputs(**outputs)
        for output in outputs.values():
            self._defineSourceRelation(self.inputParticles, output)

    def readChangedPixelSize(self, star):
        """Read the pixel size of a denoised STAR file; None where it is the input's."""
        optics = next(read_loop(star, "optics"))
        pixel_size = float(optics["rlnImagePixelSize"])
        given = self.inputParticles.get().getSamplingRate()
        return None if abs(pixel_size - given) <= PIXEL_SIZE_TOLERANCE * given else pixel_size

    def getOutputSetPath(self):
        """Return the file of the output set."""
        return self._getPath("particles.sqlite")

    def getReportPath(self, number):
        """Return the page with pictures that the engine makes of a chunk."""
        return os.path.join(self.getChunkPath("report", number), "index.html")

    def getStarPath(self, number):
        """Return the engine's output of a chunk."""
        return self.getChunkPath("denoised.star", number)

    # --------------------------- what the form says ------------------------------------------
    def getGrouping(self):
        """Return how images are grouped: `random`, `neighbours` or the attribute."""
        if self.getGroupAttribute():
            return self.getGroupAttribute()
        return "neighbours" if self.findsNeighbours() else "random"

    def findsNeighbours(self):
        """Tell whether images are grouped by likeness; a network of single images sees none."""
        if self.grouping != GROUP_NEIGHBOURS:
            return False
        architecture = self.getModelArchitecture()
        return architecture not in ARCHITECTURES or is_joint(architecture)

    def findsClasses(self):
        """Tell whether classes and scores are made."""
        return bool(self.makeClasses.get()) and self.findsNeighbours()

    def getGroupAttribute(self):
        """Return the attribute that groups the particles; None where none does."""
        if self.grouping == GROUP_CLASS:
            return "_classId"
        return self.groupAttribute.get().strip() if self.grouping == GROUP_ATTRIBUTE else None

    def getCtfState(self):
        """Return what was done to the CTF of the input's pixels, in the engine's words."""
        particles = self.inputParticles.get()
        if not particles.hasCTF() or particles.isAmplitudeCorrected():
            return "none"
        return "flipped" if particles.isPhaseFlipped() else "raw"
