"""Protocol: the raw particles whose denoised images score well, or are in good classes."""

from enum import Enum

import numpy as np
import pyworkflow.protocol.params as params
from pwem.objects import SetOfParticles
from pwem.protocols import ProtProcessParticles
from pyworkflow.constants import BETA
from pyworkflow.object import Pointer

from polardenoise.convert.denoised_set import SCORE
from polardenoise.convert.particle_columns import DENOISED_BY, RANDOM_SUBSET, has_values
from polardenoise.convert.selection import (
    check_same_particles,
    choose_particles,
    fill_selection,
    find_unmatched_ids,
    list_class_ids,
    read_scored_particles,
)
from polardenoise.counts import choose_verb, word_count
from polardenoise.protocols.engine_runner import EngineRunner
from polardenoise.protocols.protocol_denoise import DenoiseOutputs, ProtPolarDenoise
from polardenoise.protocols.run_settings import write_json
from polardenoise.protocols.upstream import find_maker


class SelectOutputs(Enum):
    """What the protocol gives."""

    outputParticles = SetOfParticles


class ProtPolarSelect(EngineRunner, ProtProcessParticles):
    """Keep the raw particles whose denoised images score well, or are in classes that you picked.

    The output are particles of the raw set, never denoised images: pixels, CTF, alignment, coordinates, optics groups
    and random halves are as they were. A particle must meet all that is asked for.
    """

    _label = "select particles"
    _devStatus = BETA
    _possibleOutputs = SelectOutputs

    # --------------------------- form ------------------------------------------------------
    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam(
            "inputParticles",
            params.PointerParam,
            pointerClass="SetOfParticles",
            important=True,
            label="Denoised particles",
            help="*outputParticles* of `denoise particles`, or a subset of it: they bring the scores "
            "(`_polardenoiseScore`). What is kept are the raw particles of the same ids.",
        )
        self.defineOptionalInput(
            form,
            "rawParticles",
            "Name the raw particles?",
            "SetOfParticles",
            "Raw particles",
            "*No*: the input of the run of `denoise particles` that the denoised particles come from. "
            "*Yes*: a set of the same particles (ids), for example with poses found since; there "
            "may be more of them.",
        )
        self.defineChoiceParams(form)

    def defineChoiceParams(self, form):
        """Add what particles are chosen by; a particle must meet all that is asked for."""
        form.addParam(
            "useMinScore",
            params.BooleanParam,
            default=False,
            label="Select by score?",
            help="Keep particles of at least a score. First look at the scores: *Analyze results* of `denoise "
            "particles` draws their histogram and the images at its ends. Where there is no hump at "
            "the low end, do not cut.",
        )
        form.addParam(
            "minScore",
            params.FloatParam,
            default=0.1,
            condition="useMinScore",
            validators=[params.Range(0, 1, error="The minimum score is from 0 to 1.")],
            label="Minimum score",
            help="From 0 (junk) to 1. What is usual depends on how noisy the images are: take the foot of the "
            "hump of good particles in the histogram.",
        )
        form.addParam(
            "useTopFraction",
            params.BooleanParam,
            default=False,
            label="Select the best fraction?",
            help="Keep a share of the particles (of those in the picked classes, where classes are picked), the "
            "best scores first.",
        )
        form.addParam(
            "topFraction",
            params.FloatParam,
            default=0.9,
            condition="useTopFraction",
            validators=[
                params.GT(0, error="The best fraction is above 0."),
                params.LE(1, error="The best fraction is at most 1."),
            ],
            label="Best fraction",
            help="Above 0, at most 1: 0.9 leaves out the tenth that scores lowest.",
        )
        self.defineOptionalInput(
            form,
            "pickedClasses",
            "Select by classes?",
            "SetOfClasses2D",
            "Picked classes",
            "Keep the particles of these classes. Click the run of `denoise particles`, double-click its "
            "*outputClasses* above the summary, click the good ones in the viewer that opens (further ones with *Ctrl* "
            "held down), press *Class2D* below them (in Xmipp's viewer *Classes*), and name the subset here. Classes "
            "of any other 2D classification of these particles will do. A small class may be a rare view: look at it "
            "before you leave it out.",
        )

    # --------------------------- steps -----------------------------------------------------
    def _insertAllSteps(self):
        config = self.getConfiguration()
        self.rememberSettings(config)
        self._insertFunctionStep(self.createOutputStep, config, needsGPU=False)

    def getConfiguration(self):
        """Return all that the result depends on, for the arguments of the step."""
        return {
            "particles": self.describeInput(self.inputParticles),
            "raw": self.describeInput(self.getRawPointer()),
            "minScore": self.getShown("minScore"),
            "topFraction": self.getShown("topFraction"),
            "classes": self.describeShown("pickedClasses"),
        }

    def createOutputStep(self, config):
        """Choose, then give the raw particles; nothing is written before all is checked."""
        pointer = self.getRawPointer()
        denoised, raw = self.inputParticles.get(), pointer.get()
        check_same_particles(denoised, raw)
        scored = read_scored_particles(denoised)
        classes = self.getShown("pickedClasses")
        class_ids = None if classes is None else list_class_ids(classes)
        choice = choose_particles(scored, config["minScore"], config["topFraction"], class_ids)
        ids, halves = scored.ids[choice.kept], scored.half[choice.kept]
        gains_halves = bool(halves.all()) and not has_values(raw, RANDOM_SUBSET)

        selected = self._createSetOfParticles()
        fill_selection(selected, raw, ids, halves if gains_halves else None)
        self._defineOutputs(**{SelectOutputs.outputParticles.name: selected})
        self._defineTransformRelation(pointer, selected)
        self._defineSourceRelation(self.inputParticles, selected)
        if classes is not None:
            self._defineSourceRelation(self.pickedClasses, selected)
        scores = scored.score[choice.kept]
        summary = {
            "particles": len(scored.ids),
            "kept": len(ids),
            "raw": raw.getSize(),
            "in_other_classes": choice.in_other_classes,
            "below_min_score": choice.below_min_score,
            "below_top_fraction": choice.below_top_fraction,
            "lowest_score": float(scores.min()) if np.isfinite(scores).all() else None,
            "halves": np.bincount(halves, minlength=3)[1:].tolist() if halves.all() else [],
            "gains_halves": gains_halves,
        }
        write_json(self.getSummaryPath(), summary)
        return [self.getSummaryPath()]

    # --------------------------- what the form says ------------------------------------------
    def getRawPointer(self):
        """Return what points to the raw particles; an empty input where they are not known."""
        if self.useRawParticles:
            return self.rawParticles
        maker = self.findDenoiseRun()
        return Pointer() if maker is None else maker.inputParticles

    def findDenoiseRun(self):
        """Return the run of `denoise particles` that the denoised particles come from; None where none is known."""
        return find_maker(
            self.inputParticles,
            self.getProject(),
            lambda protocol: isinstance(protocol, ProtPolarDenoise),
        )

    def getSummaryPath(self):
        """Return the numbers of the selection."""
        return self._getExtraPath("summary.json")

    # --------------------------- checks and texts --------------------------------------------
    def _validate(self):
        denoised = self.inputParticles.get()
        if denoised is None:
            return ["Choose the denoised particles."]
        if not (self.useMinScore or self.useTopFraction or self.usePickedClasses):
            return [
                "Say what to select by: answer *Select by score?*, *Select the best fraction?* or *Select by "
                "classes?* with Yes."
            ]
        errors = self.findMissingInputs() or self.checkPickedClasses()
        return errors or self.checkScores(denoised) or self.checkRawParticles(denoised)

    def checkPickedClasses(self):
        """Say so where nobody picked: Scipion fills in all classes of the run that is selected; a list of errors."""
        classes, run = self.getShown("pickedClasses"), self.findDenoiseRun()
        found = getattr(run, DenoiseOutputs.outputClasses.name, None)
        if classes is None or found is None or classes.getObjId() != found.getObjId():
            return []
        return [
            f"*Picked classes* are all {found.getSize()} classes of `denoise particles`: double-click *outputClasses* "
            "above the summary of that run, pick the good ones, press *Class2D* below them, and choose the subset "
            "that this makes."
        ]

    def checkScores(self, denoised):
        """Say what is wrong with the denoised particles: a list of errors."""
        # Class averages are particles to Scipion, too, with ids of their own.
        if not has_values(denoised, DENOISED_BY):
            return ["The input particles are no output of `denoise particles`: choose that."]
        if denoised.isStreamOpen():
            return ["The denoised particles are still growing: wait for the end of that run."]
        if (self.useMinScore or self.useTopFraction) and not has_values(denoised, SCORE):
            return [
                f"The denoised particles have no scores (`{SCORE}`): denoise them with *Group images: "
                "neighbours* and *2D classes and score?*, or select by classes alone."
            ]
        return []

    def checkRawParticles(self, denoised):
        """Say what is wrong with the raw particles, or with whose they are: a list of errors."""
        raw = self.getRawPointer().get()
        if raw is None:
            return [
                "No run of `denoise particles` is known that these particles come from: answer *Name the raw "
                "particles?* with Yes, and choose them."
            ]
        if has_values(raw, DENOISED_BY):
            return ["The raw particles are denoised images: choose the particles before denoising."]
        unmatched = find_unmatched_ids(denoised, raw)
        if unmatched.size:
            return [
                f"{unmatched.size} of {denoised.getSize()} denoised particles are not in the raw set, the first is "
                f"particle {unmatched[0]}: choose the set that was denoised."
            ]
        return []

    def _summary(self):
        summary = self.readSummary("summary.json")
        if not hasattr(self, SelectOutputs.outputParticles.name) or "kept" not in summary:
            return self.tellProgress()
        reasons = self.listReasons(summary)
        why = f": {', '.join(reasons)}" if reasons else ""
        lines = [f"*{summary['kept']} of {summary['particles']}* raw particles kept{why}."]
        if summary["lowest_score"] is not None:
            lines.append(f"Lowest score among them: {summary['lowest_score']:.4f}.")
        if summary["halves"]:
            one, two = summary["halves"]
            drawn = " (those drawn for denoising)" if summary["gains_halves"] else ""
            lines.append(f"Random halves: {one} and {two}{drawn}.")
        others = summary["raw"] - summary["particles"]
        if others > 0:
            left = f"{word_count(others, 'raw particle')} {choose_verb(others, 'was', 'were')}"
            lines.append(
                f"{left} not denoised, and {choose_verb(others, 'is', 'are')} not among them."
            )
        return [*lines, f"*Next*: {self.nameNextStep(summary)}."]

    def listReasons(self, summary):
        """Say how many particles each condition left out: a list of parts of a sentence."""
        counted = (
            ("in_other_classes", ("is", "are"), "in no picked class"),
            ("below_min_score", ("scores", "score"), f"less than {self.minScore.get()}"),
            (
                "below_top_fraction",
                ("is", "are"),
                f"not among the best {self.topFraction.get():.0%}",
            ),
        )
        return [
            f"{summary[name]} {choose_verb(summary[name], *verb)} {words}"
            for name, verb, words in counted
            if summary[name]
        ]

    def nameNextStep(self, summary):
        """Say what to do with the particles."""
        if summary["kept"] == summary["particles"]:
            return "nothing was left out: ask for more, or go on with the raw particles as they are"
        return (
            "look whether what was left out holds a rare view (pwem's *subset*, as a difference, gives it); then "
            "classify or refine these raw particles, or denoise them again"
        )

    def _methods(self):
        summary = self.readSummary("summary.json")
        if not hasattr(self, SelectOutputs.outputParticles.name) or "kept" not in summary:
            return []
        asked = {
            "useMinScore": f"a score of at least {self.minScore.get()}",
            "useTopFraction": f"the best {self.topFraction.get():.0%} of the scores",
            "usePickedClasses": "2D classes picked by eye",
        }
        words = [text for name, text in asked.items() if getattr(self, name)]
        return [
            f"{summary['kept']} of {summary['particles']} raw particles were selected by {' and '.join(words)} "
            "(polardenoise) [anden2025]."
        ]

    def _citations(self):
        return ["anden2025"]
