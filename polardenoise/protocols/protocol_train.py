"""Protocol: train a denoiser on simulated images of chosen molecules, or on a pair of sets."""

import os
import shutil
from enum import Enum

from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA
from pyworkflow.protocol import STEPS_PARALLEL

from polardenoise.constants import SHIPPED_MODELS
from polardenoise.convert.convert import iter_enabled, write_particles_star
from polardenoise.convert.model_files import hash_file, read_card
from polardenoise.convert.paired_sets import write_matching_star
from polardenoise.convert.particle_columns import RANDOM_SUBSET
from polardenoise.convert.shipped_models import PRETRAINED_FOLDER
from polardenoise.objects import PolarModel
from polardenoise.protocols.engine_runner import EngineRunner
from polardenoise.protocols.forms.train_form import FROM_PAIRS, NO_SHIPPED_START, TrainForm
from polardenoise.protocols.run_settings import read_json, write_json
from polardenoise.protocols.sources import list_phantoms

# What may change between two runs of one training without making it another training.
LENGTH_KEYS = ("minutes", "steps")
PAIR = ("inputParticles", "referenceParticles")
WHOLE = 0  # of a set, beside its halves 1 and 2


class TrainOutputs(Enum):
    """What the protocol gives: one model, or one for each half."""

    outputModel = PolarModel
    outputModelHalf1 = PolarModel
    outputModelHalf2 = PolarModel


