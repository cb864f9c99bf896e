"""What a report shows of matches: classes beside their twins, and neighbours turned onto particles."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.classes import turn_images
from polardenoise.engine.denoise_plan import Job
from polardenoise.engine.matching import ROTATIONS
from polardenoise.engine.models import PolarTransformer
from polardenoise.engine.polar import PolarGrid

#: Classes of a half that are shown, the largest.
MOST_CLASSES = 12


def choose_classes(size: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Choose the largest classes of the first half, places from 0, the largest first."""
    own = np.flatnonzero(half == half.min())
    return own[np.argsort(-size[own], kind="stable")][:MOST_CLASSES]


def align_twins(
    averages: np.ndarray, twin: np.ndarray, chosen: np.ndarray, job: Job
) -> dict[int, np.ndarray]:
    """Turn the twins of the chosen classes onto them; class place -> image `(box, box)`. Those without are left out."""
    grid = find_grid(job)
    steps = torch.arange(ROTATIONS, device=job.device)
    aligned = {}
    for place in chosen[twin[chosen] > 0]:
        own, other = (
            torch.from_numpy(averages[one]).to(job.device) for one in (place, int(twin[place]) - 1)
        )
        with torch.inference_mode():
            turned = turn_images(other.expand(ROTATIONS, -1, -1), steps, grid)
        best = (turned * own).sum((1, 2)).argmax()
        aligned[int(place)] = turned[best].cpu().numpy()
    return aligned


def turn_neighbours(images: Tensor, degrees: np.ndarray, job: Job) -> Tensor:
    """Turn images `(k, box, box)` counter-clockwise by `(k,)` degrees."""
    steps = torch.from_numpy(degrees * (ROTATIONS / 360.0)).to(job.device)
    with torch.inference_mode():
        return turn_images(images.to(job.device), steps, find_grid(job)).cpu()


def find_grid(job: Job) -> PolarGrid:
    """Give the polar grid of the network's box."""
    assert isinstance(job.model, PolarTransformer)  # no matches without one
    return job.model.grid
