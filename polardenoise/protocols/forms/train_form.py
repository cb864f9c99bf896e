"""The form of `train denoiser`, and what is wrong with what was filled in."""

import os

import pyworkflow.protocol.params as params

from polardenoise.architectures import ARCHITECTURES, DEFAULT_ARCHITECTURE
from polardenoise.constants import SHIPPED_MODELS
from polardenoise.convert.particle_columns import DENOISED_BY, RANDOM_SUBSET, has_values
from polardenoise.convert.shipped_models import list_installed_models
from polardenoise.protocols.sources import FIRST_TEST_PHANTOM, MoleculeSources, list_phantoms

# Projects store places in this list: choices are only ever added at the end.
PRESETS = ["base", "tiny"]
FROM_MOLECULES, FROM_PAIRS = 0, 1
NO_SHIPPED_START = 0


class TrainForm(MoleculeSources):
    """What the user may choose; mixed into the protocol, which brings GPUs, seed and threads."""

    def _defineParams(self, form):
        form.addSection(label="Input")
        self.defineGpuParams(
            form,
            "One training uses one GPU, the first. With *One model for each half?* give two, for "
            "example 0,1, and 3 Scipion threads: each half has its own.",
        )
        self.defineStartParams(form)
        form.addParam(
            "trainOn",
            params.EnumParam,
            choices=["simulated images", "a pair of sets"],
            default=FROM_MOLECULES,
            display=params.EnumParam.DISPLAY_HLIST,
            condition="not doContinue",
            label="Learn from",
            help="*simulated images*: drawn on the fly from molecules, with CTF, shifts and noise of all "
            "strengths.\n*a pair of sets*: noisy particles and their truth, image by image.",
        )
        molecules = f"not doContinue and trainOn=={FROM_MOLECULES}"
        form.addParam(
            "phantoms",
            params.StringParam,
            default="1-100",
            condition=molecules,
            label="Phantoms",
            help="Numbers of invented molecules to learn from, for example `1-100, 205`. Keep below "
            f"{FIRST_TEST_PHANTOM}: those above are for tests. May be empty where maps or structures "
            "are given.",
        )
        form.addParam(
            "useMolecules",
            params.BooleanParam,
            default=False,
            condition=molecules,
            label="Learn from maps or structures too?",
            help="*Yes*: also from maps and atomic structures of this project. Never from the molecule "
            "that is to be determined.",
        )
        shown = f"{molecules} and useMolecules"
        self.defineSourceParams(form, shown, shown)
        self.defineOptionalInput(
            form,
            "likeParticles",
            "Like a set of particles?",
            "SetOfParticles",
            "Particles to be like",
            "The images get the field of view and the CTFs of this set, and molecules their true "
            "size in it: for a model that is made for one data set. Molecules that are too wide for its "
            "box are left out, and counted.",
            condition=molecules,
        )
        pairs = f"not doContinue and trainOn=={FROM_PAIRS}"
        form.addParam(
            "inputParticles",
            params.PointerParam,
            pointerClass="SetOfParticles",
            allowsNull=True,
            condition=pairs,
            label="Noisy particles",
            help="For example *outputParticles* of `simulate particles`.",
        )
        form.addParam(
            "referenceParticles",
            params.PointerParam,
            pointerClass="SetOfParticles",
            allowsNull=True,
            condition=pairs,
            label="Their truth",
            help="The same particles (ids) without noise and without CTF, for example *outputClean* of "
            "`simulate particles`.",
        )
        form.addParam(
            "perHalf",
            params.BooleanParam,
            default=False,
            condition=pairs,
            label="One model for each half?",
            help="*Yes*: two models, each trained on the particles of one random half only. Denoise "
            "each half with its own, and not even the model is shared between halves.",
        )
        self.defineTrainingParams(form)

    def defineStartParams(self, form):
        """Add what the training starts from: nothing, a model, or an earlier run."""
        form.addParam(
            "doContinue",
            params.BooleanParam,
            default=False,
            label="Train an earlier run longer?",
            help="*Yes*: everything is taken from that run, its optimiser too; only the length below is "
            "new and is added. The earlier run stays as it is.",
        )
        form.addParam(
            "continueRun",
            params.PointerParam,
            pointerClass="ProtPolarTrain",
            allowsNull=True,
            condition="doContinue",
            label="Earlier run",
            help="A finished or stopped run of this protocol.",
        )
        form.addParam(
            "startName",
            params.EnumParam,
            choices=["none", *SHIPPED_MODELS],
            default=NO_SHIPPED_START,
            condition="not doContinue",
            label="Start from a shipped model",
            help="Go on from a model that knows many molecules, instead of from nothing: much shorter. "
            "It is of one network and size: those below are then not used.",
        )
        self.defineOptionalInput(
            form,
            "inputModel",
            "Start from a model of the project?",
            "PolarModel",
            "Model to start from",
            "As with a shipped one: its network and size are taken.",
            condition=f"not doContinue and startName=={NO_SHIPPED_START}",
        )

    def defineTrainingParams(self, form):
        """Add network, size and length."""
        form.addSection(label="Training")
        form.addParam(
            "architecture",
            params.EnumParam,
            choices=list(ARCHITECTURES),
            default=list(ARCHITECTURES).index(DEFAULT_ARCHITECTURE),
            condition="not doContinue",
            label="Network",
            help="\n".join(
                f"*{name}*: {entry.description}" for name, entry in ARCHITECTURES.items()
            ),
        )
        form.addParam(
            "preset",
            params.EnumParam,
            choices=PRESETS,
            default=0,
            display=params.EnumParam.DISPLAY_HLIST,
            condition="not doContinue",
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
            "on a GPU it is a good model. A run that was stopped goes on where it was when it is "
            "continued, also with more minutes.",
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
        form.addParam(
            "recipe",
            params.PathParam,
            default="",
            expertLevel=params.LEVEL_ADVANCED,
            condition="not doContinue",
            label="Recipe (optional)",
            help="A JSON file with settings of the training that this form does not have; the engine's "
            "documentation lists them.",
        )
        self.defineSeedParam(form, "Of the images drawn and of the network's first weights.")
        self.defineParallelParams(form, steps_at_once=1)

    # --------------------------- what is wrong with it ---------------------------------------
    def _validate(self):
        if self.doContinue:
            return self.validateEarlierRun()
        errors = self.findMissingInputs()
        name, recipe = self.getShippedStart(), (self.recipe.get() or "").strip()
        if name and name not in list_installed_models():
            errors.append(f"The shipped model {name} is not in this installation; reinstall it.")
        if recipe and not os.path.isfile(recipe):
            errors.append(f"There is no recipe {recipe}.")
        if self.learnsFromPairs():
            return errors + self.validatePair()
        try:
            phantoms = list_phantoms(self.phantoms.get())
        except ValueError as error:
            return [*errors, str(error)]
        if not phantoms and not self.listSourcePointers():
            errors.append("Choose something to learn from: phantoms, maps or atomic structures.")
        return errors

    def validateEarlierRun(self):
        """Say why an earlier run cannot be trained longer."""
        earlier = self.continueRun.get()
        if earlier is None:
            return ["Choose the earlier run that is to be trained longer."]
        if not all(earlier.getDoneSteps()):
            return ["The earlier run has not finished a training yet: continue it instead."]
        return []

    def validatePair(self):
        """Say why a pair of sets cannot be learnt from."""
        noisy, clean = self.inputParticles.get(), self.referenceParticles.get()
        if noisy is None or clean is None:
            return ["Choose both the noisy particles and their truth."]
        errors = []
        if has_values(noisy, DENOISED_BY):
            errors.append("The noisy particles are denoised images: take the raw ones.")
        if noisy.getXDim() != clean.getXDim():
            errors.append(
                f"The noisy images are {noisy.getXDim()} pixels wide, the truth {clean.getXDim()}."
            )
        if self.perHalf and not has_values(noisy, RANDOM_SUBSET):
            errors.append(
                "The noisy particles have no random halves (`_rlnRandomSubset`): a model for each "
                "half needs them."
            )
        return errors