class ProtPolarTrain(EngineRunner, TrainForm, EMProtocol):
    """Train a denoiser.

    On simulated images, drawn on the fly from the chosen molecules with CTF, shifts and noise of all
    strengths (like those of a set of particles, if one is given), or on noisy particles and their
    truth. The shipped models serve most data: train for a kind of molecule that they do not know. A
    run that was stopped goes on where it was when it is continued, also with more minutes.

    Never train on the molecule you want to determine: the network would paint it into noise.
    """

    _label = "train denoiser"
    _devStatus = BETA
    _possibleOutputs = TrainOutputs
    stepsExecutionMode = STEPS_PARALLEL

    # --------------------------- steps -----------------------------------------------------
    def _insertAllSteps(self):
        config = self.getConfiguration()
        self.rememberSettings(config)
        converted = self._insertFunctionStep(self.convertInputStep, config, needsGPU=False)
        trained = [
            self._insertFunctionStep(
                self.trainStep, config, half, prerequisites=[converted], needsGPU=self.usesGpu()
            )
            for half in self.listHalves()
        ]
        self._insertFunctionStep(
            self.createOutputStep, config, prerequisites=trained, needsGPU=False
        )

    def getConfiguration(self):
        """Return all that the result depends on, for the arguments of every step."""
        length = {"minutes": self.minutes.get(), "steps": self.steps.get()}
        if self.doContinue:
            earlier = self.continueRun.get()
            return {
                "earlier": [earlier.strId(), earlier.getDoneSteps()],
                "training": earlier.getConfiguration(),
                **length,
            }
        recipe = (self.recipe.get() or "").strip()
        return {
            "trainOn": self.getEnumText("trainOn"),
            "phantoms": self.phantoms.get(),
            **self.describeSources(),
            "like": self.describeShown("likeParticles"),
            "pairs": [self.describeShown(name) for name in PAIR],
            "perHalf": self.perHalf.get(),
            "init": self.describeShown("inputModel"),
            "start": self.getShippedStart(),
            "architecture": self.getArchitecture(),
            "preset": self.getEnumText("preset"),
            "recipe": hash_file(recipe) if recipe else None,
            "seed": self.seed.get(),
            **length,
        }

    def convertInputStep(self, config):
        """Write the sets that are learnt from as STAR files; stacks stay where they are."""
        if self.doContinue:
            return []
        written = []
        if self.learnsFromPairs():
            for half in self.listHalves():
                written += self.writePair(half)
        elif self.getShown("likeParticles") is not None:
            written.append(self._getExtraPath("like.star"))
            write_particles_star(self.likeParticles.get(), written[0], self._getExtraPath("stacks"))
        return written

    def writePair(self, half):
        """Write noisy particles of a half (or all) and their truth in the same order; return both paths."""
        noisy, clean = self.getPairPaths(half)
        given, truth = self.inputParticles.get(), self.referenceParticles.get()
        ids = [
            item.getObjId()
            for item in iter_enabled(given)
            if half == WHOLE or item.getAttributeValue(RANDOM_SUBSET) == half
        ]
        stacks = self._getExtraPath("stacks")
        write_matching_star(given, noisy, stacks, ids)
        write_matching_star(truth, clean, stacks, ids)
        return [noisy, clean]

    def trainStep(self, config, half):
        """Run the engine; go on from its own checkpoint where it is one of this training."""
        folder = self.getTrainingPath(half=half)
        source = self.continueRun.get() if self.doContinue else self
        arguments = [*source.getTrainingOptions(half), "-o", folder]
        resumes = self.findCheckpoint(config, half)
        earlier = {}
        if self.doContinue:
            earlier = self.continueRun.get().readSummary(get_summary_name(half))
            if not resumes:
                shutil.copytree(self.continueRun.get().getTrainingPath(half=half), folder)
                # Only now it is all there: a copy that was cut short is made again.
                self.noteTraining(config, half)
                resumes = True
        if config["steps"]:
            arguments += ["--steps", config["steps"] + earlier.get("steps", 0)]
        else:
            arguments += ["--minutes", config["minutes"] + round(earlier.get("minutes", 0.0), 3)]
        if resumes:
            arguments.append("--resume")
        summary = self._getExtraPath(get_summary_name(half))
        self.runEngine("train", arguments, summary, uses_device=True)
        names = ("model/model.json", "model/weights.safetensors", "history.csv")
        return [summary, *(os.path.join(folder, name) for name in names)]

    def getTrainingOptions(self, half):
        """Return what the engine learns from and how, all but the length and the folder."""
        words = self.getSources(half)
        words += ["--architecture", self.getArchitecture(), "--preset", self.getEnumText("preset")]
        words += ["--seed", self.seed.get()]
        if (self.recipe.get() or "").strip():
            words += ["--recipe", self.recipe.get().strip()]
        if self.getShippedStart():
            words += ["--init", self.getShippedStart()]
        elif self.getShown("inputModel") is not None:
            words += ["--init", self.inputModel.get().getPath()]
        return words

    def findCheckpoint(self, config, half=WHOLE):
        """Tell whether a checkpoint of this very training is there; one of another is thrown away.

        Parameters
        ----------
        config : dict
            Of the step. Only the length may differ from that of the checkpoint.
        half : int
            1 or 2, or 0 for the one training of all.

        Returns
        -------
        bool
            True if the engine can resume.
        """
        folder = self.getTrainingPath(half=half)
        if read_json(self.getNotePath(half)) == describe_training(config):
            return os.path.exists(os.path.join(folder, "resume", "state.json"))
        shutil.rmtree(folder, ignore_errors=True)
        if not self.doContinue:
            self.noteTraining(config, half)
        return False

    def noteTraining(self, config, half):
        """Note which training lies in the folder."""
        write_json(self.getNotePath(half), describe_training(config))

    def createOutputStep(self, config):
        """Give the model, or that of each half."""
        for half in self.listHalves():
            model = PolarModel(self.getTrainingPath("model", half=half))
            model.readCard()
            model.setTrainingHalf(half)
            self._defineOutputs(**{get_output_name(half): model})
            self.relateToSources(model)
            for name in ("inputModel", "likeParticles", "inputParticles"):
                if self.getShown(name) is not None:
                    self._defineSourceRelation(getattr(self, name), model)

    # --------------------------- what the form says ------------------------------------------
    def getArchitecture(self):
        """Return the network: that of the model to start from, else the form's."""
        if self.doContinue and self.continueRun.get() is not None:
            return self.continueRun.get().getArchitecture()
        if self.getShippedStart():
            folder = os.path.join(PRETRAINED_FOLDER, self.getShippedStart())
            return read_card(folder)["architecture"]
        start = self.getShown("inputModel")
        return start.getArchitecture() if start is not None else self.getEnumText("architecture")

    def getShippedStart(self):
        """Return the name of the shipped model to start from; None for none."""
        place = self.startName.get()
        return None if place == NO_SHIPPED_START else SHIPPED_MODELS[place - 1]

    def learnsFromPairs(self):
        """Tell whether a pair of sets is learnt from."""
        return self.trainOn == FROM_PAIRS

    def listHalves(self):
        """List what is trained: 1 and 2 for a model of each half, or 0 for one of all."""
        source = (self.continueRun.get() if self.doContinue else None) or self
        return [1, 2] if source.learnsFromPairs() and source.perHalf else [WHOLE]

    def getSources(self, half=WHOLE):
        """Return what is learnt from, as the engine takes it."""
        if self.learnsFromPairs():
            return ["--pairs", *self.getPairPaths(half)]
        sources = [*list_phantoms(self.phantoms.get()), *self.listVolumes(), *self.listStructures()]
        if self.getShown("likeParticles") is not None:
            sources += ["--like", self._getExtraPath("like.star")]
        return sources

    def getPairPaths(self, half):
        """Return the STAR files of the noisy particles and of their truth."""
        ending = f"_half{half}.star" if half else ".star"
        return [self._getExtraPath(name + ending) for name in ("noisy", "clean")]

    def getTrainingPath(self, *names, half=WHOLE):
        """Return a path in the folder of the engine's results."""
        return self._getExtraPath(f"training_half{half}" if half else "training", *names)

    def getNotePath(self, half):
        """Return the note of which training lies in the folder."""
        return self._getExtraPath(f"training_half{half}.json" if half else "training.json")

    def getDoneSteps(self):
        """Return the gradient steps done so far in this run, of each half; earlier runs included."""
        names = map(get_summary_name, self.listHalves())
        return [self.readSummary(name).get("steps", 0) for name in names]

    # --------------------------- checks and texts --------------------------------------------
    def _warnings(self):
        return self.warnAboutIdleGpus() if len(self.listHalves()) > 1 else []

    def _summary(self):
        lines = [f"{self.getArchitecture()}, {self.getEnumText('preset')}."]
        if self.doContinue and self.continueRun.get() is not None:
            lines.append(f"Goes on from {self.continueRun.get().getRunName()}.")
        if not any(hasattr(self, output.name) for output in TrainOutputs):
            return [*lines, *self.tellProgress()]
        for half in self.listHalves():
            summary = self.readSummary(get_summary_name(half))
            words = f"Half {half}: " if half else ""
            if "steps" in summary:
                words += f"{summary['steps']} steps, {summary['minutes']:.1f} minutes."
            if summary.get("left_out"):
                words += f" {summary['left_out']} molecules left out: too wide for the box."
            if summary.get("validation_relative_mse") is not None:
                words += (
                    " Relative error on images not trained on: "
                    f"{summary['validation_relative_mse']:.2g} (0 perfect, 1 an empty image)."
                )
            lines.append(words)
        return [
            *lines,
            "*Next*: *evaluate* it on *pure noise*, then *denoise particles* with *Model: trained*; or train "
            "it longer (*Train an earlier run longer?*) while its curves still fall.",
        ]

    def _methods(self):
        if not any(hasattr(self, output.name) for output in TrainOutputs):
            return []
        given = "pairs of noisy and clean" if self.learnsFromPairs() else "simulated"
        return [
            f"A {self.getArchitecture()} denoiser was trained with polardenoise on {given} "
            "particle images [anden2025]."
        ]

    def _citations(self):
        return ["anden2025"]


def describe_training(config):
    """Return what makes a training the one it is: all settings but its length."""
    return {key: value for key, value in config.items() if key not in LENGTH_KEYS}


def get_summary_name(half):
    """Return the name of the engine's summary of a training."""
    return f"summary_half{half}.json" if half else "summary.json"


def get_output_name(half):
    """Return the name of the output of a training."""
    return f"outputModelHalf{half}" if half else TrainOutputs.outputModel.name
