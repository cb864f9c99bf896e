"""Protocol: two half maps, the whole map and their Fourier shell correlation."""

from enum import Enum

import pyworkflow.protocol.params as params
from pwem.objects import SetOfFSCs, Volume
from pwem.protocols import ProtReconstruct3D
from pyworkflow.constants import BETA

from polardenoise.constants import DEFAULT_THREADS
from polardenoise.convert.convert import write_particles_star
from polardenoise.convert.curves import (
    CONSISTENCY,
    HALVES_COLUMN,
    OF_FEW_VIEWS,
    REFERENCE_COLUMN,
    read_curve,
)
from polardenoise.convert.particle_columns import DENOISED_BY, RANDOM_SUBSET, has_values
from polardenoise.convert.volume_files import prepare_volume
from polardenoise.counts import word_count
from polardenoise.protocols.engine_runner import EngineRunner

CTF_AUTO, CTF_ON, CTF_OFF = 0, 1, 2


class ReconstructOutputs(Enum):
    """What the protocol gives."""

    outputVolume = Volume
    outputFSC = SetOfFSCs


class ProtPolarReconstruct(EngineRunner, ProtReconstruct3D):
    """Reconstruct a map, its two half maps and their FSC from aligned particles.

    The poses of the particles are taken as they are. The volume carries its half maps, so that
    post-processing and local resolution can follow. Use it where RELION is not at hand; where it is,
    both give the same.

    Half maps of *denoised* particles agree with each other more than with the molecule, because
    one model denoised both: their FSC is a consistency, not a resolution. Reconstruct the raw
    particles at the same poses for that.
    """

    _label = "reconstruct"
    _devStatus = BETA
    _possibleOutputs = ReconstructOutputs

    # --------------------------- form ------------------------------------------------------
    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam(
            "inputParticles",
            params.PointerParam,
            pointerClass="SetOfParticles",
            pointerCondition="hasAlignmentProj",
            important=True,
            label="Input particles",
            help="Particles with projection directions and shifts. Their random halves "
            "(`_rlnRandomSubset`) make the half maps; without them halves are drawn.",
        )
        form.addParam(
            "symmetryGroup",
            params.StringParam,
            default="c1",
            label="Symmetry group",
            help="Point group in RELION's notation and axes: c1, cN (for example c4), dN, t, o, i1, i2.",
        )
        form.addParam(
            "doCTF",
            params.EnumParam,
            choices=["auto", "on", "off"],
            default=CTF_AUTO,
            display=params.EnumParam.DISPLAY_HLIST,
            label="Correct for the CTF",
            help="*auto*: as the set states: yes for raw and phase-flipped images, no for images "
            "without CTF or already corrected.\n*on*: always.\n*off*: never.",
        )
        self.defineOptionalInput(
            form,
            "referenceVolume",
            "Compare with a reference?",
            "Volume",
            "Reference volume",
            "A map to compare with, for example the truth of a simulation: adds the FSC of the "
            "whole map against it. Same box and pixel size as the particles, same orientation.",
        )
        form.addParallelSection(threads=DEFAULT_THREADS, mpi=0)

    # --------------------------- steps -----------------------------------------------------
    def _insertAllSteps(self):
        config = self.getConfiguration()
        self.rememberSettings(config)
        self._insertFunctionStep(self.convertInputStep, config, needsGPU=False)
        self._insertFunctionStep(self.reconstructStep, config, needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, config, needsGPU=False)

    def getConfiguration(self):
        """Return all that the result depends on, for the arguments of every step."""
        return {
            "particles": self.describeInput(self.inputParticles),
            "reference": self.describeShown("referenceVolume"),
            "symmetry": self.symmetryGroup.get().strip(),
            "ctf": self.getEnumText("doCTF"),
        }

    def convertInputStep(self, config):
        """Write the particles as the STAR file that the engine reads; stacks stay where they are."""
        star = self._getExtraPath("particles.star")
        write_particles_star(self.inputParticles.get(), star, self._getTmpPath("stacks"))
        return [star]

    def reconstructStep(self, config):
        """Run the engine on it."""
        arguments = [self._getExtraPath("particles.star"), "-o", self.getResultPath()]
        arguments += ["--symmetry", config["symmetry"], "--ctf", config["ctf"]]
        if config["reference"] is not None:
            reference = prepare_volume(self.referenceVolume.get(), self._getTmpPath("reference"))
            arguments += ["--reference", reference]
        self.runEngine("reconstruct", arguments, self._getExtraPath("summary.json"))
        names = ("volume.mrc", "half1.mrc", "half2.mrc", "fsc.star")
        return [self.getResultPath(name) for name in names]

    def createOutputStep(self, config):
        """Give the volume with its half maps, and the curves."""
        volume = Volume()
        volume.setFileName(self.getResultPath("volume.mrc"))
        volume.setHalfMaps([self.getResultPath("half1.mrc"), self.getResultPath("half2.mrc")])
        volume.setSamplingRate(self.inputParticles.get().getSamplingRate())
        volume.setOrigin()

        curves = self._createSetOfFSCs()
        names = {HALVES_COLUMN: "half maps", REFERENCE_COLUMN: "map against reference"}
        if self.readSummary("summary.json").get("denoised"):
            names[HALVES_COLUMN] = f"half maps ({CONSISTENCY})"
        elif self.readSummary("summary.json").get("fsc_means") == OF_FEW_VIEWS:
            names[HALVES_COLUMN] = f"half maps ({OF_FEW_VIEWS})"
        for column, name in names.items():
            curve = read_curve(self.getResultPath("fsc.star"), column)
            if curve is not None:
                curve.setObjLabel(name)
                curves.append(curve)

        outputs = {
            ReconstructOutputs.outputVolume.name: volume,
            ReconstructOutputs.outputFSC.name: curves,
        }
        self._defineOutputs(**outputs)
        for output in outputs.values():
            self._defineSourceRelation(self.inputParticles, output)

    def getResultPath(self, *names):
        """Return a path in the folder of the engine's results."""
        return self._getExtraPath("reconstruction", *names)

    # --------------------------- checks and texts --------------------------------------------
    def _validate(self):
        errors = self.findMissingInputs()
        particles, reference = self.inputParticles.get(), self.getShown("referenceVolume")
        if particles is None:
            return errors
        if not particles.hasAlignmentProj():
            errors.append("The particles have no projection directions: align them first.")
        if particles.isOddX():
            errors.append(
                f"The images are {particles.getXDim()} pixels wide: an even box is needed."
            )
        if self.doCTF == CTF_ON and not particles.hasCTF():
            errors.append(
                "The particles have no CTF to correct for: choose *auto*, or estimate it."
            )
        if reference is not None and reference.getXDim() != particles.getXDim():
            errors.append(
                f"The reference is {reference.getXDim()} voxels wide, the images "
                f"{particles.getXDim()}: crop or resize it."
            )
        return errors

    def _warnings(self):
        warnings = []
        particles = self.inputParticles.get()
        if particles is None:
            return warnings
        if not has_values(particles, RANDOM_SUBSET):
            warnings.append(
                "The particles have no random halves (`_rlnRandomSubset`): they will be drawn. If "
                "the poses come from one common refinement, the FSC is then too good."
            )
        if particles.isAmplitudeCorrected() and self.doCTF == CTF_ON:
            warnings.append(
                "The images are already CTF-corrected: with *on* they are corrected twice."
            )
        if has_values(particles, DENOISED_BY):
            warnings.append(
                "The particles are denoised: the FSC of their half maps says how consistent they are, "
                "not the resolution. Reconstruct the raw particles at these poses for that."
            )
        return warnings

    def _summary(self):
        summary = self.readSummary("summary.json")
        if not hasattr(self, ReconstructOutputs.outputVolume.name):
            return self.tellProgress()
        lines = []
        if "fsc_0.143_angstrom" in summary:
            meaning = summary.get("fsc_means", "resolution")
            lines.append(
                f"FSC 0.143 of the half maps: {summary['fsc_0.143_angstrom']:.2f} Å ({meaning})."
            )
        if "fsc_0.5_to_reference_angstrom" in summary:
            value = summary["fsc_0.5_to_reference_angstrom"]
            lines.append(f"FSC 0.5 against the reference: {value:.2f} Å.")
        if "particles" in summary:
            halves = summary.get("halves", "")
            lines.append(
                f"{word_count(summary['particles'], 'particle')}; halves: {halves}; CTF: {summary['ctf']}; "
                f"symmetry: {summary.get('symmetry', self.symmetryGroup.get())}."
            )
        lines += [f"Warning: {text}" for text in summary.get("warnings", [])]
        return [*lines, f"*Next*: {self.nameNextStep(summary)}."]

    def nameNextStep(self, summary):
        """Say what to do with the map."""
        if summary.get("denoised"):
            return (
                "reconstruct the raw particles at these poses (pwem's *assign alignment* gives them "
                "the poses): only the FSC of their half maps is a resolution"
            )
        if summary.get("fsc_means") == OF_FEW_VIEWS:
            return (
                "add particles of other views, or, if the molecule has one, its symmetry: of these few views no "
                "resolution can be told"
            )
        if summary.get("halves", "").startswith("drawn"):
            return (
                "refine the particles in two halves apart; these halves were drawn afterwards, and "
                "poses found together make the FSC too good"
            )
        return "a mask, then post-processing and local resolution: the map carries its half maps"

    def _methods(self):
        summary = self.readSummary("summary.json")
        if "particles" not in summary:
            return []
        return [
            f"Half maps of {summary['particles']} particles were reconstructed by CTF-weighted Fourier "
            f"back-projection (polardenoise, symmetry {self.symmetryGroup.get()}) and compared by "
            "Fourier shell correlation [rosenthal2003]."
        ]

    def _citations(self):
        return ["anden2025", "rosenthal2003"]
