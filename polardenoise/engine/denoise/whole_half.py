"""Large halves as one set: every image is seen through templates of the other fold of its half.

    first estimates, cluster by cluster -> templates of each fold, ring weights of each half -> final estimates

The final estimate of an image is the sum of three, each times its ring weights: its expectation over the templates,
that over the smoothed templates, and its first estimate. An image that no template shows better than noise does keeps
its first estimate.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.batches import (
    BatchOfImages,
    NumberedBatch,
    read_batch,
)
from polardenoise.engine.denoise.cluster_runner import ClusterRunner
from polardenoise.engine.denoise.first_estimates import (
    START_ANEW,
    load_estimates,
    save_estimates,
)
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.neighbours.centring import Centred
from polardenoise.engine.neighbours.ring_weights import (
    PROBE,
    RingProducts,
    add_by_rings,
    measure_ring_products,
    solve_ring_weights,
)
from polardenoise.engine.neighbours.templates import (
    MOST_TEMPLATES,
    Templates,
    expect_images,
    prepare_templates,
    smooth_templates,
)
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.particles.scratch_file import ScratchImages
from polardenoise.engine.runtime.arrays import read_arrays
from polardenoise.engine.runtime.files import replace_when_complete
from polardenoise.engine.runtime.prefetch import reading_ahead
from polardenoise.engine.runtime.progress import Progress

#: Images of each fold that the ring weights are learned from.
LEARNING_IMAGES = 384
#: The estimates that are added up.
KINDS = ("templates", "smoothed templates", "first estimate")
#: What ring weights are where images tell nothing of them: through templates, through smoothed ones, first estimate.
PRIOR_WEIGHTS = (1.0, -0.4, 0.4)


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
            save_estimates(runner.folder, batch.number, batch.own_rows, centred)
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
        own = [one for one in clusters if job.halves[one[1][0].rows[0]] == half]
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
    folds = [[one for one in clusters if fold_of(job, one) == fold] for fold in (1, 2)]
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
    with replace_when_complete(path) as temporary:
        np.savez(
            temporary,
            weights=weights.cpu().numpy(),
            fold_1=images[0].half().cpu().numpy(),
            fold_2=images[1].half().cpu().numpy(),
        )


def fold_of(job: Job, cluster: NumberedBatch) -> int:
    """Tell the fold of a cluster, 0 where its half is not divided."""
    return int(job.folds[cluster[1][0].rows[0]])


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


def estimate_thrice(
    images: Tensor, ctf_rings: Tensor, first: Tensor, displacements: Tensor, templates: Templates
) -> tuple[Tensor, Tensor]:
    """Estimate images through templates and smoothed ones, beside their first estimates at the centre.

    Parameters
    ----------
    images, ctf_rings : Tensor
        `(n, box, box)` as they lie, and `(n, box // 2)`.
    first, displacements : Tensor
        `(n, box, box)` first estimates at the centre, and `(n, 2)` how far the particles lie off it.
    templates : Templates
        Of the other fold.

    Returns
    -------
    tuple of Tensor
        `(3, n, box, box)` estimates of the images as they lie, and `(n,)` evidence for the templates.
    """
    centred = shift_images(images, -displacements) if displacements.any() else images
    expected = expect_images(templates, centred, ctf_rings)
    estimates = torch.cat([expected.estimates, first[None]])
    moved = Centred(estimates, displacements.expand(3, *displacements.shape))
    return moved.undo_recentring(), expected.evidence


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
        wanted = {"weights": ("f", 2)}
        weights = read_arrays(name_templates_file(folder, half), wanted, START_ANEW)["weights"]
        images = job.shared.first_row[job.halves[job.shared.first_row] == half]
        sizes = np.bincount(job.folds[images], minlength=3)[1:]
        stated[str(half)] = {
            "folds": sizes.tolist(),
            "templates": np.minimum(sizes, MOST_TEMPLATES).tolist(),
            "ring_weights": {
                kind: [round(float(weight), 4) for weight in own]
                for kind, own in zip(KINDS, weights, strict=True)
            },
        }
    return stated


class WholeHalfRunner:
    """Estimates clusters through the templates of their half; clusters of halves not divided are simply denoised.

    Parameters
    ----------
    job : Job
        The run.
    clusters : ClusterRunner
        Denoises clusters.
    """

    def __init__(self, job: Job, clusters: ClusterRunner):
        self.job, self.clusters = job, clusters
        self._loaded: tuple[tuple[int, int], WholeFold] | None = None

    def count_passes(self) -> int:
        """Count how often the network goes over the images of a cluster."""
        return self.clusters.count_passes()

    def run(self, batch: BatchOfImages) -> Tensor:
        """Estimate the images of one cluster, `(1, n, box, box)` float32 on the device."""
        row, job = batch.own_rows[0], self.job
        half, fold = int(job.halves[row]), int(job.folds[row])
        if fold == 0:
            return self.clusters.run(batch)
        if self._loaded is None or self._loaded[0] != (half, fold):
            self._loaded = None
            self._loaded = (
                (half, fold),
                load_whole_fold(job, self.clusters.folder, half, fold),
            )
        whole = self._loaded[1]
        first = load_estimates(self.clusters.folder, batch.number)
        with torch.inference_mode():
            images, ctf_rings = batch.images[0].to(job.device), batch.ctf_rings[0].to(job.device)
            three, evidence = estimate_thrice(
                images,
                ctf_rings,
                first.estimates.to(images),
                first.displacements.to(images),
                whole.templates,
            )
            share = evidence.sigmoid()[:, None, None]
            together = add_by_rings(three, whole.weights)
            return (share * together + (1 - share) * three[2])[None]
