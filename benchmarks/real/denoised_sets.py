"""Denoised sets, made by the command that users have, and kept by the weights that made them."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.common.command import run
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.networks.registry import is_joint
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles

#: How many of a set's classes are shown.
CLASSES = 8


def denoise_once(star: Path, model: str, folder: Path) -> Path:
    """Denoise a set with the defaults of `polardenoise denoise`, unless the folder holds it from the same weights.

    Parameters
    ----------
    star : Path
        The particles; the result takes the first part of its name from theirs.
    model : str
        Name or folder.
    folder : Path
        Where results lie, those of earlier runs too.

    Returns
    -------
    Path
        The denoised set. Beside it, where the network denoises images together, an `.npz` with its classes.
    """
    card = load_model(model)[1]
    out = folder / f"{star.stem}_{Path(model).name}_{card.weights_sha256[:8]}.star"
    if not out.is_file():
        matches = ["--matches", str(out.with_suffix(".npz"))] if is_joint(card.architecture) else []
        run("denoise", str(star), "-o", str(out), "--model", model, *matches)
    return out


def read_denoised(star: Path, model: str, folder: Path) -> Tensor:
    """Give the images of a set as a model denoises them, `(n, N, N)`."""
    out = denoise_once(star, model, folder)
    return torch.from_numpy(read_images(read_particles(out), slice(None)))


def read_classes(
    star: Path, model: str, folder: Path, rows: list[int] | None = None
) -> Tensor | None:
    """Give averages of 2D classes, `(k, N, N)`, protein bright: of the classes of some particles, or of the 8 largest.

    Nothing of single-image networks.
    """
    matches = denoise_once(star, model, folder).with_suffix(".npz")
    if not matches.is_file():
        return None
    with np.load(matches) as found:
        if rows is None:
            places = np.argsort(-found["class_size"], kind="stable")[:CLASSES]
        else:
            places = found["class_number"][rows] - 1
        return torch.from_numpy(found["class_averages"][places])
