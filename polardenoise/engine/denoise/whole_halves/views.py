"""Views for the images of each fold: projections of a volume that the two other folds of the half make."""

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.neighbours.folds import FOLD_NUMBERS, next_fold
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.particles.scratch_file import ScratchImages
from polardenoise.engine.runtime.progress import Progress
from polardenoise.engine.views.alternation import VIEWS, FoldImages, count_placed, make_volume
from polardenoise.engine.views.frames import spread_frames
from polardenoise.engine.views.poses import project_all


def make_views(
    job: Job, scratch: ScratchImages, half: int, estimates: list[Tensor], off_centre: bool
) -> list[Tensor]:
    """Make the views for the images of each fold of a half, `(m, box, box)` each.

    Parameters
    ----------
    job : Job
        The run.
    scratch : ScratchImages
        Its images.
    half : int
        The half.
    estimates : list of Tensor
        `(m, box, box)` of each fold's sample.
    off_centre : bool
        Whether particles lie off the centres of their images.
    """
    rows = [draw_order(job, half, fold) for fold in FOLD_NUMBERS]
    grid = as_joint(job.model).average_grid
    others = [(next_fold(fold), next_fold(next_fold(fold))) for fold in FOLD_NUMBERS]
    count = sum(count_placed(*(len(rows[one - 1]) for one in both)) for both in others)
    views = []
    with torch.inference_mode(), Progress(f"views of half {half}", count) as progress:
        for fold, both in enumerate(others, 1):
            first, second = (open_fold(job, scratch, rows[one - 1], off_centre) for one in both)
            generator = seed_generator(job, half, fold)
            volume = make_volume(
                first, second, estimates[both[0] - 1], grid, generator, progress.advance
            )
            frames = spread_frames(VIEWS, generator).to(volume)
            views.append(project_all(volume, frames))
    return views


def draw_order(job: Job, half: int, fold: int) -> np.ndarray:
    """Give the rows of all images of a fold, in an order of chance."""
    shared = job.shared
    of_image = shared.first_row
    rows = of_image[(job.halves[of_image] == half) & (job.folds[of_image] == fold)]
    return np.random.default_rng([job.plan.seed, 7, half, fold]).permutation(rows)


def seed_generator(job: Job, half: int, fold: int) -> torch.Generator:
    """Give the source of chance for the volume of a fold: the same in every run of this seed."""
    drawn = np.random.default_rng([job.plan.seed, 8, half, fold]).integers(2**62)
    return torch.Generator().manual_seed(int(drawn))


def open_fold(job: Job, scratch: ScratchImages, rows: np.ndarray, off_centre: bool) -> FoldImages:
    """Open the images of a fold, which are read when they are placed."""

    def read(some: slice) -> tuple[Tensor, Tensor]:
        images, ctf_rings = scratch.read_with_ctf_rings(rows[some])
        return images.to(job.device), ctf_rings.to(job.device)

    displacements = torch.zeros(len(rows), 2, device=job.device) if off_centre else None
    return FoldImages(len(rows), read, displacements)
