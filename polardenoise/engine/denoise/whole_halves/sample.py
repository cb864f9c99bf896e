"""The sample: images of each fold, drawn at random, whose estimates are the templates of the fold.

Drawn at random, they prefer no view and leave out none. They are a set of their own, with clusters of their own, that
does not grow with the half.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from polardenoise.engine.denoise.batches import NumberedBatch, first_row_of, gather_batches
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.denoise.preparation import load_sets, save_sets
from polardenoise.engine.neighbours.clusters import form_clusters
from polardenoise.engine.neighbours.folds import FOLDS
from polardenoise.engine.neighbours.templates import MOST_TEMPLATES
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.particles.scratch_file import ScratchImages
from polardenoise.engine.runtime.progress import Progress

SAMPLE = "sample.npz"


def draw_sample(job: Job) -> np.ndarray:
    """Draw the rows of the sample, of all folds of all divided halves; ascending in each fold."""
    shared = job.shared
    halves, folds = job.halves[shared.first_row], job.folds[shared.first_row]
    chosen = [np.empty(0, dtype=np.int64)]  # no half may be divided
    divided = np.stack([halves, folds], 1)[folds > 0]
    for half, fold in np.unique(divided, axis=0).tolist():
        rows = shared.first_row[(halves == half) & (folds == fold)]
        generator = np.random.default_rng([job.plan.seed, 6, half, fold])
        size = min(MOST_TEMPLATES, len(rows))
        chosen.append(np.sort(generator.choice(rows, size, replace=False)))
    return np.concatenate(chosen)


def form_sample(job: Job, folder: Path, scratch: ScratchImages) -> None:
    """Form the clusters of the sample and save them, unless they are there."""
    if (folder / SAMPLE).exists():
        return
    rows = draw_sample(job)
    parts = np.full(len(job.halves), -1)
    # Folds do not meet, any more than halves.
    parts[rows] = job.halves[rows] * (FOLDS + 1) + job.folds[rows]
    model, progress = as_joint(job.model), Progress("find related templates", len(rows))
    with torch.inference_mode(), progress:
        sets = form_clusters(
            model, scratch, parts, job.plan.seed, job.device, progress.advance, job.shared
        )
    save_sets(folder / SAMPLE, sets)


def enumerate_sample(job: Job, folder: Path) -> Iterator[NumberedBatch]:
    """List the clusters of the sample with their numbers."""
    sets = load_sets(folder / SAMPLE, draw_sample(job))
    yield from enumerate(gather_batches(sets, job.halves, 1))


def select_fold(job: Job, sample: list[NumberedBatch], half: int, fold: int) -> list[NumberedBatch]:
    """Take the clusters of one fold of a half."""
    rows = [first_row_of(batch) for batch in sample]
    return [
        batch
        for row, batch in zip(rows, sample, strict=True)
        if job.halves[row] == half and job.folds[row] == fold
    ]
