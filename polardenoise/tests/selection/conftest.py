"""A run that gives raw particles, one that denoised them, and one that gives some of its classes."""

import pytest
from pyworkflow.object import Pointer

from polardenoise.protocols import ProtPolarDenoise
from polardenoise.tests.selection.selection_runs import make_denoised, make_raw


@pytest.fixture(scope="module")
def raw(module_project):
    return make_raw(module_project, "raw")


@pytest.fixture(scope="module")
def denoised(module_project, raw):
    return make_denoised(module_project, raw, "denoised")


@pytest.fixture(scope="module")
def picked(module_project, denoised):
    """A run that gives classes 2 and 3, as Scipion's viewer does for those that are picked."""
    run = module_project.newProtocol(ProtPolarDenoise)
    run.setObjLabel("picked")
    module_project.saveProtocol(run)
    run.makePathsAndClean()
    classes = run._createSetOfClasses2D(Pointer(denoised, extended="outputParticles"))
    classes.appendFromClasses(
        denoised.outputClasses, filterClassFunc=lambda one: one.getObjId() in (2, 3)
    )
    run._defineOutputs(outputClasses=classes)
    run.setFinished()
    module_project._storeProtocol(run)
    module_project.mapper.commit()
    return run
