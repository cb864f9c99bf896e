"""Particles whose noise-free images are known one by one, and sets of them as existing projects have them.

A row that is mixed up anywhere between a set, the engine's files and the output set shows at once: each
denoised image has to be most like the truth of its own particle.
"""

import os
import re
import shlex
from dataclasses import dataclass, field, replace

import mrcfile
import numpy as np
import torch

from polardenoise.tests import scipion_project

import pwem.objects as em  # isort: skip
from pwem.constants import ALIGN_2D, ALIGN_NONE, ALIGN_PROJ  # isort: skip
from pwem.convert.transformations import euler_matrix  # isort: skip
from pwem.protocols import ProtImportParticles  # isort: skip
from pyworkflow.object import Float, String  # isort: skip

from polardenoise.convert.alignment import make_projection_matrix
from polardenoise.engine.cli import main
from polardenoise.engine.imaging.ctf import CtfParameters, apply_ctf, compute_ctf
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import ParticleSet, read_particles
from polardenoise.protocols import ProtPolarDenoise
from polardenoise.protocols.forms.denoise_form import GROUP_RANDOM
from polardenoise.tests.scipion_project import read_stack

BOX, COUNT = 32, 36
# A denoised image of this molecule is like its truth (0.91 at least) and less like that of any other particle (by 0.26
# at least with a CTF, whose defocus tells them apart too; by 0.045 without).
MOLECULE, ALIKE, MARGIN = "phantom:10004", 0.7, 0.02
# Where an image lies changes; nothing else does. And what the protocol adds to a particle.
MOVED = {"_index", "_filename"}
ADDED = {"_polardenoiseModel"}


@dataclass(frozen=True)
class KnownParticles:
    """Clean images, what is known of each particle, and where its noisy image lies.

    `clean` is `(n, BOX, BOX)`; `locations` are `(number from 1, path)`; `recorded` is `(n, BOX, BOX)`, what
    the microscope would have recorded without noise, in the state that the stacks are in.
    """

    simulated: ParticleSet
    clean: torch.Tensor
    recorded: np.ndarray | None = None
    locations: list = field(default_factory=list)

    @property
    def pixel_size(self):
        return float(self.simulated.pixel_size[0])

    @property
    def ctf(self) -> CtfParameters:
        return self.simulated.ctf


def simulate_known(folder):
    """Simulate in `folder`, relative to the working directory as RELION's importer wants it."""
    words = [MOLECULE, "--particles", str(COUNT), "--box", str(BOX), "--max-shift", "1"]
    assert main(["simulate", *words, "--snr", "1", "-o", folder]) == 0
    clean = read_images(read_particles(f"{folder}/clean.star"), slice(None))
    return KnownParticles(
        read_particles(f"{folder}/particles.star"), torch.from_numpy(np.array(clean))
    )


def write_stacks(known, folder, state="raw", ctf=None, stacks=3, seed=0):
    """Write noisy images into several stacks, in an order that is not that of the particles.

    Parameters
    ----------
    known : KnownParticles
        What is in them.
    folder : str
        For the stacks, made here.
    state : str
        `raw`, `flipped` or `none`: what the CTF has done to the pixels.
    ctf : CtfParameters, optional
        Another CTF than the simulated one.
    stacks : int
        How many.
    seed : int
        Of the order and the noise.

    Returns
    -------
    KnownParticles
        With `recorded` and `locations`.
    """
    generator = np.random.default_rng(seed)
    transfer = compute_ctf(ctf or known.ctf, known.pixel_size, BOX)
    transfer = {"raw": transfer, "flipped": transfer.abs(), "none": torch.ones_like(transfer)}
    recorded = apply_ctf(known.clean, transfer[state]).numpy()
    noise = generator.normal(0, recorded.std(), recorded.shape)
    order = generator.permutation(COUNT)
    locations = [None] * COUNT
    os.makedirs(folder)
    for number, rows in enumerate(np.array_split(order, stacks)):
        path = f"{folder}/mic_{number}.mrcs"
        with mrcfile.new(path) as file:
            file.set_data((recorded + noise)[rows].astype(np.float32))
            file.set_image_stack()
            file.voxel_size = known.pixel_size
        for index, row in enumerate(rows, 1):
            locations[row] = (index, path)
    return replace(known, recorded=recorded, locations=locations)


def make_acquisition(voltage=300.0):
    return em.Acquisition(
        magnification=50000.0, voltage=voltage, sphericalAberration=2.7, amplitudeContrast=0.1
    )


def make_particle(known, row, alignment=ALIGN_NONE, with_ctf=True, with_coordinate=True):
    """Make a particle with whatever programs leave on one."""
    particle = em.Particle()
    particle.setLocation(known.locations[row])
    if with_ctf:
        ctf = em.CTFModel()
        values = (known.ctf.defocus_u, known.ctf.defocus_v, known.ctf.defocus_angle)
        ctf.setStandardDefocus(*(float(value[row]) for value in values))
        ctf.setResolution(3.5 + row / 10)
        ctf.setPsdFile(f"psd_{row}.mrc")
        particle.setCTF(ctf)
    if alignment == ALIGN_PROJ:
        x, y = known.simulated.origins[row] / known.pixel_size
        matrix = make_projection_matrix(*known.simulated.angles[row], x, y)
        particle.setTransform(em.Transform(matrix))
    elif alignment == ALIGN_2D:
        matrix = euler_matrix(np.deg2rad(10.0 * row), 0, 0, "szyz")
        matrix[:2, 3] = row / 10, -row / 20
        particle.setTransform(em.Transform(matrix))
    if with_coordinate:
        micrograph = 11 + row % 4
        coordinate = em.Coordinate(x=10 * row, y=1000 - 20 * row)
        coordinate.setMicId(micrograph)
        coordinate.setMicName(f"mic {micrograph}.mrc")
        particle.setCoordinate(coordinate)
        particle.setMicId(micrograph)
    particle._xmipp_zScore = Float(row / 8)
    particle._rlnGroupName = String(f"group_{row % 5}")
    return particle


