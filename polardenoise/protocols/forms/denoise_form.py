"""The form of `denoise particles`, and what is wrong with what was filled in."""

import pyworkflow.protocol.params as params

from polardenoise.convert.particle_columns import DENOISED_BY, RANDOM_SUBSET, has_values
from polardenoise.protocols.model_choice import ModelChoice

# Projects store places in these lists, the default first: choices are only ever added at the end.
GROUP_NEIGHBOURS, GROUP_RANDOM, GROUP_CLASS, GROUP_ATTRIBUTE = 0, 1, 2, 3
CTF_KEPT, CTF_CORRECTED = 0, 1
CONTRAST_CHOICES = ["auto", "bright", "dark"]
# Which leaves it to the engine: a model that was adapted has a number of its own.
DEFAULT_SET_SIZE = 32
CONTRAST_AUTO, CONTRAST_BRIGHT, CONTRAST_DARK = 0, 1, 2
BOX_ORIGINAL, BOX_WORKING = 0, 1


class DenoiseForm(ModelChoice):
    """What the user may choose; mixed into the protocol, which brings GPUs, seed and threads."""

    def _defineProcessParams(self, form):
        self.defineGpuParams(
            form,
            "Several, for example 0,1: each denoises chunks of its own, if *Scipion threads* is one "
            "more than the GPUs.",
        )
        self.defineModelParams(form)
        form.addParam(
            "grouping",
            params.EnumParam,
            choices=["neighbours", "random", "by class", "by attribute"],
            default=GROUP_NEIGHBOURS,
            display=params.EnumParam.DISPLAY_HLIST,
            label="Group images",
            help="Which images (of one half) are denoised together.\n"
            "*neighbours*: those most alike in any in-plane rotation, found by the network. Gives 2D "
            "classes and a score of each particle as well. Images of large halves also see the whole "
            "half, through templates. Best for nearly all data.\n"
            "*random*: any images; quick, and enough to see whether there are particles.\n"
            "*by class*: images of one class (their `_classId`), after a 2D classification.\n"
            "*by attribute*: images that share the value of the attribute named below.",
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
            "setSize",
            params.IntParam,
            default=DEFAULT_SET_SIZE,
            validators=[params.Positive],
            label="Images per set",
            help="How many images (of one half) are denoised together. With neighbours and the default, 32, "
            "images that many others resemble take up to 512. More images of the same view "
            "help; time and memory grow with this number. 32 to 128 is usual.",
        )
        self.defineExpertParams(form)
        self.defineOutputParams(form)

    def defineExpertParams(self, form):
        """Add what is folded away."""
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
            choices=["auto", "protein bright", "protein dark"],
            default=CONTRAST_AUTO,
            display=params.EnumParam.DISPLAY_HLIST,
            expertLevel=params.LEVEL_ADVANCED,
            label="Contrast",
            help="Whether protein is bright on dark ground in the input, as Scipion and RELION have "
            "it after extraction, or dark as in the micrograph. *auto*: found for each half, and each "
            "optics group of it, from its own images. The output keeps it. What the images show is "
            "always measured: where it contradicts what is chosen here, the summary says so.",
        )
        form.addParam(
            "particlesPerChunk",
            params.IntParam,
            default=20000,
            validators=[params.GE(16)],
            expertLevel=params.LEVEL_ADVANCED,
            label="Particles per chunk",
            help="Larger sets are denoised in chunks of about this many: each is one step, so that "
            "several GPUs share the work, a run that was stopped goes on at the next chunk, and the "
            "output grows meanwhile. Neighbours are found inside a chunk: do not go below some "
            "thousand.",
        )
        form.addParam(
            "streamingBatch",
            params.IntParam,
            default=2000,
            validators=[params.GE(16)],
            expertLevel=params.LEVEL_ADVANCED,
            label="Particles per batch while the input grows",
            help="Where the input is still being made (streaming), a chunk begins as soon as this many "
            "particles have arrived, and the output grows. When all are there, they are denoised once "
            "more, together, and the result is that of a complete input. It has no effect on one.",
        )
        self.defineSeedParam(form, "The same seed gives the same halves and sets again.")

    def defineOutputParams(self, form):
        """Add what is given, in a section of its own."""
        form.addSection(label="Output")
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
            "outputBox",
            params.EnumParam,
            choices=["original", "working"],
            default=BOX_ORIGINAL,
            display=params.EnumParam.DISPLAY_HLIST,
            label="Box of the output",
            help="*original*: box and pixel size of the input; nothing finer than twice the network's "
            "pixel comes back in it.\n*working*: the network's own box (64 px), with a larger pixel: "
            "small files that hold the same.",
        )
        form.addParam(
            "makeClasses",
            params.BooleanParam,
            default=True,
            condition=f"grouping=={GROUP_NEIGHBOURS}",
            label="2D classes and score?",
            help="*Yes*: from what the network found, also 2D classes of the input particles with "
            "their averages (within each half), and `_polardenoiseScore` with every particle: 0 to 1, "
            "how consistent it is with the images it matches. Sort the set by it and junk lies at the "
            "end.",
        )

    # --------------------------- what is wrong with it ---------------------------------------
    def _validate(self):
        errors = self.validateModel()
        particles = self.inputParticles.get()
        if particles is None:
            return errors
        if has_values(particles, DENOISED_BY):
            errors.append("The particles are denoised already: take the raw ones.")
        attribute = self.getGroupAttribute()
        if attribute and not has_values(particles, attribute):
            errors.append(
                f"The particles have no attribute {attribute} to group by: group at random, or take "
                "particles that were classified."
            )
        return errors

    def _warnings(self):
        warnings = self.warnAboutIdleGpus()
        particles = self.inputParticles.get()
        if particles is None:
            return warnings
        if self.ignoreHalves:
            warnings.append(
                "The random halves will share information: the FSC of anything that comes of this "
                "set says nothing about resolution."
            )
        elif not has_values(particles, RANDOM_SUBSET):
            warnings.append(
                "The particles have no random halves (`_rlnRandomSubset`): they will be drawn with "
                "the seed of the form and written to the output. Halves that a refinement draws later "
                "are others: keep these."
            )
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
