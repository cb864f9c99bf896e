"""Protocol: adapt a denoiser to a set of particles, each random half for itself."""

import os
from enum import Enum

import pyworkflow.protocol.params as params
from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA
from pyworkflow.protocol import STEPS_PARALLEL

from polardenoise.architectures import is_joint
from polardenoise.convert.convert import write_particles_star
from polardenoise.convert.particle_columns import DENOISED_BY, has_values
from polardenoise.counts import word_count
from polardenoise.objects import PolarModel
from polardenoise.protocols.engine_runner import EngineRunner
from polardenoise.protocols.forms.denoise_form import CONTRAST_CHOICES
from polardenoise.protocols.model_choice import ModelChoice


class AdaptOutputs(Enum):
    """What the protocol gives."""

    outputModel = PolarModel


class ProtPolarAdapt(EngineRunner, ModelChoice, EMProtocol):
    """Adapt a denoiser to a set of particles, without clean data.

    A thousand numbers of a model, and how many images are denoised together, are learned anew from the
    noisy particles themselves, each random half for itself. Images that were held out, and pure noise,
    are the judges: where the model does not become better, the one that came in is given, and the
    summary says why.

    Denoise these very particles with it, and no others.
    """

    _label = "adapt denoiser"
    _devStatus = BETA
    _possibleOutputs = AdaptOutputs
    stepsExecutionMode = STEPS_PARALLEL

    # --------------------------- form ------------------------------------------------------
    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam(
            "inputParticles",
            params.PointerParam,
            pointerClass="SetOfParticles",
            important=True,
            label="Input particles",
            help="The raw particles that will be denoised, with their random halves if they have any. "
            "Where they have none, halves are drawn as *denoise particles* draws them from the same "
            "seed, for a set that it takes in one piece.",
        )
        self.defineModelParams(form)
        form.addParam(
            "minutes",
            params.FloatParam,
            default=15.0,
            validators=[params.Positive],
            label="Minutes",
            help="At most so many, reading included.",
        )
        form.addParam(
            "contrast",
            params.EnumParam,
            choices=CONTRAST_CHOICES,
            default=0,
            expertLevel=params.LEVEL_ADVANCED,
            label="Protein in the input",
            help="*auto*: told for each half from its own images. As for *denoise particles*.",
        )
        self.defineOptionalInput(
            form,
            "otherFrames",
            "Are there images of the other frames?",
            "SetOfParticles",
            "The same from other frames",
            "The same particles (ids), averaged over the other half of the movie frames: what is "
            "denoised is then judged by them, instead of by images made noisier.",
        )
        self.defineSeedParam(form, "Fixes the halves, if they are drawn, and the noise.")
        self.defineGpuParams(form)
        self.defineParallelParams(form, steps_at_once=1)

    # --------------------------- steps -----------------------------------------------------
    def _insertAllSteps(self):
        config = self.getConfiguration()
        self.rememberSettings(config)
        converted = self._insertFunctionStep(self.convertInputStep, config, needsGPU=False)
        adapted = self._insertFunctionStep(
            self.adaptStep, config, prerequisites=[converted], needsGPU=self.usesGpu()
        )
        self._insertFunctionStep(
            self.createOutputStep, config, prerequisites=[adapted], needsGPU=False
        )

    def getConfiguration(self):
        """Return all that the result depends on, for the arguments of every step."""
        return {
            "particles": self.describeInput(self.inputParticles),
            "otherFrames": self.describeShown("otherFrames"),
            "model": self.getModel(),
            "modelHash": self.getModelHash(),
            "minutes": self.minutes.get(),
            "contrast": CONTRAST_CHOICES[self.contrast.get()],
            "seed": self.seed.get(),
        }

    def convertInputStep(self, config):
        """Write the particles as STAR files; stacks stay where they are."""
        written = [self._getExtraPath("particles.star")]
        stacks = self._getExtraPath("stacks")
        write_particles_star(self.inputParticles.get(), written[0], stacks)
        if config["otherFrames"] is not None:
            written.append(self._getExtraPath("other_frames.star"))
            write_particles_star(self.otherFrames.get(), written[1], stacks)
        return written

    def adaptStep(self, config):
        """Run the engine."""
        folder = self._getExtraPath("adapted")
        arguments = [self._getExtraPath("particles.star"), "-o", folder]
        arguments += ["--model", config["model"], "--minutes", config["minutes"]]
        arguments += ["--contrast", config["contrast"], "--seed", config["seed"]]
        if config["otherFrames"] is not None:
            arguments += ["--half-frames", self._getExtraPath("other_frames.star")]
        summary = self._getExtraPath("summary.json")
        self.runEngine("adapt", arguments, summary, uses_device=True)
        names = ("model.json", "weights.safetensors")
        return [summary, *(os.path.join(folder, "model", name) for name in names)]

    def createOutputStep(self, config):
        """Give the model."""
        model = PolarModel(self._getExtraPath("adapted", "model"))
        model.readCard()
        self._defineOutputs(**{AdaptOutputs.outputModel.name: model})
        for name in ("inputParticles", "inputModel", "otherFrames"):
            if getattr(self, name).get() is not None:
                self._defineSourceRelation(getattr(self, name), model)

    # --------------------------- checks and texts --------------------------------------------
    def _validate(self):
        errors = self.validateModel()
        if not errors and not is_joint(self.getModelArchitecture()):
            errors.append(
                "This model denoises each image by itself: adapt one that compares images (base)."
            )
        given = (self.inputParticles.get(), self.getShown("otherFrames"))
        if any(one is not None and has_values(one, DENOISED_BY) for one in given):
            errors.append("The particles are denoised images: take the raw ones.")
        return errors

    def _summary(self):
        if not hasattr(self, AdaptOutputs.outputModel.name):
            return self.tellProgress()
        summary = self.readSummary("summary.json")
        if not summary.get("adapted"):
            lines = ["*Not adapted*: the output is the model that came in."]
        else:
            lines = [
                f"{summary['base']['name']} adapted to {word_count(summary['count'], 'particle')}."
            ]
        lines += [word_half(half, known) for half, known in summary.get("halves", {}).items()]
        lines += [f"*WARNING*: {warning}" for warning in summary.get("warnings", [])]
        return [*lines, "*Next*: *denoise particles*, these ones, with *Model: trained*."]

    def _methods(self):
        if not self.readSummary("summary.json").get("adapted"):
            return []
        return [
            "The denoising model was adapted to the particles with polardenoise, each random half for "
            "itself, by recorrupted images [anden2025]."
        ]

    def _citations(self):
        return ["anden2025"]


def word_half(half, known):
    """Say what a half got, or why it got nothing new."""
    gates = known["gates"]
    if not known["taken"]:
        return f"Half {half}: left as it was: {'; '.join(gates['refusals'])}."
    return (
        f"Half {half}: error on the whole disk lower by about {gates['error_share']:.0%}, by {known['held_out']} "
        f"images held out; {known['set_size']} images denoised together."
    )
