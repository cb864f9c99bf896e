"""Large halves as one set: every image is seen through templates of the other fold of its half.

    first estimates, cluster by cluster -> templates of each fold, ring weights of each half -> final estimates

The final estimate of an image is the sum of three, each times its ring weights: its expectation over the templates,
that over the smoothed templates, and its first estimate. An image that no template shows better than noise does keeps
its first estimate.
"""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.batches import (
    BatchOfImages,
    NumberedBatch,
    first_row_of,
    read_batch,
)
from polardenoise.engine.denoise.cluster_runner import ClusterRunner
from polardenoise.engine.denoise.first_estimates import load_estimates, save_estimates
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.denoise.template_file import name_templates_file, save_templates
from polardenoise.engine.denoise.whole_half_runner import estimate_thrice
from polardenoise.engine.neighbours.ring_weights import (
    PROBE,
    RingProducts,
    measure_ring_products,
    solve_ring_weights,
)
from polardenoise.engine.neighbours.templates import (
    MOST_TEMPLATES,
    Templates,
    prepare_templates,
    smooth_templates,
)
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.particles.scratch_file import ScratchImages
from polardenoise.engine.runtime.prefetch import reading_ahead
from polardenoise.engine.runtime.progress import Progress

#: Images of each fold that the ring weights are learned from.
LEARNING_IMAGES = 384
#: What ring weights are where images tell nothing of them, in the order of `template_file.KINDS`.
PRIOR_WEIGHTS = (1.0, -0.4, 0.4)


def write_first_estimates(
    runner: ClusterRunner, scratch: ScratchImages, clusters: list[NumberedBatch]
) -> None:
    """Make the first estimates of clusters and leave them in the folder of the run."""
    with ExitStack() as opened:
        count = sum(one.kept for _, batch in clusters for one in batch)
        progress = opened.enter_context(Progress("first estimates", count))

        def read(batch: NumberedBatch) -> BatchOfImages:
            return read_batch(scratch, *batch)

        for batch in opened.enter_context(reading_ahead(read, clusters)):
            with progress.watching(len(batch.own_rows), runner.count_passes()):
                centred = runner.denoise(batch)
            save_estimates(runner.folder, batch.number, centred)
            progress.advance(len(batch.own_rows))
            del batch, centred  # not beside the next ones


def prepare_whole_halves(
    job: Job, runner: ClusterRunner, scratch: ScratchImages, clusters: list[NumberedBatch]
) -> None:
    """Choose the templates of every divided half and learn its ring weights; what is there is not done again.

    Parameters
    ----------
    job, runner, scratch
        Of the run.
    clusters : list
        All clusters of divided halves, whose first estimates are on the disk.
    """
    for half in np.unique(job.halves[job.folds > 0]).tolist():
        path = name_templates_file(runner.folder, half)
        if path.exists():
            continue
        own = [one for one in clusters if job.halves[first_row_of(one)] == half]
        prepare_whole_half(job, runner, scratch, own, half, path)


def prepare_whole_half(
    job: Job,
    runner: ClusterRunner,
    scratch: ScratchImages,
    clusters: list[NumberedBatch],
    half: int,
    path: Path,
) -> None:
    """Choose the templates of one half and learn its ring weights."""
    grid = as_joint(job.model).average_grid
    generator = np.random.default_rng([job.plan.seed, 6, half])
    folds = [[one for one in clusters if job.folds[first_row_of(one)] == fold] for fold in (1, 2)]
    with (
        torch.inference_mode(),
        Progress(f"templates of half {half}", 2 * LEARNING_IMAGES) as progress,
    ):
        images = [
            smooth_templates(choose_templates(runner.folder, own, generator).to(job.device), grid)
            for own in folds
        ]
        products = []
        for own, others in zip(folds, reversed(images), strict=True):
            batch = read_batch(scratch, *own[0])
            products.append(learn_from_cluster(job, runner, batch, prepare_templates(others, grid)))
            progress.advance(LEARNING_IMAGES)
        weights = solve_ring_weights(products[0] + products[1], PRIOR_WEIGHTS)
    save_templates(path, images, weights)


def choose_templates(
    folder: Path, clusters: list[NumberedBatch], generator: np.random.Generator
) -> Tensor:
    """Choose first estimates of a fold at random, `(m, box, box)`: no view is left out, and none preferred."""
    sizes = [len(sets[0].rows) for _, sets in clusters]
    count = sum(sizes)
    chosen = np.sort(generator.choice(count, min(MOST_TEMPLATES, count), replace=False))
    estimates, before = [], 0
    for (number, _), size in zip(clusters, sizes, strict=True):
        own = chosen[(chosen >= before) & (chosen < before + size)] - before
        estimates.append(load_estimates(folder, number).estimates[torch.from_numpy(own)])
        before += size
    return torch.cat(estimates)


def learn_from_cluster(
    job: Job, runner: ClusterRunner, batch: BatchOfImages, templates: Templates
) -> RingProducts:
    """Measure the equations of the ring weights on a cluster, which is denoised once more with noise added."""
    first = load_estimates(runner.folder, batch.number)
    images, ctf_rings = batch.images[0].to(job.device), batch.ctf_rings[0].to(job.device)
    source = torch.Generator().manual_seed(job.plan.seed)
    probe = torch.randn(images.shape, generator=source).to(images)
    probed_images = images + PROBE * probe
    with_probe = runner.denoise_images(probed_images, ctf_rings, batch.own_rows)
    some = torch.from_numpy(
        np.sort(
            np.random.default_rng([job.plan.seed, 7]).permutation(len(images))[:LEARNING_IMAGES]
        )
    ).to(job.device)
    before, after = (
        estimate_thrice(pixels[some], ctf_rings[some], first_ones[some], moved[some], templates)[0]
        for pixels, first_ones, moved in (
            (images, first.estimates.to(images), first.displacements.to(images)),
            (probed_images, with_probe.denoised.estimates, with_probe.displacements),
        )
    )
    return measure_ring_products(images[some], ctf_rings[some], before, after, probe[some])
