"""Protocol: simulate particles of a known molecule, with the truth beside them."""

import pyworkflow.protocol.params as params
from pwem.objects import SetOfParticles, SetOfVolumes, Volume
from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA

from polardenoise.constants import DEFAULT_THREADS
from polardenoise.convert import write_particles_star
from polardenoise.import_particles import fill_particle_set
from polardenoise.protocols.engine_runner import EngineRunner
from polardenoise.protocols.sources import MoleculeSources

SOURCE_PHANTOMS, SOURCE_VOLUMES, SOURCE_STRUCTURES = 0, 1, 2


# Names, not an Enum: two members of one class would be one member with two names there.
OUTPUT_PARTICLES, OUTPUT_CLEAN = "outputParticles", "outputClean"
# One molecule gives a volume, several (particles are divided among them) a set.
OUTPUT_VOLUME, OUTPUT_VOLUMES = "outputVolume", "outputVolumes"


class ProtPolarSimulate(EngineRunner, MoleculeSources, EMProtocol):
    """Simulate noisy particle images of a molecule whose truth is known.

    Gives the noisy particles (CTF, projection directions, shifts, random halves, classes by view), the
    same images clean, in the same units and order, and the map they were projected from. For trying
    out, for teaching, and for judging a method against a truth.
    """

    _label = "simulate particles"
    _devStatus = BETA
    _possibleOutputs = {
        OUTPUT_PARTICLES: SetOfParticles,
        OUTPUT_CLEAN: SetOfParticles,
        OUTPUT_VOLUME: Volume,
        OUTPUT_VOLUMES: SetOfVolumes,
    }

    # --------------------------- form ------------------------------------------------------
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
        self.defineSeedParam(form, "The same seed gives the same images again.")
        form.addParallelSection(threads=DEFAULT_THREADS, mpi=0)

    # --------------------------- steps -----------------------------------------------------
    def _insertAllSteps(self):
        config = self.getConfiguration()
        self.rememberSettings(config)
        self._insertFunctionStep(self.simulateStep, config, needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, config, needsGPU=False)

    def getConfiguration(self):
        """Return all that the result depends on, for the arguments of every step."""
        return {
            "source": self.getEnumText("source"),
            "phantom": self.phantom.get(),
            **self.describeSources(),
            "like": self.describeInput(self.likeParticles) if self.copyAcquisition else None,
            "box": self.boxSize.get(),
            "pixelSize": self.pixelSize.get(),
            "bFactor": self.bFactor.get(),
            "particles": self.numberOfParticles.get(),
            "views": self.views.get(),
            "snr": self.snr.get(),
            "ctf": self.doCTF.get(),
            "maxShift": self.maxShift.get(),
            "seed": self.seed.get(),
        }

    def simulateStep(self, config):
        """Run the engine."""
        arguments = [*self.getSources(), "-o", self.getResultPath()]
        if config["like"] is None:
            arguments += ["--box", config["box"], "--pixel-size", config["pixelSize"] or "auto"]
        else:
            like = self._getExtraPath("like.star")
            write_particles_star(self.likeParticles.get(), like, self._getTmpPath("stacks"))
            arguments += ["--like", like]
        arguments += ["--b-factor", config["bFactor"], "--particles", config["particles"]]
        arguments += ["--views", config["views"], "--snr", config["snr"]]
        arguments += ["--ctf" if config["ctf"] else "--no-ctf", "--max-shift", config["maxShift"]]
        arguments += ["--seed", config["seed"]]
        self.runEngine("simulate", arguments, self._getExtraPath("summary.json"))
        names = ("particles.star", "particles.mrcs", "clean.star", "clean.mrcs")
        return [*(self.getResultPath(name) for name in names), *self.getVolumePaths()]

    def createOutputStep(self, config):
        """Give the two sets and the map."""
        noisy = self._createSetOfParticles()
        fill_particle_set(noisy, self.getResultPath("particles.star"))
        clean = self._createSetOfParticles(suffix="_clean")
        fill_particle_set(clean, self.getResultPath("clean.star"))
        outputs = {OUTPUT_PARTICLES: noisy, OUTPUT_CLEAN: clean}
        volumes = [make_volume(path, noisy.getSamplingRate()) for path in self.getVolumePaths()]
        if len(volumes) == 1:
            outputs[OUTPUT_VOLUME] = volumes[0]
        else:
            outputs[OUTPUT_VOLUMES] = self._createSetOfVolumes()
            outputs[OUTPUT_VOLUMES].setSamplingRate(noisy.getSamplingRate())
            for volume in volumes:
                outputs[OUTPUT_VOLUMES].append(volume)
        self._defineOutputs(**outputs)
        for output in outputs.values():
            self.relateToSources(output)

    def getSources(self):
        """Return the sources as the engine takes them."""
        if self.source == SOURCE_PHANTOMS:
            return [f"phantom:{self.phantom.get()}"]
        if self.source == SOURCE_VOLUMES:
            return self.listVolumes()
        return self.listStructures()

    def getBox(self):
        """Return the side of the images, pixels."""
        return getattr(self, OUTPUT_PARTICLES).getXDim()

    def getVolumePaths(self):
        """Return the maps that the engine wrote, one for each molecule."""
        return self.readSummary("summary.json")["volumes"]

    def getResultPath(self, *names):
        """Return a path in the folder of the engine's results."""
        return self._getExtraPath("simulation", *names)

    # --------------------------- checks and texts --------------------------------------------
    def _validate(self):
        errors = []
        if self.copyAcquisition and self.likeParticles.get() is None:
            errors.append("Choose the particles that the simulation is to be like.")
        if self.boxSize.get() % 2:
            errors.append("The box size has to be an even number of pixels.")
        if self.source == SOURCE_VOLUMES and not len(self.inputVolumes):
            errors.append("Choose a map, or simulate a phantom.")
        if self.source == SOURCE_STRUCTURES and not len(self.inputStructures):
            errors.append("Choose an atomic structure, or simulate a phantom.")
        return errors

    def _summary(self):
        if not hasattr(self, OUTPUT_PARTICLES):
            return ["Not ready yet."]
        views = f"{self.views.get()} views" if self.views.get() else "all directions"
        ctf = "with CTF" if self.doCTF else "without CTF"
        return [
            f"{self.numberOfParticles.get()} particles of {self.getBox()} px, {views}, {ctf}, "
            f"SNR {self.snr.get():g}.",
            "*outputClean* and *outputVolume* are the truth.",
        ]

    def _methods(self):
        if not hasattr(self, OUTPUT_PARTICLES):
            return []
        return [
            f"{self.numberOfParticles.get()} particle images were simulated with polardenoise at a "
            f"signal-to-noise ratio of {self.snr.get():g}."
        ]

    def _citations(self):
        return ["anden2025"]


def make_volume(path, pixel_size):
    """Make a Volume of a map; `pixel_size` in Angstrom, origin in the centre."""
    volume = Volume()
    volume.setFileName(path)
    volume.setSamplingRate(pixel_size)
    volume.setOrigin()
    return volume
