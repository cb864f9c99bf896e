"""RELION's 2D classification of a set, for its averages and its time."""

import shutil
import subprocess
from pathlib import Path

from polardenoise.engine.runtime.errors import InputError

PROGRAM = "relion_refine"
#: A run of RELION's has so many iterations as a rule; times of fewer are scaled to it.
USUAL_ITERATIONS = 25
THREADS = 2


def is_installed() -> bool:
    """Tell whether RELION is on the PATH."""
    return shutil.which(PROGRAM) is not None


def classify(star: Path, classes: int, iterations: int, diameter: float, folder: Path) -> None:
    """Run Class2D with RELION's defaults. See `name_results`.

    Parameters
    ----------
    star : Path
        Particles, protein bright, noise of variance 1 and mean 0.
    classes, iterations : int
        Asked for.
    diameter : float
        Of the mask, Angstrom.
    folder : Path
        Gets the results.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = (
        f"--i {star} --o {folder / 'run'} --iter {iterations} --K {classes} --ctf --tau2_fudge 2 "
        f"--particle_diameter {diameter:.0f} --zero_mask --oversampling 1 --psi_step 12 --offset_range 5 "
        f"--offset_step 2 --norm --scale --pad 2 --dont_check_norm --preread_images --random_seed 1 --j {THREADS}"
    )
    with (folder / "log.txt").open("w") as log:
        done = subprocess.run(
            [PROGRAM, *words.split()], stdout=log, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode != 0:
        raise InputError(f"{PROGRAM} failed, see {log.name}")


def name_results(folder: Path, iterations: int) -> tuple[Path, Path]:
    """Name data and averages of the last iteration."""
    run = folder / f"run_it{iterations:03d}"
    return run.with_name(f"{run.name}_data.star"), run.with_name(f"{run.name}_classes.mrcs")
