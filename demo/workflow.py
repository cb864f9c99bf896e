"""The main job as a Scipion user would do it, scripted: simulate, denoise, reconstruct raw and denoised."""

from __future__ import annotations

import itertools
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Scipion colours the commands that it prints.
COLOUR_CODES = re.compile(r"\x1b\[[0-9;]*m")

# A network that sees one image at a time: what comparing images is worth shows beside it.
SINGLE_IMAGE_MODEL = "base-dncnn"


@dataclass(frozen=True)
class Run:
    """One protocol that ran: its label, its folder in the project, its time, what it called."""

    label: str
    folder: Path
    seconds: float
    commands: list[str]

    def read(self, name: str) -> str:
        """Read a text file of the run's `extra` folder."""
        return (self.folder / "extra" / name).read_text(encoding="utf-8")


@dataclass
class Workflow:
    """A Scipion project in the making; the working directory is its folder.

    Attributes
    ----------
    project : Project
        Scipion's.
    runs : dict
        By the name that `run` was given.
    """

    project: Any
    runs: dict[str, Run] = field(default_factory=dict)

    def run(self, name: str, protocol_class: type, inputs: dict[str, tuple], **values: Any) -> Any:
        """Run one protocol and wait for it.

        Parameters
        ----------
        name : str
            What the run is called here and in the project.
        protocol_class : type
            The protocol.
        inputs : dict
            Name of a pointer to (protocol, name of its output).
        **values
            The form.

        Returns
        -------
        Protocol
            Finished.

        Raises
        ------
        RuntimeError
            If the protocol failed; the message says where its log is.
        """
        start = time.monotonic()
        protocol = self.project.newProtocol(protocol_class, **values)
        protocol.setObjLabel(name)
        for pointer_name, (source, output) in inputs.items():
            pointer = getattr(protocol, pointer_name)
            pointer.set(source)
            pointer.setExtended(output)
        print(f"{name} ...", flush=True)
        self.project.launchProtocol(protocol, wait=True)
        seconds = time.monotonic() - start
        folder = Path(protocol.getWorkingDir()).resolve()
        if not protocol.isFinished():
            raise RuntimeError(
                f"{name} failed: {protocol.getErrorMessage()}; see {folder}/logs/run.stderr"
            )
        print(f"{name}: {seconds:.0f} s", flush=True)
        self.runs[name] = Run(name, folder, seconds, find_commands(folder / "logs" / "run.stdout"))
        return protocol


def find_commands(log: Path) -> list[str]:
    """List the commands that a run printed when it called them."""
    lines = [COLOUR_CODES.sub("", line).strip() for line in log.read_text().splitlines()]
    return [
        re.sub(r"^.*?INFO:\s*", "", following)
        for line, following in itertools.pairwise(lines)
        if line.endswith("** Running command: **")
    ]


def run_workflow(name: str, simulation: dict[str, Any], with_relion: bool) -> Workflow:
    """Run the whole job in a new project.

    Parameters
    ----------
    name : str
        Of the project.
    simulation : dict
        The form of the simulation.
    with_relion : bool
        Reconstruct with RELION as well.

    Returns
    -------
    Workflow
        With the runs "simulate", "denoise", "denoise singly" (where the single-image model is shipped),
        "reconstruct raw", "reconstruct denoised", and with RELION "RELION raw half1", ...
    """
    from pyworkflow.project import Manager

    from polardenoise.constants import SHIPPED_MODELS
    from polardenoise.convert.shipped_models import list_installed_models
    from polardenoise.protocols import ProtPolarDenoise, ProtPolarReconstruct, ProtPolarSimulate
    from polardenoise.protocols.protocol_denoise import GROUP_CLASS

    workflow = Workflow(Manager().createProject(name))
    os.chdir(workflow.project.path)
    threads = os.cpu_count() or 1

    simulated = workflow.run(
        "simulate", ProtPolarSimulate, {}, numberOfThreads=threads, **simulation
    )
    raw = (simulated, "outputParticles")
    # The views of the simulation are classes, as 2D classification would give them: each is denoised by itself.
    denoising = workflow.run(
        "denoise",
        ProtPolarDenoise,
        {"inputParticles": raw},
        grouping=GROUP_CLASS,
        numberOfThreads=threads,
    )
    if SINGLE_IMAGE_MODEL in list_installed_models():
        workflow.run(
            "denoise singly",
            ProtPolarDenoise,
            {"inputParticles": raw},
            modelName=SHIPPED_MODELS.index(SINGLE_IMAGE_MODEL),
            numberOfThreads=threads,
        )
    sets = {"raw": raw, "denoised": (denoising, "outputParticles")}
    for kind, particles in sets.items():
        workflow.run(
            f"reconstruct {kind}",
            ProtPolarReconstruct,
            {"inputParticles": particles, "referenceVolume": (simulated, "outputVolume")},
            useReferenceVolume=True,
            numberOfThreads=threads,
        )
    if with_relion:
        from relion.protocols import ProtRelionReconstruct

        for kind, particles in sets.items():
            for half in (1, 2):
                workflow.run(
                    f"RELION {kind} half{half}",
                    ProtRelionReconstruct,
                    {"inputParticles": particles},
                    doCTF=True,
                    subset=half,
                )
    return workflow
