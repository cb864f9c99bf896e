"""The templates, views and ring weights of a half, as a run keeps them on the disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.plan import START_ANEW, Job
from polardenoise.engine.denoise.whole_halves.sample import draw_sample
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.neighbours.folds import FOLD_NUMBERS, FOLDS, next_fold
from polardenoise.engine.neighbours.templates import Templates, prepare_templates
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.runtime.arrays import read_arrays, save_arrays

#: What is added up.
KINDS = ("templates", "views", "network")


@dataclass(frozen=True)
class WeightsOfHalf:
    """What the estimates of the images of a half are added up with.

    Attributes
    ----------
    guess : Tensor
        `(2, box // 2)` ring weights of the expectations, for what the network goes by.
    weights : Tensor
        `(3, box // 2)` ring weights of all estimates, as `KINDS` has them.
    off_centre : bool
        Whether its particles lie off the centres of their images.
    pays : bool
        Whether the sum is better than what images are among their neighbours alone; if not, that is what they get.
    """

    guess: Tensor
    weights: Tensor
    off_centre: bool
    pays: bool


@dataclass(frozen=True)
class ShownToFolds:
    """What the images of each fold of a half are seen through.

    Attributes
    ----------
    estimates : sequence of Tensor
        `(m, box, box)` of the images of each fold's sample: for those of the fold before.
    views : sequence of Tensor
        `(m, box, box)` for the images of each fold, of a volume of both other folds.
    grid : PolarGrid
        Of the network.
    """

    estimates: Sequence[Tensor]
    views: Sequence[Tensor]
    grid: PolarGrid

    def prepare(self, fold: int) -> list[Templates]:
        """Prepare templates and views for the images of a fold: eight times as large, so that one fold has them."""
        images = (self.estimates[next_fold(fold) - 1], self.views[fold - 1])
        return [prepare_templates(one[None].float(), self.grid) for one in images]


@dataclass(frozen=True)
class WholeHalf:
    """What the images of a half are estimated with.

    Attributes
    ----------
    shown : ShownToFolds
        What they are seen through.
    of_half : WeightsOfHalf
        The rest.
    """

    shown: ShownToFolds
    of_half: WeightsOfHalf


def name_templates_file(folder: Path, half: int) -> Path:
    """Name the file with the templates of a half."""
    return folder / f"templates.{half}.npz"


def save_templates(
    path: Path, estimates: list[Tensor], views: list[Tensor], of_half: WeightsOfHalf
) -> None:
    """Save the estimates of each fold's sample, the views for each fold, `(m, box, box)`, and the half's weights."""
    kept = {
        name_of_fold(kind, fold): images.half().cpu().numpy()
        for kind, folds in zip(KINDS[:2], (estimates, views), strict=True)
        for fold, images in enumerate(folds, 1)
    }
    save_arrays(
        path,
        guess=of_half.guess.cpu().numpy(),
        weights=of_half.weights.cpu().numpy(),
        off_centre=np.array([of_half.off_centre], dtype=np.int64),
        pays=np.array([of_half.pays], dtype=np.int64),
        **kept,
    )


def name_of_fold(kind: str, fold: int) -> str:
    """Name the templates of a fold, or the views for it, in the file."""
    return f"{kind}_{fold}"


def load_whole_half(job: Job, folder: Path, half: int) -> WholeHalf:
    """Load what the images of a half are estimated with.

    Raises
    ------
    InputError
        If a file is damaged.
    """
    names = [name_of_fold(kind, fold) for kind in KINDS[:2] for fold in FOLD_NUMBERS]
    wanted = {"guess": ("f", 2), "weights": ("f", 2), "off_centre": ("i", 1), "pays": ("i", 1)}
    saved = read_arrays(
        name_templates_file(folder, half), wanted | dict.fromkeys(names, ("f", 3)), START_ANEW
    )
    guess, weights = (torch.from_numpy(saved[name]).to(job.device) for name in ("guess", "weights"))
    images = [torch.from_numpy(saved[name]).to(job.device) for name in names]
    shown = ShownToFolds(images[:FOLDS], images[FOLDS:], as_joint(job.model).average_grid)
    off_centre, pays = (bool(saved[name].any()) for name in ("off_centre", "pays"))
    return WholeHalf(shown, WeightsOfHalf(guess, weights, off_centre, pays))


def state_templates(job: Job, folder: Path) -> dict[str, Any]:
    """State for the provenance how the images of divided halves were estimated, by half."""
    stated = {}
    sample, shown = draw_sample(job), name_of_fold("views", 1)
    for half in np.unique(job.halves[job.folds > 0]).tolist():
        saved = read_arrays(
            name_templates_file(folder, half),
            {"weights": ("f", 2), "pays": ("i", 1), shown: ("f", 3)},
            START_ANEW,
        )
        images = job.shared.first_row[job.halves[job.shared.first_row] == half]
        stated[str(half)] = {
            "used": bool(saved["pays"].any()),
            "folds": count_folds(job, images),
            "templates": count_folds(job, sample[job.halves[sample] == half]),
            "views": len(saved[shown]),
            "ring_weights": {
                kind: [round(float(weight), 4) for weight in own]
                for kind, own in zip(KINDS, saved["weights"], strict=True)
            },
        }
    return stated


def count_folds(job: Job, rows: np.ndarray) -> list[int]:
    """Count how many of some rows are in each fold."""
    counts: list[int] = np.bincount(job.folds[rows], minlength=FOLDS + 1)[1:].tolist()
    return counts
