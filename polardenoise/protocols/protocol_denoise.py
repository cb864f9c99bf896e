"""Protocol: denoise a set of particles jointly."""

from enum import Enum

import pyworkflow.protocol.params as params
from pwem.objects import SetOfParticles
from pwem.protocols import ProtProcessParticles
from pyworkflow.constants import BETA

from polardenoise.constants import DEFAULT_THREADS, SHIPPED_MODELS
from polardenoise.convert import (
    DENOISED_BY,
    RANDOM_SUBSET,
    fill_denoised_set,
    get_group_label,
    read_denoised_rows,
    write_particles_star,
)
from polardenoise.protocols.engine_runner import EngineRunner
from polardenoise.shipped_models import get_default_model, list_installed_models

MODEL_SHIPPED, MODEL_TRAINED = 0, 1
GROUP_RANDOM, GROUP_CLASS, GROUP_ATTRIBUTE = 0, 1, 2
CTF_KEPT, CTF_CORRECTED = 0, 1
CONTRAST_BRIGHT, CONTRAST_DARK = 0, 1


class DenoiseOutputs(Enum):
    """What the protocol gives."""

    outputParticles = SetOfParticles


class ProtPolarDenoise(EngineRunner, ProtProcessParticles):
    """Denoise a set of particles jointly, every attribute kept.

    Each image is compared with others of its half at every in-plane rotation and gathers what they
    know about it (polar transformer). The output is the same set with denoised pixels: CTF,
    alignment, coordinates, micrographs, optics groups and random halves are the input's.

    Denoised images are for looking, cleaning, classifying, initial models and alignment.
    Reconstruct the final map from the raw particles at the poses found here.
    """

    _label = "denoise particles"
    _devStatus = BETA
    _possibleOutputs = DenoiseOutputs

    # --------------------------- form ------------------------------------------------------
    def _defineProcessParams(self, form):
        self.defineGpuParams(form)
        form.addParam(
            "modelSource",
            params.EnumParam,
            choices=["shipped", "trained"],
            default=MODEL_SHIPPED,
            display=params.EnumParam.DISPLAY_HLIST,
            label="Model",
            help="*shipped*: one that comes with polardenoise, trained on many simulated molecules.\n"
            "*trained*: one of this project, for example of `train denoiser`.",
        )
        form.addParam(
            "modelName",
            params.EnumParam,
            choices=SHIPPED_MODELS,
            default=get_default_model(),
            condition=f"modelSource=={MODEL_SHIPPED}",
            label="Shipped model",
            help="*first*: polar transformer, images are denoised together.\n"
            "*first-dncnn*: single-image network, for comparison.\n"
            "Each says in its card (pretrained/NAME/CARD.rst) what it was trained on.",
        )
        form.addParam(
            "inputModel",
            params.PointerParam,
            pointerClass="PolarModel",
            allowsNull=True,
            condition=f"modelSource=={MODEL_TRAINED}",
            label="Trained model",
            help="A model of this project.",
        )
        form.addParam(
            "setSize",
            params.IntParam,
            default=64,
            validators=[params.Positive],
            label="Images per set",
            help="How many images (of one half) are denoised together. More images of the same view "
            "help; time and memory grow with this number.",
        )
        form.addParam(
            "grouping",
            params.EnumParam,
            choices=["random", "by class", "by attribute"],
            default=GROUP_RANDOM,
            display=params.EnumParam.DISPLAY_HLIST,
            label="Group images",
            help="Which images are denoised together.\n*random*: any images of one half.\n"
            "*by class*: images of one class (their `_classId`), for example after 2D classification: "
            "much better, if the classes are views.\n*by attribute*: images that share the value of "
            "the attribute named below.",
        )
        form.addParam(
            "groupAttribute",
            params.StringParam,
            default="_rlnGroupNumber",
            condition=f"grouping=={GROUP_ATTRIBUTE}",
            label="Attribute",
            help="Name of an attribute of every particle, for example `_rlnGroupNumber` or `_micId`.",
        )
        form.addParam(
            "ctfOutput",
            params.EnumParam,
            choices=["kept", "corrected"],
            default=CTF_KEPT,
            display=params.EnumParam.DISPLAY_HLIST,
            label="CTF of the output",
            help="*kept*: the images as the microscope would have recorded them without noise; "
            "programs that come after treat their CTF exactly as for the raw particles.\n"
            "*corrected*: images without CTF, best for looking. The set says so (phase flipped, "
            "amplitude corrected), but RELION does not ask: reconstruct them with *Apply CTF "
            "correction: No*.",
        )
        form.addParam(
            "ignoreHalves",
            params.BooleanParam,
            default=False,
            expertLevel=params.LEVEL_ADVANCED,
            label="Mix the random halves?",
            help="*No*: images of different random halves (`_rlnRandomSubset`) never meet; a set "
            "without halves gets them drawn and written.\n*Yes*: all images share information. Never "
            "use the FSC of such a set.",
        )
        form.addParam(
            "contrast",
            params.EnumParam,
            choices=["protein bright", "protein dark"],
            default=CONTRAST_BRIGHT,
            display=params.EnumParam.DISPLAY_HLIST,
            expertLevel=params.LEVEL_ADVANCED,
            label="Contrast",
            help="Whether protein is bright on dark ground in the input, as Scipion and RELION have "
            "it after extraction, or dark as in the micrograph. The output keeps it.",
        )
        self.defineSeedParam(form, "The same seed gives the same halves and sets again.")

    def _getDefaultParallel(self):
        return DEFAULT_THREADS, 0

    # --------------------------- steps -----------------------------------------------------
    def _insertAllSteps(self):
        config = self.getConfiguration()
        self._insertFunctionStep(self.convertInputStep, config, needsGPU=False)
        self._insertFunctionStep(self.denoiseStep, config, needsGPU=self.usesGpu())
        self._insertFunctionStep(self.createOutputStep, config, needsGPU=False)

    def getConfiguration(self):
        """Return all that the result depends on, for the arguments of every step."""
        return {
            "particles": self.describeInput(self.inputParticles),
            "model": self.getModel(),
            "modelHash": self.getModelHash(),
            "setSize": self.setSize.get(),
            "group": self.getGroupAttribute(),
            "ctfOutput": self.getEnumText("ctfOutput"),
            "ignoreHalves": self.ignoreHalves.get(),
            "contrast": self.getContrast(),
            "seed": self.seed.get(),
        }

    def convertInputStep(self, config):
        """Write the particles as the STAR file that the engine reads; stacks stay where they are."""
        star = self._getExtraPath("particles.star")
        count = write_particles_star(
            self.inputParticles.get(), star, self._getTmpPath("stacks"), config["group"]
        )
        self.info(f"{count} particles in {star}")
        return [star]

    def denoiseStep(self, config):
        """Run the engine on it."""
        star, stack = self._getExtraPath("denoised.star"), self._getExtraPath("denoised.mrcs")
        arguments = [self._getExtraPath("particles.star"), "-o", star, "--model", config["model"]]
        arguments += ["--set-size", config["setSize"]]
        group = config["group"]
        arguments += ["--group-by", get_group_label(group) if group else "random"]
        arguments += ["--ctf-output", config["ctfOutput"], "--ctf-state", self.getCtfState()]
        arguments += ["--contrast", config["contrast"], "--seed", config["seed"]]
        if config["ignoreHalves"]:
            arguments.append("--ignore-halves")
        summary = self._getExtraPath("summary.json")
        self.runEngine("denoise", arguments, summary, uses_device=True)
        return [star, stack, summary]

    def createOutputStep(self, config):
        """Give the input's items, with the denoised pixels."""
        rows = read_denoised_rows(self._getExtraPath("denoised.star"))
        denoised = self._createSetOfParticles()
        corrected = config["ctfOutput"] == "corrected"
        fill_denoised_set(denoised, self.inputParticles.get(), rows, corrected, config["model"])
        self._defineOutputs(**{DenoiseOutputs.outputParticles.name: denoised})
        self._defineTransformRelation(self.inputParticles, denoised)

    # --------------------------- what the form says ------------------------------------------
    def getModel(self):
        """Return the engine's `--model`: a shipped name or a folder."""
        if self.modelSource == MODEL_SHIPPED:
            return SHIPPED_MODELS[self.modelName.get()]
        return self.inputModel.get().getPath()

    def getModelHash(self):
        """Return the hash of a trained model's weights; None for a shipped one, known by its name."""
        return None if self.modelSource == MODEL_SHIPPED else self.inputModel.get().getWeightsHash()

    def getGroupAttribute(self):
        """Return the attribute that groups the particles, None for random sets."""
        if self.grouping == GROUP_RANDOM:
            return None
        return "_classId" if self.grouping == GROUP_CLASS else self.groupAttribute.get().strip()

    def getContrast(self):
        """Return the engine's `--contrast`."""
        return "dark" if self.contrast == CONTRAST_DARK else "bright"

    def getCtfState(self):
        """Return what was done to the CTF of the input's pixels, in the engine's words."""
        particles = self.inputParticles.get()
        if not particles.hasCTF() or particles.isAmplitudeCorrected():
            return "none"
        return "flipped" if particles.isPhaseFlipped() else "raw"

    # --------------------------- checks and texts --------------------------------------------
    def _validate(self):
        errors = []
        if self.modelSource == MODEL_TRAINED and self.inputModel.get() is None:
            errors.append("Choose the trained model, or use a shipped one.")
        name = SHIPPED_MODELS[self.modelName.get()]
        if self.modelSource == MODEL_SHIPPED and name not in list_installed_models():
            errors.append(f"The shipped model {name} is not in this installation; reinstall it.")
        particles = self.inputParticles.get()
        if particles is None:
            return errors
        if particles.isOddX():
            errors.append(
                f"The images are {particles.getXDim()} pixels wide: an even box is needed. Crop or "
                "pad them by one pixel."
            )
        first = particles.getFirstItem()
        attribute = self.getGroupAttribute()
        if attribute and first.getAttributeValue(attribute) is None:
            errors.append(
                f"The particles have no attribute {attribute} to group by: group at random, or take "
                "particles that were classified."
            )
        return errors

    def _warnings(self):
        warnings = []
        particles = self.inputParticles.get()
        if particles is None:
            return warnings
        first = particles.getFirstItem()
        if self.ignoreHalves:
            warnings.append(
                "The random halves will share information: the FSC of anything that comes of this "
                "set says nothing about resolution."
            )
        elif first.getAttributeValue(RANDOM_SUBSET) is None:
            warnings.append(
                "The particles have no random halves (`_rlnRandomSubset`): they will be drawn with "
                "the seed of the form and written to the output. Halves that a refinement draws later "
                "are others: keep these."
            )
        if first.getAttributeValue(DENOISED_BY) is not None:
            warnings.append("The particles are denoised already: take the raw ones.")
        if self.ctfOutput == CTF_CORRECTED:
            warnings.append(
                "The output will carry no CTF: reconstruct it *without* CTF correction (RELION: "
                "*Apply CTF correction: No*), and refine with *Do CTF-correction: No*."
            )
        if particles.hasCTF() is False and self.ctfOutput == CTF_KEPT:
            warnings.append(
                "The particles carry no CTF. If the data have one, estimate it first: without it the "
                "images are taken for projections."
            )
        return warnings

    def _summary(self):
        summary = self.readSummary("summary.json")
        if not hasattr(self, DenoiseOutputs.outputParticles.name):
            return ["Not ready yet."]
        lines = [f"Model: *{self.getModel()}*, CTF {self.getEnumText('ctfOutput')}."]
        if "particles" in summary:
            lines.append(
                f"{summary['particles']} particles in {summary['sets']} sets; halves: "
                f"{summary['halves']}; nothing finer than {summary['finest_detail_angstrom']:.1f} Å "
                "can come back."
            )
        if self.ctfOutput == CTF_CORRECTED:
            lines.append("Images carry no CTF: reconstruct them without CTF correction.")
        lines.append("For looking, cleaning and aligning; reconstruct from the raw particles.")
        return lines

    def _methods(self):
        if not hasattr(self, DenoiseOutputs.outputParticles.name):
            return []
        halves = "ignoring random halves" if self.ignoreHalves else "random halves apart"
        return [
            f"Particle images were denoised jointly with polardenoise (model {self.getModel()}, "
            f"{self.getEnumText('grouping')} sets, {halves}) [anden2025]."
        ]

    def _citations(self):
        return ["anden2025"]
