"""The form of `simulate particles`, and what is wrong with what was filled in."""

import os

import pyworkflow.protocol.params as params

from polardenoise.constants import DEFAULT_THREADS
from polardenoise.protocols.sources import MoleculeSources

# Projects store places in these lists: choices are only ever added at the end.
SOURCE_PHANTOMS, SOURCE_VOLUMES, SOURCE_STRUCTURES = 0, 1, 2
NOISES = ["gaussian", "poisson", "coloured"]
NOISE_GAUSSIAN, NOISE_POISSON, NOISE_COLOURED = 0, 1, 2


class SimulateForm(MoleculeSources):
    """What the user may choose; mixed into the protocol, which brings seed and threads."""

    def _defineParams(self, form):
        form.addSection(label="Molecule")
        form.addParam(
            "source",
            params.EnumParam,
            choices=["phantom", "map", "atomic structure"],
            default=SOURCE_PHANTOMS,
            display=params.EnumParam.DISPLAY_HLIST,
            label="Molecule from",
            help="*phantom*: an invented complex of helices and sheets, nothing else is needed.\n"
            "*map*, *atomic structure*: of this project.",
        )
        form.addParam(
            "phantom",
            params.IntParam,
            default=10001,
            validators=[params.GE(0)],
            condition=f"source=={SOURCE_PHANTOMS}",
            label="Phantom number",
            help="Each number is another molecule. The shipped models were trained on numbers below "
            "10000: take one above for a fair trial.",
        )
        self.defineSourceParams(form, f"source=={SOURCE_VOLUMES}", f"source=={SOURCE_STRUCTURES}")
        form.addParam(
            "copyAcquisition",
            params.BooleanParam,
            default=False,
            label="Like an existing set?",
            help="*Yes*: box, pixel size, voltage, aberration and defocus are those of a set of the "
            "project, so that the simulation stands for those data. *No*: they are chosen below.",
        )
        form.addParam(
            "likeParticles",
            params.PointerParam,
            pointerClass="SetOfParticles",
            allowsNull=True,
            condition="copyAcquisition",
            label="Particles to be like",
            help="Each image gets the CTF of one of these particles, drawn at random. Their pixels are "
            "not used. A molecule wider than their box is refused.",
        )
        form.addParam(
            "boxSize",
            params.IntParam,
            default=64,
            validators=[params.GE(16)],
            condition="not copyAcquisition",
            label="Box size (px)",
            help="Side of the images, an even number of pixels.",
        )
        form.addParam(
            "pixelSize",
            params.FloatParam,
            default=0.0,
            validators=[params.GE(0)],
            condition="not copyAcquisition",
            label="Pixel size (Å)",
            help="0: chosen so that the molecule fills 0.7 of the box (a map keeps its field of view).",
        )
        form.addParam(
            "bFactor",
            params.FloatParam,
            default=150.0,
            validators=[params.GE(0)],
            expertLevel=params.LEVEL_ADVANCED,
            label="B-factor (Å²)",
            help="Blur of an atomic model or phantom. A map keeps its own fall-off.",
        )

        form.addSection(label="Images")
        form.addParam(
            "numberOfParticles",
            params.IntParam,
            default=1000,
            validators=[params.GE(2)],
            label="Number of particles",
            help="1000 take seconds, and are enough to see what the denoiser does; halves are drawn.",
        )
        form.addParam(
            "views",
            params.IntParam,
            default=0,
            validators=[params.GE(0)],
            label="Number of views",
            help="0: all directions, at random. M: only M viewing directions with random in-plane "
            "rotation; the view is the particle's class, and random halves are balanced in each.",
        )
        form.addParam(
            "snr",
            params.FloatParam,
            default=0.02,
            validators=[params.Positive],
            label="Signal-to-noise ratio",
            help="Mean squared clean pixel over the noise variance. 0.02 to 0.1 is like real data.",
        )
        form.addParam(
            "doCTF",
            params.BooleanParam,
            default=True,
            label="Apply a CTF?",
            help="*Yes*: 300 kV, defocus drawn for each particle, astigmatism. *No*: bare projections.",
        )
        form.addParam(
            "maxShift",
            params.FloatParam,
            default=0.0,
            validators=[params.GE(0)],
            label="Largest shift (px)",
            help="Particles are off centre by up to this much in x and in y.",
        )
        self._defineNoiseParams(form)
        self.defineSeedParam(form, "The same seed gives the same images again.")
        form.addParallelSection(threads=DEFAULT_THREADS, mpi=0)

    def _defineNoiseParams(self, form):
        form.addParam(
            "noise",
            params.EnumParam,
            choices=["white", "counted electrons", "coloured"],
            default=NOISE_GAUSSIAN,
            display=params.EnumParam.DISPLAY_HLIST,
            label="Noise",
            help="*white*: Gaussian, the same at every frequency.\n"
            "*counted electrons*: Poisson, at a dose.\n"
            "*coloured*: Gaussian, with the power spectrum of the background of real images.\n"
            "Its variance is 1; the clean images do not depend on it.",
        )
        form.addParam(
            "dose",
            params.FloatParam,
            default=0.0,
            validators=[params.GE(0)],
            condition=f"noise=={NOISE_POISSON}",
            label="Dose (e/Å²)",
            help="Electrons that arrive where there is no particle. The molecule's contrast is then "
            "what gives the signal-to-noise ratio above. 0: the dose that gives it at a contrast of 5 %.",
        )
        self.defineOptionalInput(
            form,
            "noiseParticles",
            "Noise like that of a set?",
            "SetOfParticles",
            "Particles to measure it on",
            "*Yes*: the spectrum is measured in the corners of the images of a set, which must not be "
            "masked.\n*No*: that of EMPIAR-10076 and of another set of real images.",
            condition=f"noise=={NOISE_COLOURED}",
        )
        form.addParam(
            "neighbours",
            params.FloatParam,
            default=0.0,
            validators=[params.Range(0, 1)],
            label="Images with a neighbour",
            help="Share of the images into which another copy of the molecule reaches from the side. "
            "The clean images do not show it.",
        )
        form.addParam(
            "ice",
            params.FloatParam,
            default=0.0,
            validators=[params.Range(0, 0.95)],
            expertLevel=params.LEVEL_ADVANCED,
            label="Ice, share of the noise",
            help="Share of the variance of the noise that is the structure of the ice, seen through the "
            "CTF as the particle is: Thon rings.",
        )
        form.addParam(
            "envelope",
            params.FloatParam,
            default=0.0,
            validators=[params.GE(0)],
            expertLevel=params.LEVEL_ADVANCED,
            label="Envelope (Å²)",
            help="B-factor by which the CTF falls off. The clean images do not have it.",
        )
        form.addParam(
            "mtf",
            params.StringParam,
            default="",
            expertLevel=params.LEVEL_ADVANCED,
            label="Detector MTF",
            help="Its value at the Nyquist frequency, for example 0.4 (a Gaussian point spread), or a STAR "
            "file as RELION has them (rlnResolutionInversePixel, rlnMtfValue). It weakens the signal, not "
            "the noise. Empty: a perfect detector.",
        )

    def describeNoise(self):
        """Return what is not as it is by default, so that older runs keep their settings."""
        settings = {}
        if self.noise != NOISE_GAUSSIAN:
            settings["noise"] = NOISES[self.noise.get()]
        if self.noise == NOISE_POISSON and self.dose.get():
            settings["dose"] = self.dose.get()
        if self.getShown("noiseParticles") is not None:
            settings["noiseLike"] = self.describeShown("noiseParticles")
        for name in ("neighbours", "ice", "envelope"):
            value = getattr(self, name).get()
            if value:
                settings[name] = value
        if self.mtf.get("").strip():
            settings["mtf"] = self.mtf.get().strip()
        return settings

    def findNoiseErrors(self):
        """Return what is wrong with the noise, for the form."""
        mtf = self.mtf.get("").strip()
        try:
            wrong = mtf and not 0 < float(mtf) <= 1
        except ValueError:
            wrong = not os.path.isfile(mtf)
        if wrong:
            return [
                "Detector MTF: give its value at Nyquist, above 0 and at most 1, or a STAR file."
            ]
        return []
