"""The templates and ring weights of a half, as a run keeps them on the disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.plan import START_ANEW, Job
from polardenoise.engine.neighbours.templates import Templates, prepare_templates
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.runtime.arrays import read_arrays, save_arrays

#: The estimates that are added up.
KINDS = ("templates", "smoothed templates", "first estimate")


@dataclass(frozen=True)
class WholeFold:
    """What the images of a fold are estimated with.

    Attributes
    ----------
    templates : Templates
        Of the other fold.
    weights : Tensor
        `(3, box // 2)` ring weights.
    """

    templates: Templates
    weights: Tensor


def name_templates_file(folder: Path, half: int) -> Path:
    """Name the file with the templates of a half."""
    return folder / f"templates.{half}.npz"


def save_templates(path: Path, folds: list[Tensor], weights: Tensor) -> None:
    """Save the templates of both folds of a half, `(kinds, m, box, box)` each, and its ring weights."""
    save_arrays(
        path,
        weights=weights.cpu().numpy(),
        **{f"fold_{fold}": images.half().cpu().numpy() for fold, images in enumerate(folds, 1)},
    )


def load_whole_fold(job: Job, folder: Path, half: int, fold: int) -> WholeFold:
    """Load what the images of a fold are estimated with.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    other = f"fold_{3 - fold}"
    saved = read_arrays(
        name_templates_file(folder, half), {"weights": ("f", 2), other: ("f", 4)}, START_ANEW
    )
    images, weights = (
        torch.from_numpy(saved[name]).float().to(job.device) for name in (other, "weights")
    )
    return WholeFold(prepare_templates(images, as_joint(job.model).average_grid), weights)


def state_templates(job: Job, folder: Path) -> dict[str, Any]:
    """State for the provenance how the images of divided halves were estimated, by half."""
    stated = {}
    for half in np.unique(job.halves[job.folds > 0]).tolist():
        wanted = {"weights": ("f", 2), "fold_1": ("f", 4), "fold_2": ("f", 4)}
        saved = read_arrays(name_templates_file(folder, half), wanted, START_ANEW)
        images = job.shared.first_row[job.halves[job.shared.first_row] == half]
        stated[str(half)] = {
            "folds": np.bincount(job.folds[images], minlength=3)[1:].tolist(),
            "templates": [saved[name].shape[1] for name in ("fold_1", "fold_2")],
            "ring_weights": {
                kind: [round(float(weight), 4) for weight in own]
                for kind, own in zip(KINDS, saved["weights"], strict=True)
            },
        }
    return stated
