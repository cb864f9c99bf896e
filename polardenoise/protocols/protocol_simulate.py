"""Protocol: simulate particles of a known molecule, with the truth beside them."""

from pwem.objects import SetOfParticles, SetOfVolumes, Volume
from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA

from polardenoise.convert.convert import write_particles_star
from polardenoise.convert.import_particles import fill_particle_set
from polardenoise.protocols.engine_runner import EngineRunner
from polardenoise.protocols.forms.simulate_form import (
    SOURCE_PHANTOMS,
    SOURCE_STRUCTURES,
    SOURCE_VOLUMES,
    SimulateForm,
)

# Names, not an Enum: two members of one class would be one member with two names there.
OUTPUT_PARTICLES, OUTPUT_CLEAN = "outputParticles", "outputClean"
# One molecule gives a volume, several (particles are divided among them) a set.
OUTPUT_VOLUME, OUTPUT_VOLUMES = "outputVolume", "outputVolumes"


class ProtPolarSimulate(EngineRunner, SimulateForm, EMProtocol):
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
            "like": self.describeShown("likeParticles"),
            "box": self.boxSize.get(),
            "pixelSize": self.pixelSize.get(),
            "bFactor": self.bFactor.get(),
            "particles": self.numberOfParticles.get(),
            "views": self.views.get(),
            "snr": self.snr.get(),
            "ctf": self.doCTF.get(),
            "maxShift": self.maxShift.get(),
            "seed": self.seed.get(),
            **self.describeNoise(),
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
        for name in ("noise", "dose", "neighbours", "ice", "envelope", "mtf"):
            if name in config:
                arguments += [f"--{name}", config[name]]
        if "noiseLike" in config:
            noise_like = self._getExtraPath("noise_like.star")
            write_particles_star(
                self.noiseParticles.get(), noise_like, self._getTmpPath("noise_stacks")
            )
            arguments += ["--noise-like", noise_like]
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

    def describeHarderNoise(self):
        """Return a line of the summary about noise that is not white, or nothing."""
        harder = []
        engine = self.readSummary("summary.json")
        if engine.get("dose"):
            harder.append(
                f"{engine['dose']:.3g} e/Å² counted at a contrast of {engine['contrast']:.2g}"
            )
        elif engine.get("noise") == "coloured":
            harder.append("coloured noise")
        if engine.get("neighbours"):
            harder.append(f"neighbours in {engine['neighbours']:g} of the images")
        return [f"{', '.join(harder)}."] if harder else []

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
        errors = self.findMissingInputs()
        if self.copyAcquisition and self.likeParticles.get() is None:
            errors.append("Choose the particles that the simulation is to be like.")
        if self.boxSize.get() % 2:
            errors.append("The box size has to be an even number of pixels.")
        if self.source == SOURCE_VOLUMES and not len(self.inputVolumes):
            errors.append("Choose a map, or simulate a phantom.")
        if self.source == SOURCE_STRUCTURES and not len(self.inputStructures):
            errors.append("Choose an atomic structure, or simulate a phantom.")
        return errors + self.findNoiseErrors()

    def _summary(self):
        if not hasattr(self, OUTPUT_PARTICLES):
            return self.tellProgress()
        views = f"{self.views.get()} views" if self.views.get() else "all directions"
        ctf = "with CTF" if self.doCTF else "without CTF"
        return [
            f"{self.numberOfParticles.get()} particles of {self.getBox()} px, {views}, {ctf}, "
            f"SNR {self.snr.get():g}.",
            *self.describeHarderNoise(),
            "*outputClean* and *outputVolume* are the truth.",
            "*Next*: *denoise particles*, then *evaluate* against the truth.",
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
