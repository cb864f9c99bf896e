"""The form of `select particles`."""

import pyworkflow.protocol.params as params

from polardenoise.protocols.optional_inputs import OptionalInputs


class SelectForm(OptionalInputs):
    """What the user may choose; mixed into the protocol."""

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
            "Keep the particles of these classes. Open *outputClasses* of `denoise particles` in Scipion's viewer, "
            "pick the good ones, press *Classes* there, and name the subset here. Classes of any "
            "other 2D classification of these particles will do. A small class may be a rare view: look "
            "at it before you leave it out.",
        )
