"""Every form executed with nothing filled in but its input: it finishes, and says what to do next."""

import os

import mrcfile
import numpy as np
import pytest

from polardenoise.tests import scipion_project

from pwem.protocols import ProtImportParticles  # isort: skip

from polardenoise.protocols import (
    ProtPolarDenoise,
    ProtPolarEvaluate,
    ProtPolarImportModel,
    ProtPolarReconstruct,
    ProtPolarSimulate,
    ProtPolarTrain,
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

# Of the form of *train*, whose own default is an hour.
MINUTES = 0.2
# What the form of *simulate* makes: its default.
PARTICLES = 1000


def finish(project, protocol_class, inputs=None, **params):
    """Execute a form to its end; what it says last is what to do next."""
    run = scipion_project.run_protocol(project, protocol_class, inputs, **params)
    lines = run.summary()
    assert lines[-1].startswith(("*Next*: ", "Took ")), lines
    (following,) = [line for line in lines if line.startswith("*Next*: ")]
    assert len(following) > len("*Next*: ") + 10
    assert run._methods()
    return run


@pytest.fixture(scope="module")
def simulated(module_project):
    return finish(module_project, ProtPolarSimulate)


@pytest.fixture(scope="module")
def bright(module_project, simulated):
    """The simulated particles, denoised."""
    return finish(
        module_project, ProtPolarDenoise, {"inputParticles": (simulated, "outputParticles")}
    )


@pytest.fixture(scope="module")
def dark(module_project, simulated):
    """The same particles as they lie in the micrograph, protein dark, imported and denoised."""
    star = simulated.getResultPath("particles.star")
    with open(star) as file:
        text = file.read().replace("particles.mrcs", "dark.mrcs")
    folder = os.path.dirname(star)
    with open(os.path.join(folder, "dark.star"), "w") as file:
        file.write(text)
    with mrcfile.open(os.path.join(folder, "particles.mrcs")) as file:
        pixels, voxel = -file.data, file.voxel_size.copy()
    with mrcfile.new(os.path.join(folder, "dark.mrcs"), overwrite=True) as file:
        file.set_data(pixels)
        file.set_image_stack()
        file.voxel_size = voxel
    imported = scipion_project.run_protocol(
        module_project,
        ProtImportParticles,
        importFrom=ProtImportParticles.IMPORT_FROM_RELION,
        starFile=os.path.abspath(os.path.join(folder, "dark.star")),
        samplingRate=simulated.outputParticles.getSamplingRate(),
    )
    return finish(
        module_project, ProtPolarDenoise, {"inputParticles": (imported, "outputParticles")}
    )


def correlate(images, others):
    """Correlate all pixels of two stacks at once."""
    return float(np.corrcoef(images.ravel(), others.ravel())[0, 1])


def test_simulate(simulated):
    noisy, clean = (
        scipion_project.read_stack(simulated.outputParticles),
        scipion_project.read_stack(simulated.outputClean),
    )
    assert len(noisy) == len(clean) == PARTICLES
    assert simulated.outputVolume.getXDim() == noisy.shape[1] == 64
    assert 0 < correlate(noisy, clean) < 0.3


def test_denoise_bright(simulated, bright):
    assert bright.outputParticles.getSize() == PARTICLES
    assert bright.outputClasses.getSize() == bright.outputAverages.getSize() > 1
    assert os.path.isfile(bright.getReportPath(1))
    raw, images = (
        scipion_project.read_stack(simulated.outputParticles),
        scipion_project.read_stack(bright.outputParticles),
    )
    assert correlate(images, raw) > 0
    # Less than half of the raw power is left: noise was taken away.
    assert (images**2).mean() < 0.5 * (raw**2).mean()


def test_denoise_dark(bright, dark):
    """Contrast makes no difference but its sign, with nothing said about it."""
    one, other = (
        scipion_project.read_stack(bright.outputParticles),
        scipion_project.read_stack(dark.outputParticles),
    )
    assert correlate(one, other) < -0.9


def test_evaluate(module_project, simulated, bright):
    inputs = {
        "inputParticles": (bright, "outputParticles"),
        "referenceParticles": (simulated, "outputClean"),
    }
    run = finish(module_project, ProtPolarEvaluate, inputs)
    summary = run.readSummary("summary.json")
    assert summary["particles"] == PARTICLES
    assert summary["relative_mse"] < 1 < summary["relative_mse_noisy"]


def test_evaluate_on_pure_noise(module_project):
    """The one choice that needs no input at all."""
    run = finish(module_project, ProtPolarEvaluate, test=1)
    assert run.readSummary("summary.json")["images"] == 400


def test_reconstruct(module_project, simulated):
    run = finish(
        module_project, ProtPolarReconstruct, {"inputParticles": (simulated, "outputParticles")}
    )
    assert run.outputVolume.getXDim() == 64
    assert all(os.path.isfile(path) for path in run.outputVolume.getHalfMaps().split(","))


def test_train_and_denoise_with_what_was_trained(module_project, simulated):
    run = finish(module_project, ProtPolarTrain, minutes=MINUTES)
    assert run.outputModel.getBoxSize() == 64
    history = np.genfromtxt(run.getTrainingPath("history.csv"), delimiter=",", names=True, ndmin=1)
    assert len(history) >= 1
    inputs = {
        "inputParticles": (simulated, "outputParticles"),
        "inputModel": (run, "outputModel"),
    }
    denoised = finish(module_project, ProtPolarDenoise, inputs, modelSource=1)
    assert denoised.outputParticles.getSize() == PARTICLES


def test_import_model(module_project):
    run = finish(module_project, ProtPolarImportModel, importFrom=1)
    assert os.path.isfile(os.path.join(run.outputModel.getPath(), "weights.safetensors"))
