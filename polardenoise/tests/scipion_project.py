"""A headless Scipion project for the tests: the environment that it needs, and how protocols are run in it.

Import this before anything of pyworkflow or pwem: they read their configuration when they are imported.
"""

import atexit
import functools
import os
import shutil
import sys
import tempfile
from pathlib import Path

import mrcfile
import numpy as np

PARTICLES = 240
HOSTS = "[localhost]\nPARALLEL_COMMAND = mpirun -np %_(JOB_NODES)d %_(COMMAND)s\n"


def make_environment(folder):
    """Return the variables that Scipion, RELION and their children need, with `folder` for their files."""
    home, data = Path(folder, "home"), Path(folder, "userdata")
    (home / "config").mkdir(parents=True, exist_ok=True)
    data.mkdir(exist_ok=True)
    (home / "config" / "hosts.conf").write_text(HOSTS)
    relion = shutil.which("relion_reconstruct")
    return {
        # Without this, protocols start in whatever python3 the system has.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "SCIPION_HOME": str(home),
        "SCIPION_USER_DATA": str(data),
        "SCIPION_DOMAIN": "pwem",
        "SCIPION_NOTIFY": "False",
        "RELION_HOME": str(Path(relion).parents[1]) if relion else str(home),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMP_NUM_THREADS": "1",
    }


FOLDER = tempfile.mkdtemp(prefix="polardenoise_scipion_")
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
os.environ.update(make_environment(FOLDER))


def create_project():
    """Create the project and go into it, as Scipion does."""
    from pyworkflow.project import Manager

    project = Manager().createProject("tests")
    os.chdir(project.path)
    return project


def run_protocol(project, protocol_class, inputs=None, label=None, must_finish=True, **params):
    """Run a protocol to its end.

    `inputs` maps a parameter to `(protocol, output name)`, `(protocol, None)` or to a list of them.
    """
    protocol = project.newProtocol(protocol_class, **params)
    for name, source in (inputs or {}).items():
        set_input(protocol, name, source)
    if label:
        protocol.setObjLabel(label)
    project.launchProtocol(protocol, wait=True)
    if must_finish:
        assert protocol.isFinished(), f"{protocol.getErrorMessage()}\n{read_log(protocol)}"
    return protocol


def set_input(protocol, name, source):
    """Point an input at another protocol's output, the way that survives storing."""
    from pyworkflow.object import Pointer

    if isinstance(source, list):
        for parent, output in source:
            getattr(protocol, name).append(Pointer(parent, extended=output))
        return
    pointer = getattr(protocol, name)
    pointer.set(source[0])
    if source[1] is not None:  # else the run itself is the input
        pointer.setExtended(source[1])


def read_log(protocol):
    """Return the end of what a run said."""
    texts = []
    for path in protocol.getLogPaths():
        if os.path.exists(path):
            texts.append(Path(path).read_text(errors="replace")[-3000:])
    return "\n".join(texts)


def read_stack(particles):
    """Read the pixels of a set in the order of the ids, `(n, N, N)`."""
    images = []
    for item in particles.iterItems():
        index, path = item.getLocation()
        with mrcfile.mmap(path) as file:
            images.append(file.data[index - 1].copy())
    return np.stack(images)


def reconstruct_with_relion(source):
    """Run RELION's reconstruction, with CTF, of each random half of a run's particles; return both runs."""
    from relion.protocols import ProtRelionReconstruct

    return [
        run_protocol(
            get_project(),
            ProtRelionReconstruct,
            {"inputParticles": (source, "outputParticles")},
            doCTF=True,
            subset=subset,
        )
        for subset in (1, 2)
    ]


@functools.lru_cache(maxsize=None)
def get_project():
    """Return the one project that all tests share, after going into it."""
    return create_project()


@functools.lru_cache(maxsize=None)
def get_simulation():
    """Return the run that simulates the particles most tests share: 64 px, all directions, CTF, shifts."""
    from polardenoise.protocols import ProtPolarSimulate

    return run_protocol(
        get_project(),
        ProtPolarSimulate,
        numberOfParticles=PARTICLES,
        snr=0.1,
        maxShift=2.0,
        numberOfThreads=1,
    )


@functools.lru_cache(maxsize=None)
def get_views():
    """Return a run that simulates few small images of four views, classes 1 to 4, without CTF."""
    from polardenoise.protocols import ProtPolarSimulate

    return run_protocol(
        get_project(),
        ProtPolarSimulate,
        numberOfParticles=64,
        boxSize=32,
        views=4,
        snr=0.1,
        doCTF=False,
        numberOfThreads=1,
    )


@functools.lru_cache(maxsize=None)
def get_import():
    """Return the run that imports those particles from their STAR file, as a user would."""
    from pwem.protocols import ProtImportParticles

    project, simulation = get_project(), get_simulation()
    particles = simulation.outputParticles
    return run_protocol(
        project,
        ProtImportParticles,
        importFrom=ProtImportParticles.IMPORT_FROM_RELION,
        starFile=os.path.abspath(simulation.getResultPath("particles.star")),
        samplingRate=particles.getSamplingRate(),
        voltage=particles.getAcquisition().getVoltage(),
        sphericalAberration=particles.getAcquisition().getSphericalAberration(),
        amplitudeContrast=particles.getAcquisition().getAmplitudeContrast(),
    )


@functools.lru_cache(maxsize=None)
def get_training():
    """Return a run that trains a tiny network for a few steps: enough to have a model."""
    from polardenoise.protocols import ProtPolarTrain

    return run_protocol(
        get_project(),
        ProtPolarTrain,
        phantoms="1-2",
        preset=1,
        steps=4,
        useGpu=False,
        numberOfThreads=1,
        binThreads=1,
    )


@functools.lru_cache(maxsize=None)
def get_denoised():
    """Return the run that denoises the imported particles with everything at its default."""
    from polardenoise.protocols import ProtPolarDenoise

    inputs = {"inputParticles": (get_import(), "outputParticles")}
    return run_protocol(get_project(), ProtPolarDenoise, inputs)


@functools.lru_cache(maxsize=None)
def get_denoised_views():
    """Return the run that denoises the few small images of four views with the tiny model."""
    from polardenoise.protocols.forms.denoise_form import GROUP_CLASS

    return denoise_views(grouping=GROUP_CLASS, binThreads=1)


@functools.lru_cache(maxsize=None)
def get_denoised_chunks():
    """Return the run that denoises the few small images in two chunks, in random sets, with the tiny model."""
    from polardenoise.protocols.forms.denoise_form import GROUP_RANDOM

    return denoise_views(grouping=GROUP_RANDOM, particlesPerChunk=32)


def check_set_facts(given, made):
    """Two sets of particles say the same of all their items."""
    for get in (
        "getSamplingRate",
        "getAlignment",
        "isPhaseFlipped",
        "isAmplitudeCorrected",
        "hasCTF",
    ):
        assert getattr(given, get)() == getattr(made, get)(), get
    assert made.getAcquisition().equalAttributes(given.getAcquisition())


def denoise_views(**params):
    """Run `denoise` on the few small images with the tiny model, on the processor."""
    from polardenoise.protocols import ProtPolarDenoise

    return run_protocol(
        get_project(),
        ProtPolarDenoise,
        {
            "inputParticles": (get_views(), "outputParticles"),
            "inputModel": (get_training(), "outputModel"),
        },
        modelSource=1,
        useGpu=False,
        numberOfThreads=1,
        **params,
    )
