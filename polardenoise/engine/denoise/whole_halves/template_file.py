"""The templates and ring weights of a half in a round, as a run keeps them on the disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.plan import START_ANEW, Job
from polardenoise.engine.denoise.whole_halves.sample import draw_sample
from polardenoise.engine.neighbours.folds import FOLDS, next_fold
from polardenoise.engine.neighbours.templates import Templates, prepare_templates
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.runtime.arrays import read_arrays, save_arrays

#: Rounds: the templates of the first are estimates by neighbours alone, those of the next estimates through the first.
ROUNDS = FOLDS - 1
#: What is added up in each round.
KINDS = (
    ("templates", "smoothed templates", "network"),
    ("first templates", "better templates", "smoothed better templates", "network"),
)


@dataclass(frozen=True)
class WeightsOfHalf:
    """What the estimates of the images of a half are added up with.

    Attributes
    ----------
    guess : Tensor
        `(k, box // 2)` ring weights of the expectations, for what the network goes by.
    weights : Tensor
        `(k + 1, box // 2)` ring weights of all estimates, as `KINDS` has them.
    off_centre : bool
        Whether its particles lie off the centres of their images.
    """

    guess: Tensor
    weights: Tensor
    off_centre: bool


@dataclass(frozen=True)
class WholeFold:
    """What the images of a fold are estimated with.

    Attributes
    ----------
    templates : tuple of Templates
        Of the next fold; those of earlier rounds, not smoothed, come first.
    of_half : WeightsOfHalf
        The rest.
    """

    templates: tuple[Templates, ...]
    of_half: WeightsOfHalf


def name_templates_file(folder: Path, number: int, half: int) -> Path:
    """Name the file with the templates of a half in a round."""
    return folder / f"templates.{number}.{half}.npz"


def save_templates(path: Path, folds: list[Tensor], of_half: WeightsOfHalf) -> None:
    """Save the templates of the folds of a half, `(kinds, m, box, box)` each, and its weights."""
    save_arrays(
        path,
        guess=of_half.guess.cpu().numpy(),
        weights=of_half.weights.cpu().numpy(),
        off_centre=np.array([of_half.off_centre], dtype=np.int64),
        **{name_fold(fold): images.half().cpu().numpy() for fold, images in enumerate(folds, 1)},
    )


def name_fold(fold: int) -> str:
    """Name the templates of a fold in the file."""
    return f"fold_{fold}"


def load_whole_fold(job: Job, folder: Path, number: int, half: int, fold: int) -> WholeFold:
    """Load what the images of a fold are estimated with in a round.

    Raises
    ------
    InputError
        If a file is damaged.
    """
    wanted = {"guess": ("f", 2), "weights": ("f", 2), "off_centre": ("i", 1)}
    saved = read_arrays(name_templates_file(folder, number, half), wanted, START_ANEW)
    guess, weights = (torch.from_numpy(saved[name]).to(job.device) for name in ("guess", "weights"))
    images = load_earlier(job, folder, number, half, fold)
    images.append(load_templates(job, name_templates_file(folder, number, half), fold))
    grid = as_joint(job.model).average_grid
    templates = tuple(prepare_templates(one, grid) for one in images)
    return WholeFold(templates, WeightsOfHalf(guess, weights, bool(saved["off_centre"].any())))


def load_earlier(job: Job, folder: Path, number: int, half: int, fold: int) -> list[Tensor]:
    """Load the templates of earlier rounds, `(1, m, box, box)` each, that the images of a fold are seen through."""
    return [
        load_templates(job, name_templates_file(folder, before, half), fold)[:1]
        for before in range(1, number)
    ]


def load_templates(job: Job, path: Path, fold: int) -> Tensor:
    """Load the templates `(kinds, m, box, box)` that the images of a fold are seen through."""
    seen_through = name_fold(next_fold(fold))
    saved = read_arrays(path, {seen_through: ("f", 4)}, START_ANEW)
    return torch.from_numpy(saved[seen_through]).float().to(job.device)


def state_templates(job: Job, folder: Path) -> dict[str, Any]:
    """State for the provenance how the images of divided halves were estimated, by half."""
    stated = {}
    sample = draw_sample(job)
    for half in np.unique(job.halves[job.folds > 0]).tolist():
        saved = read_arrays(
            name_templates_file(folder, ROUNDS, half), {"weights": ("f", 2)}, START_ANEW
        )
        images = job.shared.first_row[job.halves[job.shared.first_row] == half]
        stated[str(half)] = {
            "folds": count_folds(job, images),
            "templates": count_folds(job, sample[job.halves[sample] == half]),
            "ring_weights": {
                kind: [round(float(weight), 4) for weight in own]
                for kind, own in zip(KINDS[-1], saved["weights"], strict=True)
            },
        }
    return stated


def count_folds(job: Job, rows: np.ndarray) -> list[int]:
    """Count how many of some rows are in each fold."""
    counts: list[int] = np.bincount(job.folds[rows], minlength=FOLDS + 1)[1:].tolist()
    return counts
