"""Clusters of large halves: each image is estimated through the templates of the other fold of its half."""

import torch
from torch import Tensor

from polardenoise.engine.denoise.batches import BatchOfImages
from polardenoise.engine.denoise.cluster_runner import ClusterRunner
from polardenoise.engine.denoise.first_estimates import load_estimates
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.denoise.template_file import WholeFold, load_whole_fold
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.neighbours.centring import Centred
from polardenoise.engine.neighbours.ring_weights import add_by_rings
from polardenoise.engine.neighbours.templates import Templates, expect_images


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
