"""Protocol: judge denoised particles, or a model, against the truth, against noise, or half against half."""

import os
import shutil
from enum import Enum

import numpy as np
from pwem.objects import FSC, SetOfFSCs
from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA

from polardenoise.convert.chunks import list_enabled_ids, open_fresh
from polardenoise.convert.convert import write_particles_star
from polardenoise.convert.curves import CONSISTENCY, HALVES_COLUMN, REFERENCE_COLUMN, read_curve
from polardenoise.convert.paired_sets import write_matching_star
from polardenoise.convert.particle_columns import DENOISED_BY, RANDOM_SUBSET, has_values
from polardenoise.convert.volume_files import prepare_volume
from polardenoise.protocols.engine_runner import EngineRunner
from polardenoise.protocols.evaluate_summary import EvaluateSummary
from polardenoise.protocols.forms.evaluate_form import (
    TEST_HALVES,
    TEST_NULL,
    TEST_TRUTH,
    EvaluateForm,
)
from polardenoise.protocols.protocol_denoise import ProtPolarDenoise
from polardenoise.protocols.run_settings import write_json
from polardenoise.protocols.upstream import find_maker

# The curves of noise that are given, of those that the engine draws. No one of them is a resolution.
NULL_CURVES = {
    "random/raw": "raw, random poses",
    "random/denoised": "denoised, random poses",
    "aligned/raw": "raw, aligned",
    "aligned/denoised": "denoised, aligned",
}
# What each test takes.
INPUTS = {
    TEST_TRUTH: ("inputParticles", "referenceParticles"),
    TEST_NULL: ("inputModel", "likeParticles"),
    TEST_HALVES: ("inputParticles", "rawParticles", "referenceVolume"),
}


class EvaluateOutputs(Enum):
    """What the protocol gives."""

    outputFSC = SetOfFSCs