def make_run(project, label, particles_made, alignment=ALIGN_NONE, with_ctf=True, **flags):
    """Make a finished run whose output are these particles, as if another program had left them.

    Parameters
    ----------
    project : Project
        Gets it.
    label : str
        Its name there.
    particles_made : iterable of Particle
        Those without id get the next one.
    alignment : str
        What the set says.
    with_ctf : bool
        What the set says.
    **flags
        `pixel_size`, `acquisition`, `flipped`.

    Returns
    -------
    Protocol
        With `outputParticles`.
    """
    run = project.newProtocol(ProtImportParticles)
    run.setObjLabel(label)
    project.saveProtocol(run)
    run.makePathsAndClean()
    particles = run._createSetOfParticles()
    particles.setSamplingRate(flags["pixel_size"])
    particles.setAcquisition(flags.get("acquisition") or make_acquisition())
    particles.setIsPhaseFlipped(flags.get("flipped", False))
    particles.setHasCTF(with_ctf)
    particles.setAlignment(alignment)
    for particle in particles_made:
        particles.append(particle)
    run._defineOutputs(outputParticles=particles)
    run.setFinished()
    project._storeProtocol(run)
    project.mapper.commit()
    return run


def denoise(source, output="outputParticles", **params):
    """Denoise an output of a run on the processor with the default model, any images together."""
    # Scipion waits three seconds between steps where it has threads for several at once.
    threads = {"numberOfThreads": 1, "binThreads": 1}
    return scipion_project.run_protocol(
        scipion_project.get_project(),
        ProtPolarDenoise,
        {"inputParticles": (source, output)},
        **{"useGpu": False, "grouping": GROUP_RANDOM, **threads, **params},
    )


def read_items(particles):
    """Every attribute of every enabled item, as text, by id."""
    return {
        item.getObjId(): {name: str(value) for name, value in item.getObjDict().items()}
        for item in particles.iterItems()
        if item.isEnabled()
    }


def differ(one, other):
    """Tell whether two values differ; a number that was stored has fifteen digits."""
    try:
        return not np.isclose(float(one), float(other), rtol=1e-14, atol=0, equal_nan=True)
    except ValueError:
        return one != other


def check_attributes(run, present=(), added=ADDED):
    """Compare the output of a denoise run with its input, item by item and attribute by attribute.

    Parameters
    ----------
    run : ProtPolarDenoise
        Finished.
    present : iterable of str
        Attributes that the first item must have: comparing nothing would pass too.
    added : set of str
        What the output's items have that the input's have not.
    """
    given, denoised = run.inputParticles.get(), run.outputParticles
    before, after = read_items(given), read_items(denoised)
    assert list(before) == list(after)
    assert denoised.getSize() == len(before) > 1
    for name in present:
        assert next(iter(before.values()))[name] not in ("", "None"), name
    for number, attributes in before.items():
        assert set(after[number]) ^ set(attributes) == set(added), number
        changed = {name for name in attributes if differ(attributes[name], after[number][name])}
        assert changed <= MOVED, [(name, attributes[name], after[number][name]) for name in changed]
    scipion_project.check_set_facts(given, denoised)
    assert denoised.getDim()[:2] == given.getDim()[:2]


def check_pixels(run, known):
    """Each denoised image is most like the truth of its own particle, known by where its noisy image lies."""
    place = {
        (index, os.path.realpath(path)): row for row, (index, path) in enumerate(known.locations)
    }
    rows = []
    for item in run.inputParticles.get().iterItems():
        if item.isEnabled():
            index, path = item.getLocation()
            rows.append(place[index, os.path.realpath(path)])
    denoised = read_stack(run.outputParticles)
    assert np.isfinite(denoised).all()
    both = np.concatenate([denoised, known.recorded]).reshape(-1, BOX * BOX)
    likeness = np.corrcoef(both)[: len(rows), len(rows) :]
    own = likeness[np.arange(len(rows)), rows]
    assert (likeness.argmax(1) == rows).all()
    assert own.min() > ALIKE
    likeness[np.arange(len(rows)), rows] = 0
    assert (own - likeness.max(1)).min() > MARGIN
    check_command(run)


def check_command(run):
    """The engine by itself, with the command of the log and on the same STAR file, gives the same bytes."""
    with open(run.getStdoutLog(), encoding="utf-8", errors="replace") as file:
        text = re.sub(r"\x1b\[[0-9;]*m", "", file.read())
    (line,) = re.findall(r"-m polardenoise\.engine (denoise .*)", text)
    words = shlex.split(line)
    words[words.index("-o") + 1] = run._getTmpPath("again.star")
    words[words.index("--json") + 1] = run._getTmpPath("again.json")
    # The page tells of the images and changes none; the run's own stays.
    page = words.index("--report")
    del words[page : page + 2]
    os.makedirs(run._getTmpPath(), exist_ok=True)
    assert main(words) == 0
    again = mrcfile.read(run._getTmpPath("again.mrcs"))
    assert again.tobytes() == read_stack(run.outputParticles).tobytes()
