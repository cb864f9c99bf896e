"""Protocol: train a denoiser on simulated images of chosen molecules."""

import json
import os
import shutil
from enum import Enum

import pyworkflow.protocol.params as params
from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA

from polardenoise.constants import DEFAULT_THREADS
from polardenoise.objects import PolarModel
from polardenoise.protocols.engine_runner import EngineRunner
from polardenoise.protocols.sources import FIRST_TEST_PHANTOM, MoleculeSources, list_phantoms

ARCHITECTURES = ["polar-transformer", "polar-cnn", "dncnn"]
PRESETS = ["base", "tiny"]
# What may change between two runs of one training without making it another training.
LENGTH_KEYS = ("minutes", "steps")


class TrainOutputs(Enum):
    """What the protocol gives."""

    outputModel = PolarModel


class ProtPolarTrain(EngineRunner, MoleculeSources, EMProtocol):
    """Train a denoiser on simulated images.

    Images are drawn on the fly from the chosen molecules, with CTF, shifts and noise of all strengths.
    The shipped models serve most data: train for a kind of molecule that they do not know. A run
    that was stopped goes on where it was when it is continued, also with more minutes.

    Never train on the molecule you want to determine: the network would paint it into noise.
    """

    _label = "train denoiser"
    _devStatus = BETA
    _possibleOutputs = TrainOutputs

    # --------------------------- form ------------------------------------------------------
    def _defineParams(self, form):
        form.addSection(label="Input")
        self.defineGpuParams(form)
        form.addParam(
            "phantoms",
            params.StringParam,
            default="1-100",
            label="Phantoms",
            help="Numbers of invented molecules to learn from, for example `1-100, 205`. Keep below "
            f"{FIRST_TEST_PHANTOM}: those above are for tests. May be empty where maps or structures "
            "are given.",
        )
        self.defineSourceParams(form)
        form.addParam(
            "inputModel",
            params.PointerParam,
            pointerClass="PolarModel",
            allowsNull=True,
            label="Start from a model (optional)",
            help="Go on from a model that is already trained, instead of from nothing. It is of one "
            "network and size: those of the form are then not used.",
        )

        form.addSection(label="Training")
        form.addParam(
            "architecture",
            params.EnumParam,
            choices=ARCHITECTURES,
            default=0,
            label="Network",
            help="*polar-transformer*: images are denoised together, at every in-plane rotation.\n"
            "*polar-cnn*, *dncnn*: one image at a time, for comparison.",
        )
        form.addParam(
            "preset",
            params.EnumParam,
            choices=PRESETS,
            default=0,
            display=params.EnumParam.DISPLAY_HLIST,
            label="Size",
            help="*base*: 64 px, for use.\n*tiny*: 32 px, for trying out in seconds.",
        )
        form.addParam(
            "minutes",
            params.FloatParam,
            default=60.0,
            validators=[params.Positive],
            label="Length (minutes)",
            help="The learning rate falls to zero at the end. On two processor cores an hour is a start; "
            "on a GPU it is a good model.",
        )
        form.addParam(
            "steps",
            params.IntParam,
            default=0,
            validators=[params.GE(0)],
            expertLevel=params.LEVEL_ADVANCED,
            label="Length (steps)",
            help="Gradient steps instead of minutes; 0: the length in minutes counts.",
        )
        self.defineSeedParam(form, "Of the images drawn and of the network's first weights.")
        form.addParallelSection(threads=DEFAULT_THREADS, mpi=0)

    # --------------------------- steps -----------------------------------------------------
    def _insertAllSteps(self):
        config = self.getConfiguration()
        self.rememberSettings(config)
        self._insertFunctionStep(self.trainStep, config, needsGPU=self.usesGpu())
        self._insertFunctionStep(self.createOutputStep, config, needsGPU=False)

    def getConfiguration(self):
        """Return all that the result depends on, for the arguments of every step."""
        return {
            "phantoms": self.phantoms.get(),
            **self.describeSources(),
            "init": self.describeInput(self.inputModel),
            "architecture": self.getArchitecture(),
            "preset": self.getEnumText("preset"),
            "minutes": self.minutes.get(),
            "steps": self.steps.get(),
            "seed": self.seed.get(),
        }

    def trainStep(self, config):
        """Run the engine; go on from its own checkpoint where it is one of this training."""
        arguments = [*self.getSources(), "-o", self.getTrainingPath()]
        arguments += ["--architecture", config["architecture"], "--preset", config["preset"]]
        length = "steps" if config["steps"] else "minutes"
        arguments += [f"--{length}", config[length], "--seed", config["seed"]]
        if config["init"] is not None:
            arguments += ["--init", self.inputModel.get().getPath()]
        if self.findCheckpoint(config):
            arguments.append("--resume")
        summary = self._getExtraPath("summary.json")
        self.runEngine("train", arguments, summary, uses_device=True)
        names = ("model/model.json", "model/weights.safetensors", "history.csv")
        return [summary, *(self.getTrainingPath(name) for name in names)]

    def findCheckpoint(self, config):
        """Tell whether a checkpoint of this very training is there; one of another is thrown away.

        Parameters
        ----------
        config : dict
            Of the step. Only the length may differ from that of the checkpoint.

        Returns
        -------
        bool
            True if the engine can resume.
        """
        own = {key: value for key, value in config.items() if key not in LENGTH_KEYS}
        note = self._getExtraPath("training.json")
        if os.path.exists(note):
            with open(note, encoding="utf-8") as file:
                if json.load(file) == own:
                    return os.path.isdir(self.getTrainingPath("resume"))
        shutil.rmtree(self.getTrainingPath(), ignore_errors=True)
        with open(note, "w", encoding="utf-8") as file:
            json.dump(own, file)
        return False

    def createOutputStep(self, config):
        """Give the model."""
        model = PolarModel(self.getTrainingPath("model"))
        model.readCard()
        self._defineOutputs(**{TrainOutputs.outputModel.name: model})
        self.relateToSources(model)
        if self.inputModel.get() is not None:
            self._defineSourceRelation(self.inputModel, model)

    def getArchitecture(self):
        """Return the network: that of the model to start from, else the form's."""
        start = self.inputModel.get()
        return start.getArchitecture() if start is not None else self.getEnumText("architecture")

    def getSources(self):
        """Return the sources as the engine takes them."""
        phantoms = list_phantoms(self.phantoms.get())
        return [*phantoms, *self.listVolumes(), *self.listStructures()]

    def getTrainingPath(self, *names):
        """Return a path in the folder of the engine's results."""
        return self._getExtraPath("training", *names)

    # --------------------------- checks and texts --------------------------------------------
    def _validate(self):
        try:
            phantoms = list_phantoms(self.phantoms.get())
        except ValueError as error:
            return [str(error)]
        if not phantoms and not len(self.inputVolumes) and not len(self.inputStructures):
            return ["Choose something to learn from: phantoms, maps or atomic structures."]
        return []

    def _summary(self):
        summary = self.readSummary("summary.json")
        lines = [f"{self.getArchitecture()}, {self.getEnumText('preset')}."]
        if not hasattr(self, TrainOutputs.outputModel.name):
            return [*lines, "Not ready yet. The course is in extra/training/history.csv."]
        if "steps" in summary:
            lines.append(f"{summary['steps']} steps, {summary['minutes']:.1f} minutes.")
        if summary.get("validation_relative_mse") is not None:
            lines.append(
                "Relative error on molecules not trained on (32 images of one view, SNR 0.05): "
                f"{summary['validation_relative_mse']:.3f}."
            )
        return lines

    def _methods(self):
        if not hasattr(self, TrainOutputs.outputModel.name):
            return []
        return [
            f"A {self.getArchitecture()} denoiser was trained with polardenoise on simulated "
            "particle images [anden2025]."
        ]

    def _citations(self):
        return ["anden2025"]
