"""Templates and views of large halves: what their images are seen through is made before they are.

    a sample of each fold, denoised among neighbours -> templates of the fold, ring weights
    -> a volume of the two other folds for each, its views -> all images seen through templates and views

An image is its expectation over the templates, that over the views, and what the network makes of it by these, added up
ring by ring (`neighbours.template_denoising`). What images of a fold are seen through holds pixels of the other folds
only (`neighbours.folds`).
"""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.batches import BatchOfImages, NumberedBatch, read_batch
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.denoise.preparation import SETS, load_sets
from polardenoise.engine.denoise.whole_halves.estimates import (
    load_estimates,
    name_sample_estimates,
    save_estimates,
)
from polardenoise.engine.denoise.whole_halves.runner import WholeHalfRunner
from polardenoise.engine.denoise.whole_halves.sample import enumerate_sample, select_fold
from polardenoise.engine.denoise.whole_halves.template_file import (
    ShownToFolds,
    name_templates_file,
    save_templates,
)
from polardenoise.engine.denoise.whole_halves.views import make_views
from polardenoise.engine.denoise.whole_halves.weight_learning import (
    LEARNING_IMAGES,
    count_learning,
    learn_ring_weights,
)
from polardenoise.engine.neighbours.folds import FOLD_NUMBERS
from polardenoise.engine.neighbours.grouping import ImageSet
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.particles.scratch_file import ScratchImages
from polardenoise.engine.runtime.arrays import holds_arrays
from polardenoise.engine.runtime.distributed import Processes
from polardenoise.engine.runtime.prefetch import reading_ahead
from polardenoise.engine.runtime.progress import Progress


def make_templates(
    job: Job, runner: WholeHalfRunner, scratch: ScratchImages, processes: Processes
) -> None:
    """Make the templates, views and ring weights of all divided halves; what is on the disk is not done again."""
    sample = list(enumerate_sample(job, runner.clusters.folder))
    with processes.stage():
        own = [batch for batch in sample if batch[0] % processes.count == processes.rank]
        write_estimates(runner, scratch, own)
    with processes.stage():
        if processes.is_first:
            for half in np.unique(job.halves[job.folds > 0]).tolist():
                prepare_half(job, runner, scratch, sample, half)


def write_estimates(
    runner: WholeHalfRunner, scratch: ScratchImages, clusters: list[NumberedBatch]
) -> None:
    """Estimate clusters of the sample by neighbours, those that are not on the disk, and save them."""
    folder = runner.clusters.folder
    missing = [
        batch for batch in clusters if not holds_arrays(name_sample_estimates(folder, batch[0]))
    ]
    with ExitStack() as opened:
        count = sum(one.kept for _, batch in missing for one in batch)
        progress = opened.enter_context(Progress("templates", count))

        def read(batch: NumberedBatch) -> BatchOfImages:
            return read_batch(scratch, *batch)

        for batch in opened.enter_context(reading_ahead(read, missing)):
            with progress.watching(len(batch.own_rows), runner.count_passes()):
                centred = runner.estimate_by_neighbours(batch)
            save_estimates(name_sample_estimates(folder, batch.number), centred)
            progress.advance(len(batch.own_rows))
            del batch, centred  # not beside the next ones


def prepare_half(
    job: Job,
    runner: WholeHalfRunner,
    scratch: ScratchImages,
    sample: list[NumberedBatch],
    half: int,
) -> None:
    """Make what the images of a half are estimated with, from the estimates of the sample, fold by fold."""
    folder = runner.clusters.folder
    path = name_templates_file(folder, half)
    if path.exists():
        return
    found = [
        gather_estimates(folder, select_fold(job, sample, half, fold)) for fold in FOLD_NUMBERS
    ]
    estimates = [one.to(job.device) for one, _ in found]
    off_centre = any(off for _, off in found)
    views = make_views(job, scratch, half, estimates, off_centre)
    shown = ShownToFolds(estimates, views, as_joint(job.model).average_grid)
    batch = read_batch(scratch, 0, [choose_learned_from(job, folder, half)])
    with Progress(f"learn ring weights of half {half}", count_learning(batch)) as progress:
        of_half = learn_ring_weights(runner, batch, shown, off_centre, progress.advance)
    if not of_half.pays:
        print(f"half {half}: left to neighbours alone, which are better here", flush=True)
    save_templates(path, estimates, views, of_half)


def choose_learned_from(job: Job, folder: Path, half: int) -> ImageSet:
    """Choose images of the first cluster of a half, as many as ring weights are learned from."""
    sets = load_sets(folder / SETS, job.shared.first_row)
    cluster = next(one for one in sets if job.halves[one.rows[0]] == half)
    count = min(LEARNING_IMAGES, len(cluster.rows))
    generator = np.random.default_rng([job.plan.seed, 9, half])
    rows = np.sort(generator.choice(cluster.rows, count, replace=False))
    return ImageSet(rows, count)


def gather_estimates(folder: Path, clusters: list[NumberedBatch]) -> tuple[Tensor, bool]:
    """Gather the estimates of a fold's sample, `(m, box, box)`, and whether any particle lies off the centre."""
    found = [load_estimates(name_sample_estimates(folder, batch[0])) for batch in clusters]
    off_centre = any(bool(one.displacements.any()) for one in found)
    return torch.cat([one.estimates for one in found]), off_centre
