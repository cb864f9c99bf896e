"""The project that the screenshots show: a small workflow that really ran."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "demo"))

from empty_boxes import empty_last_boxes
from workflow import Workflow

PROJECT = "tour"
# Images of a simulation, and of the one with junk those that show nothing.
PARTICLES, EMPTY = 400, 40
# Long enough for a few points of the curves, which come once a minute: some are drawn while it runs.
TRAINING_MINUTES = 2.5


def make_project() -> Workflow:
    """Create the project; the working directory is its folder from here on."""
    from pyworkflow.project import Manager

    workflow = Workflow(Manager().createProject(PROJECT))
    os.chdir(workflow.project.path)
    return workflow


def start_training(workflow: Workflow) -> Any:
    """Start a training that is still running when its curves are looked at."""
    from polardenoise.protocols import ProtPolarTrain

    training = workflow.project.newProtocol(
        ProtPolarTrain,
        phantoms="1-8",
        preset=1,
        minutes=TRAINING_MINUTES,
        useGpu=False,
        numberOfThreads=1,
    )
    training.setObjLabel("train")
    workflow.project.launchProtocol(training)
    return training


def run_tour(workflow: Workflow) -> None:
    """Run simulate, import model, denoise, select, evaluate and reconstruct, and prepare two runs."""
    from polardenoise.protocols import (
        ProtPolarAdapt,
        ProtPolarDenoise,
        ProtPolarEvaluate,
        ProtPolarImportModel,
        ProtPolarReconstruct,
        ProtPolarSelect,
        ProtPolarSimulate,
    )

    sizes = {"numberOfParticles": PARTICLES, "views": 6, "snr": 0.1, "numberOfThreads": 1}
    simulated = workflow.run("simulate", ProtPolarSimulate, {}, **sizes)
    with_junk = workflow.run("simulate with junk", ProtPolarSimulate, {}, **sizes)
    empty_last_boxes(with_junk.outputParticles, EMPTY)
    noisy, volume = (simulated, "outputParticles"), (simulated, "outputVolume")
    workflow.run("import model", ProtPolarImportModel, {}, importFrom=1)
    options = {"useGpu": False, "numberOfThreads": 1}
    denoised = workflow.run("denoise", ProtPolarDenoise, {"inputParticles": noisy}, **options)
    workflow.run(
        "select",
        ProtPolarSelect,
        {"inputParticles": (denoised, "outputParticles")},
        useTopFraction=True,
    )
    workflow.run(
        "evaluate",
        ProtPolarEvaluate,
        {
            "inputParticles": (denoised, "outputParticles"),
            "referenceParticles": (simulated, "outputClean"),
        },
    )
    for label, particles in (
        ("reconstruct raw", noisy),
        ("reconstruct denoised", (denoised, "outputParticles")),
    ):
        workflow.run(
            label,
            ProtPolarReconstruct,
            {"inputParticles": particles, "referenceVolume": volume},
            useReferenceVolume=True,
            numberOfThreads=1,
        )
    for label, protocol, particles, chosen in (
        ("adapt", ProtPolarAdapt, simulated, {}),
        ("denoise by clicks", ProtPolarDenoise, with_junk, {"setSize": 16}),
    ):
        prepared = workflow.project.newProtocol(protocol, **chosen, **options)
        prepared.setObjLabel(label)
        prepared.inputParticles.set(particles)
        prepared.inputParticles.setExtended("outputParticles")
        workflow.project.saveProtocol(prepared)
