"""The full form of *align on denoised, reconstruct raw*, once through Scipion and RELION's 3D auto-refine.

    python -m benchmarks refine3d_on_denoised -o FOLDER [--particles 200] [--box 32] [--snr 0.2]

Simulates a set, runs the template refine3D_on_denoised_reconstruct_raw step by step, and prints the resolution of the
raw particles' maps against the truth: at the true poses, at those found on denoised images and at those found on raw
ones. RELION's refinement on the CPU takes most of the time.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from polardenoise.tests import scipion_project

TEMPLATE = "refine3D_on_denoised_reconstruct_raw"


def measure(star: str, reference: Path, folder: Path) -> dict[str, float]:
    """Reconstruct raw particles at their poses; resolution between the halves and against the truth."""
    from polardenoise.engine.cli import main

    out = folder.with_suffix(".json")
    words = ["reconstruct", star, "-o", str(folder), "--reference", str(reference)]
    if main([*words, "--json", str(out)]) != 0:
        raise RuntimeError(f"reconstructing {star} failed")
    found = json.loads(out.read_text())
    return {name: found[name] for name in found if name.startswith("fsc_")}


def main(words: Sequence[str]) -> None:
    """Simulate, run the template, compare."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks refine3d_on_denoised", description=__doc__.splitlines()[0]
    )
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--particles", type=int, default=200)
    parser.add_argument("--box", type=int, default=32)
    parser.add_argument("--snr", type=float, default=0.2)
    arguments = parser.parse_args(words)
    folder = arguments.output.absolute()
    folder.mkdir(parents=True)
    os.environ.update(scipion_project.make_environment(folder))

    from pyworkflow.project import Manager

    from polardenoise.engine.cli import main as polardenoise
    from polardenoise.engine.particles.mrc import read_volume

    os.chdir(folder)
    words = f"simulate phantom:10005 -o sim --particles {arguments.particles} --box {arguments.box}"
    polardenoise([*words.split(), "--snr", str(arguments.snr), "--max-shift", "1"])
    truth = folder / "sim" / "volume.mrc"
    # Now: loading the project goes into its folder, and image names are relative to this one.
    print("true poses", measure("sim/particles.star", truth, folder / "true"), flush=True)
    values = {
        "project_name": "refine",
        "star": folder / "sim" / "particles.star",
        "map": truth,
        "pixel": round(float(read_volume(truth)[1]), 6),
        "voltage": 300,
        "cs": 2.7,
        "ac": 0.1,
        "angles": 1,
        "lowpass": 50,
        "gpu": 0,
        "threads": 1,
    }
    template = Path(scipion_project.__file__).parents[1] / "templates" / f"{TEMPLATE}.json.template"
    subprocess.run(
        [sys.executable, "-m", "scipion", "template", str(template), "--nogui", "--noschedule"]
        + [f"{name}={value}" for name, value in values.items()],
        check=True,
    )
    project = Manager().loadProject("refine")
    for run in sorted(project.getRuns(), key=lambda one: one.getObjId()):
        begun = time.monotonic()
        project.launchProtocol(run, wait=True)
        print(
            f"{run.getObjLabel()}: {run.getStatus()}, {time.monotonic() - begun:.0f} s", flush=True
        )
        if not run.isFinished():
            raise SystemExit(scipion_project.read_log(run))
        if run.getClassName() == "ProtPolarReconstruct":
            star = run._getExtraPath("particles.star")
            print(measure(star, truth, folder / f"map_{run.getObjId()}"), flush=True)
