"""The form of `evaluate`."""

import pyworkflow.protocol.params as params

from polardenoise.constants import DEFAULT_THREADS
from polardenoise.protocols.model_choice import ModelChoice

# Projects store places in this list: choices are only ever added at the end.
TEST_TRUTH, TEST_NULL, TEST_HALVES = 0, 1, 2


class EvaluateForm(ModelChoice):
    """What the user may choose; mixed into the protocol, which brings GPUs and seed."""

    def _defineParams(self, form):
        form.addSection(label="Input")
        self.defineGpuParams(form)
        form.addParam(
            "test",
            params.EnumParam,
            choices=["clean set", "pure noise", "half against half"],
            default=TEST_TRUTH,
            display=params.EnumParam.DISPLAY_HLIST,
            label="Compare with",
            help="*clean set*: the truth of a simulation.\n"
            "*pure noise*: the null test of a model. Nothing should come out of nothing.\n"
            "*half against half*: half maps of denoised and of raw particles at the same poses.",
        )
        form.addParam(
            "inputParticles",
            params.PointerParam,
            pointerClass="SetOfParticles",
            allowsNull=True,
            condition=f"test!={TEST_NULL}",
            important=True,
            label="Denoised particles",
            help="Particles to judge. For half maps they need projection directions.",
        )
        form.addParam(
            "referenceParticles",
            params.PointerParam,
            pointerClass="SetOfParticles",
            allowsNull=True,
            condition=f"test=={TEST_TRUTH}",
            important=True,
            label="Their truth",
            help="The same particles (ids) without noise, for example *outputClean* of `simulate "
            "particles`; there may be more of them.",
        )
        form.addParam(
            "maskRadius",
            params.IntParam,
            default=-1,
            condition=f"test=={TEST_TRUTH}",
            label="Mask radius (px)",
            help="Compare inside this distance from the centre, for example to leave out neighbouring "
            "particles; the wand shows it on the particles. -1: half the box. Do not cut into the "
            "molecule: the edge, the same in both images, would raise the correlation.",
        )
        self.defineOptionalInput(
            form,
            "rawParticles",
            "Raw particles beside them?",
            "SetOfParticles",
            "Raw particles",
            "The particles before denoising. They are reconstructed at the poses and in the halves "
            "of the denoised ones: only their FSC is a resolution.",
            condition=f"test=={TEST_HALVES}",
        )
        self.defineOptionalInput(
            form,
            "referenceVolume",
            "Compare with a reference?",
            "Volume",
            "Reference volume",
            "The true map, where it is known: adds the FSC of each whole map against it. Same box "
            "and pixel size as the particles, same orientation.",
            condition=f"test=={TEST_HALVES}",
        )
        form.addParam(
            "symmetryGroup",
            params.StringParam,
            default="c1",
            condition=f"test=={TEST_HALVES}",
            label="Symmetry group",
            help="Point group in RELION's notation and axes: c1, cN (for example c4), dN, t, o, i1, i2.",
        )
        self.defineModelParams(form, f"test=={TEST_NULL}")
        self.defineOptionalInput(
            form,
            "likeParticles",
            "Noise like a set of particles?",
            "SetOfParticles",
            "Particles to be like",
            "*Yes*: the noise images get the CTFs and the field of view of a set.\n*No*: CTFs of "
            "300 kV are drawn.",
            condition=f"test=={TEST_NULL}",
        )
        form.addParam(
            "numberOfImages",
            params.IntParam,
            default=400,
            validators=[params.GE(16)],
            condition=f"test=={TEST_NULL}",
            label="Noise images",
            help="400 take about a minute on two processor cores.",
        )
        self.defineSeedParam(form, "Of the noise.")
        form.addParallelSection(threads=DEFAULT_THREADS, mpi=0)