class ProtPolarEvaluate(EvaluateSummary, EvaluateForm, EngineRunner, EMProtocol):
    """Judge denoised particles, or the model that denoised them.

    *clean set*: the error against the truth, where it is known. *pure noise*: what the model makes of
    images in which there is nothing. *half against half*: how far the half maps of denoised and of
    raw particles agree at the same poses; of the raw ones this is the resolution, of the denoised ones
    only their consistency, because one model denoised both halves.
    """

    _label = "evaluate"
    _devStatus = BETA
    _possibleOutputs = EvaluateOutputs

    # --------------------------- steps -----------------------------------------------------
    def _insertAllSteps(self):
        config = self.getConfiguration()
        self.rememberSettings(config)
        self._insertFunctionStep(self.convertInputStep, config, needsGPU=False)
        tests = {
            TEST_TRUTH: self.compareStep,
            TEST_NULL: self.nullStep,
            TEST_HALVES: self.halvesStep,
        }
        on_gpu = self.test == TEST_NULL and self.usesGpu()
        self._insertFunctionStep(tests[self.test.get()], config, needsGPU=on_gpu)
        self._insertFunctionStep(self.createOutputStep, config, needsGPU=False)

    def getConfiguration(self):
        """Return all that the result depends on, for the arguments of every step."""
        config = {"test": self.getEnumText("test")}
        if self.test == TEST_NULL:
            config.update(model=self.getModel(), modelHash=self.getModelHash())
            config.update(images=self.numberOfImages.get(), seed=self.seed.get())
            config.update(like=self.describeShown("likeParticles"))
            return config
        config["particles"] = self.describeInput(self.inputParticles)
        raw = self.getRawPointer()
        config["raw"] = None if raw is None else self.describeInput(raw)
        if self.test == TEST_TRUTH:
            config["truth"] = self.describeInput(self.referenceParticles)
            config["maskRadius"] = self.maskRadius.get()
        else:
            config["reference"] = self.describeShown("referenceVolume")
            config["symmetry"] = self.symmetryGroup.get().strip()
        return config

    def convertInputStep(self, config):
        """Write the sets as STAR files, row for row the same particles; stacks stay where they are."""
        stacks, written = self._getTmpPath("stacks"), []
        if self.test == TEST_NULL:
            if self.getShown("likeParticles") is not None:
                written.append(self._getExtraPath("like.star"))
                write_particles_star(self.likeParticles.get(), written[0], stacks)
            return written
        particles = self.inputParticles.get()
        written.append(self._getExtraPath("particles.star"))
        write_particles_star(particles, written[0], stacks)
        others = {}
        if self.test == TEST_TRUTH:
            others["clean.star"] = self.referenceParticles.get()
        if config["raw"] is not None:
            others["raw.star"] = self.getRawPointer().get()
        if not others:
            return written
        fresh = open_fresh(particles)
        ids = list_enabled_ids(fresh).tolist()
        fresh.close()
        poses = particles if self.test == TEST_HALVES else None
        for name, other in others.items():
            written.append(self._getExtraPath(name))
            write_matching_star(other, written[-1], stacks, ids, poses)
        return written

    def compareStep(self, config):
        """Compare denoised particles with their truth."""
        arguments = [
            self._getExtraPath("particles.star"),
            "--truth",
            self._getExtraPath("clean.star"),
        ]
        if config["raw"] is not None:
            arguments += ["--noisy", self._getExtraPath("raw.star")]
        if config["maskRadius"] > 0:
            arguments += ["--mask-radius", config["maskRadius"]]
        arguments += ["--plot", self.getPlotPath()]
        self.runEngine("evaluate", arguments, self.getSummaryPath())
        return [self.getSummaryPath(), self.getPlotPath()]

    def nullStep(self, config):
        """Let the model denoise pure noise."""
        arguments = ["--null", config["model"], "--images", config["images"]]
        arguments += ["--seed", config["seed"], "--plot", self.getPlotPath()]
        if config["like"] is not None:
            arguments.append(self._getExtraPath("like.star"))
        self.runEngine("evaluate", arguments, self.getSummaryPath(), uses_device=True)
        return [self.getSummaryPath(), self.getPlotPath()]

    def halvesStep(self, config):
        """Reconstruct the half maps of the denoised and of the raw particles at the same poses."""
        results, summary = [], {}
        for name in self.listReconstructions():
            folder = self._getExtraPath(name)
            arguments = [self._getExtraPath(f"{name}.star"), "-o", folder]
            arguments += ["--symmetry", config["symmetry"]]
            if config["reference"] is not None:
                reference = prepare_volume(
                    self.referenceVolume.get(), self._getTmpPath("reference")
                )
                arguments += ["--reference", reference]
            # Not particles.json: beside particles.star that is the name of a provenance.
            path = self._getExtraPath(f"{name}_maps.json")
            self.runEngine("reconstruct", arguments, path)
            summary[name] = self.readSummary(os.path.basename(path))
            results += [path, os.path.join(folder, "fsc.star")]
        shutil.copyfile(self._getExtraPath("particles", "fsc.png"), self.getPlotPath())
        write_json(self.getSummaryPath(), summary)
        return [*results, self.getSummaryPath()]

    def createOutputStep(self, config):
        """Give the curves."""
        curves = self._createSetOfFSCs()
        makers = {
            TEST_TRUTH: self.makeTruthCurves,
            TEST_NULL: self.makeNullCurves,
            TEST_HALVES: self.makeHalvesCurves,
        }
        for name, curve in makers[self.test.get()]():
            curve.setObjLabel(name)
            curves.append(curve)
        self._defineOutputs(**{EvaluateOutputs.outputFSC.name: curves})
        for name in INPUTS[self.test.get()]:
            if self.getShown(name) is not None:
                self._defineSourceRelation(getattr(self, name), curves)

    def makeTruthCurves(self):
        """Make the mean ring correlations with the truth, `(name, FSC)` each."""
        summary = self.readSummary("summary.json")
        names = {"frc": "denoised against truth (mean FRC)", "frc_noisy": "noisy against truth"}
        for key, name in names.items():
            if summary.get(key):
                yield name, make_curve(summary[key], summary["box"], summary["pixel_size"])

    def makeNullCurves(self):
        """Make the half-map correlations of noise, `(name, FSC)` each."""
        summary = self.readSummary("summary.json")
        for name, label in NULL_CURVES.items():
            curve = summary["curves"][name]
            yield label, make_curve(curve, summary["box"], summary["pixel_size"])

    def makeHalvesCurves(self):
        """Make the half-map correlations, and those with the reference, `(name, FSC)` each."""
        summary = self.readSummary("summary.json")
        for name in self.listReconstructions():
            star = self._getExtraPath(name, "fsc.star")
            denoised = name == "particles" and summary[name].get("denoised")
            kind = "denoised" if denoised else "raw"
            label = f"half maps, {kind}" + (f" ({CONSISTENCY})" if denoised else "")
            yield label, read_curve(star, HALVES_COLUMN)
            against = read_curve(star, REFERENCE_COLUMN)
            if against is not None:
                yield f"map against reference, {kind}", against

    # --------------------------- what the form says ------------------------------------------
    def listReconstructions(self):
        """List what is reconstructed: the particles, and the raw ones at their poses where given."""
        return ["particles", "raw"] if self.getShown("rawParticles") is not None else ["particles"]

    def getRawPointer(self):
        """Return what points to the particles before denoising; None where they are not known.

        For half maps those that the form names; for the truth those that the run denoised which the particles come
        from, if their images have the same box.
        """
        if self.test == TEST_HALVES:
            return None if self.getShown("rawParticles") is None else self.rawParticles
        maker = find_maker(
            self.inputParticles,
            self.getProject(),
            lambda protocol: isinstance(protocol, ProtPolarDenoise),
        )
        if maker is None or maker.inputParticles.get() is None:
            return None
        same = maker.inputParticles.get().getXDim() == self.inputParticles.get().getXDim()
        return maker.inputParticles if same else None

    def getSummaryPath(self):
        """Return the numbers of the test."""
        return self._getExtraPath("summary.json")

    def getPlotPath(self):
        """Return the picture of the test."""
        return self._getExtraPath("evaluation.png")

    # --------------------------- checks and texts --------------------------------------------
    def isNoTruth(self, truth):
        """Tell whether the truth is what is judged: Scipion fills in every input with what the selected run gives."""
        return truth.getObjId() == self.inputParticles.get().getObjId() or has_values(
            truth, DENOISED_BY
        )

    def _validate(self):
        if self.test == TEST_NULL:
            return self.findMissingInputs() + self.validateModel()
        particles = self.inputParticles.get()
        if particles is None:
            return ["Choose the denoised particles."]
        missing = self.findMissingInputs()
        if missing:
            return missing
        others = {"truth": self.referenceParticles.get()}
        if self.test == TEST_HALVES:
            others = {"raw particles": self.getShown("rawParticles")}
            if not particles.hasAlignmentProj():
                return ["The particles have no projection directions: align them first."]
        elif others["truth"] is None:
            return ["Choose the truth: the same particles without noise."]
        elif self.isNoTruth(others["truth"]):
            return [
                "*Their truth* are the denoised images, or the noisy ones: choose the same particles "
                "without noise, for example *outputClean* of *simulate particles*."
            ]
        elif self.maskRadius.get() > particles.getXDim() // 2 - 1:
            return [f"The mask radius is at most {particles.getXDim() // 2 - 1} px in this box."]
        for name, other in others.items():
            if other is not None and other.getXDim() != particles.getXDim():
                return [
                    f"The {name} are {other.getXDim()} pixels wide, the denoised images "
                    f"{particles.getXDim()}: denoise with the original box."
                ]
        return []

    def _warnings(self):
        if self.test != TEST_HALVES or self.inputParticles.get() is None:
            return []
        warnings, particles = [], self.inputParticles.get()
        denoised = has_values(particles, DENOISED_BY)
        if denoised and self.getShown("rawParticles") is None:
            warnings.append(
                "Of denoised particles half maps tell consistency, not resolution. Give the raw "
                "particles too: at the same poses theirs do."
            )
        if not has_values(particles, RANDOM_SUBSET):
            warnings.append(
                "The particles have no random halves (`_rlnRandomSubset`): they will be drawn, other "
                "than those that the images were denoised in."
            )
        return warnings


def make_curve(values, box, pixel_size):
    """Make an FSC of the correlations by shell, the first of which is left out (it is 1 by definition)."""
    curve = FSC()
    frequencies = np.arange(1, len(values)) / (box * pixel_size)
    curve.setData(frequencies.tolist(), [float(value or 0.0) for value in values[1:]])
    return curve
