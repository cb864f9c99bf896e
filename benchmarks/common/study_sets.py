"""What the studies of maps and of orientations share: molecules, methods, and sets made by the command line.

The molecules are of split `test` of ../shared's list, or phantoms with the seeds of tests where that is not there: no
model was trained on either.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from benchmarks.common.command import run
from benchmarks.common.places import CHECKPOINTS, find_structures
from polardenoise.engine.imaging.fsc import fourier_shell_correlation, resolution_at
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.particles.mrc import read_volume
from polardenoise.engine.runtime.errors import InputError

PHANTOMS = ("phantom:10001", "phantom:10005", "phantom:10013")

#: How images are denoised, in the order of the tables: name and model. Raw images are not.
METHODS = {
    "DnCNN": "base-dncnn",
    "polar CNN": str(CHECKPOINTS / "polar-cnn"),
    "polar transformer": "base",
}
RAW = "raw"

#: Voxels where the truth is above this share of its maximum are molecule; the mask goes on for so many voxels, and then
#: falls off over so many.
MOLECULE, MARGIN, EDGE = 0.05, 2.0, 3.0


def find_molecules(names: Sequence[str]) -> list[str]:
    """Give structures of the shared data by the names of their files, or the test phantoms where they are not there."""
    files = [find_structures() / name for name in names]
    return [str(file) for file in files] if all(file.is_file() for file in files) else [*PHANTOMS]


def name_molecule(source: str) -> str:
    """Shorten a source for a table: `1u6g` of `.../1u6g.pdb.gz`."""
    return Path(source).name.split(".")[0]


def choose_methods(given: Sequence[str]) -> dict[str, str]:
    """Read `NAME=MODEL` words (none: `METHODS`); a model that is not there is left out, with a line that says so."""
    asked = dict(word.split("=", 1) for word in given) if given else METHODS
    methods = {}
    for name, model in asked.items():
        try:
            load_model(model)
        except InputError as error:
            print(f"left out: {name}: {error}", flush=True)
        else:
            methods[name] = model
    return methods


def describe_methods(methods: dict[str, str]) -> dict[str, dict[str, str]]:
    """State architecture and hash of the weights of every model, for the record."""
    cards = {name: load_model(model)[1] for name, model in methods.items()}
    return {
        name: {
            "model": Path(methods[name]).name,
            "architecture": card.architecture,
            "weights_sha256": card.weights_sha256,
        }
        for name, card in cards.items()
    }


def denoise_set(noisy: Path, methods: dict[str, str]) -> dict[str, Path]:
    """Denoise a set by every method with the defaults of the command (neighbours, CTF kept); raw stands first."""
    stars = {RAW: noisy}
    for name, model in methods.items():
        stars[name] = noisy.with_name(f"denoised_{len(stars)}.star")
        run("denoise", str(noisy), "-o", str(stars[name]), "--model", model)
    return stars


@dataclass(frozen=True)
class MeasuredMap:
    """A map beside the truth.

    Attributes
    ----------
    to_truth, to_truth_masked, between_halves : ndarray
        `(N // 2 + 1,)` Fourier shell correlation: of the whole map with the truth, in all of the box and about the
        molecule alone, and between the half maps.
    meaning : str
        What the curve between the halves may be called: resolution, or consistency only.
    pixel_size : float
        Angstrom.
    """

    to_truth: np.ndarray
    to_truth_masked: np.ndarray
    between_halves: np.ndarray
    meaning: str
    pixel_size: float

    def find_resolution(self, curve: np.ndarray, threshold: float) -> float:
        """Read a resolution off one of the curves, Angstrom."""
        return resolution_at(curve, threshold, self.pixel_size, 2 * (len(curve) - 1))


def measure_map(star: Path, truth: Path, folder: Path) -> MeasuredMap:
    """Reconstruct a set at the poses it states, by `polardenoise reconstruct`, and hold the maps against the truth."""
    run("reconstruct", str(star), "-o", str(folder), "--reference", str(truth))
    summary = json.loads((folder / "summary.json").read_text())
    half1, half2, volume = (
        torch.from_numpy(read_volume(folder / name)[0])
        for name in ("half1.mrc", "half2.mrc", "volume.mrc")
    )
    known, pixel_size = read_volume(truth)
    reference = torch.from_numpy(known)
    mask = mask_molecule(reference)
    return MeasuredMap(
        fourier_shell_correlation(volume, reference),
        fourier_shell_correlation(volume * mask, reference * mask),
        fourier_shell_correlation(half1, half2),
        summary["fsc_means"],
        float(pixel_size),
    )


def mask_molecule(truth: Tensor) -> Tensor:
    """Make a soft mask about the molecule.

    Parameters
    ----------
    truth : Tensor
        `(N, N, N)`, protein bright, background 0.

    Returns
    -------
    Tensor
        `(N, N, N)`: 1 in the molecule and for `MARGIN` voxels about it, 0 farther out, a raised cosine of `EDGE` voxels
        between.
    """
    distance = distance_transform_edt((truth <= MOLECULE * truth.max()).numpy())
    beyond = np.clip((distance - MARGIN) / EDGE, 0, 1)
    return torch.from_numpy(0.5 + 0.5 * np.cos(np.pi * beyond)).float()
