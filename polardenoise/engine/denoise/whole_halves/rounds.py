"""Large halves as one set: every image is seen through templates of the next fold of its half.

    a sample of each fold, denoised among neighbours -> templates, ring weights -> the sample seen through these
    -> better templates -> all images seen through them

In every round an image is its expectation over the templates, that over smoothed templates, and what the network makes
of it by these, added up ring by ring (`neighbours.template_denoising`). What images of a fold are seen through holds
pixels of the other folds only, in every round (`neighbours.folds`).
"""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.batches import BatchOfImages, NumberedBatch, read_batch
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.denoise.preparation import open_preparation
from polardenoise.engine.denoise.whole_halves.estimates import (
    load_estimates,
    name_estimates_file,
    save_estimates,
)
from polardenoise.engine.denoise.whole_halves.runner import WholeHalfRunner
from polardenoise.engine.denoise.whole_halves.sample import enumerate_sample, select_fold
from polardenoise.engine.denoise.whole_halves.template_file import (
    ROUNDS,
    load_earlier,
    name_templates_file,
    save_templates,
)
from polardenoise.engine.denoise.whole_halves.weight_learning import (
    count_learning,
    learn_ring_weights,
    read_learning_images,
)
from polardenoise.engine.neighbours.folds import FOLDS, next_fold
from polardenoise.engine.neighbours.templates import prepare_templates, smooth_templates
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.particles.scratch_file import ScratchImages
from polardenoise.engine.runtime.arrays import holds_arrays
from polardenoise.engine.runtime.distributed import Processes
from polardenoise.engine.runtime.prefetch import reading_ahead
from polardenoise.engine.runtime.progress import Progress

#: What the work on the sample is called in each round.
STAGES = ("templates", "better templates")


def make_templates(job: Job, runner: WholeHalfRunner, processes: Processes) -> None:
    """Make the templates and ring weights of all divided halves; what is on the disk is not done again."""
    folder = runner.clusters.folder
    sample = list(enumerate_sample(job, folder))
    with open_preparation(job, folder) as preparation:
        for number in range(ROUNDS):
            with processes.stage():
                own = [batch for batch in sample if batch[0] % processes.count == processes.rank]
                write_estimates(runner, preparation.scratch, own, number)
            with processes.stage():
                if processes.is_first:
                    for half in np.unique(job.halves[job.folds > 0]).tolist():
                        prepare_half(job, runner, preparation.scratch, sample, half, number + 1)


def write_estimates(
    runner: WholeHalfRunner, scratch: ScratchImages, clusters: list[NumberedBatch], number: int
) -> None:
    """Estimate clusters of the sample in a round, those that are not on the disk, and save them."""
    folder = runner.clusters.folder
    missing = [
        batch
        for batch in clusters
        if not holds_arrays(name_estimates_file(folder, number, batch[0]))
    ]
    with ExitStack() as opened:
        count = sum(one.kept for _, batch in missing for one in batch)
        progress = opened.enter_context(Progress(STAGES[number], count))

        def read(batch: NumberedBatch) -> BatchOfImages:
            return read_batch(scratch, *batch)

        for batch in opened.enter_context(reading_ahead(read, missing)):
            with progress.watching(len(batch.own_rows), runner.count_passes()):
                centred = runner.estimate(batch, number)
            save_estimates(name_estimates_file(folder, number, batch.number), centred)
            progress.advance(len(batch.own_rows))
            del batch, centred  # not beside the next ones


def prepare_half(
    job: Job,
    runner: WholeHalfRunner,
    scratch: ScratchImages,
    sample: list[NumberedBatch],
    half: int,
    number: int,
) -> None:
    """Make what the images of a half are estimated with in a round, from the sample's estimates of the one before."""
    folder, grid = runner.clusters.folder, as_joint(job.model).average_grid
    path = name_templates_file(folder, number, half)
    if path.exists():
        return
    clusters = [select_fold(job, sample, half, fold) for fold in range(1, FOLDS + 1)]
    found = [gather_estimates(folder, own, number - 1) for own in clusters]
    images, count = [], sum(len(estimates) for estimates, _ in found)
    with torch.inference_mode(), Progress(f"compare templates of half {half}", count) as progress:
        for estimates, _ in found:
            images.append(smooth_templates(estimates.to(job.device), grid))
            progress.advance(len(estimates))
    parts = []
    for fold, own in enumerate(clusters, 1):
        seen_through = load_earlier(job, folder, number, half, fold)
        seen_through.append(images[next_fold(fold) - 1])
        batch = read_learning_images(scratch, own[0], number)
        parts.append((batch, [prepare_templates(one, grid) for one in seen_through]))
    off_centre = any(off for _, off in found)
    with Progress(f"learn ring weights of half {half}", count_learning(parts)) as progress:
        of_half = learn_ring_weights(runner, parts, number, off_centre, progress.advance)
    save_templates(path, images, of_half)


def gather_estimates(
    folder: Path, clusters: list[NumberedBatch], number: int
) -> tuple[Tensor, bool]:
    """Gather the estimates of a fold's sample in a round, `(m, box, box)`, and whether any particle lies off centre."""
    found = [load_estimates(name_estimates_file(folder, number, batch[0])) for batch in clusters]
    off_centre = any(bool(one.displacements.any()) for one in found)
    return torch.cat([one.estimates for one in found]), off_centre
