"""Clusters of large halves: each image is estimated through templates and views that other folds of its half make."""

import torch
from torch import Tensor

from polardenoise.engine.denoise.batches import BatchOfImages
from polardenoise.engine.denoise.cluster_runner import ClusterRunner
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.denoise.whole_halves.template_file import (
    ShownToFolds,
    WholeHalf,
    load_whole_half,
)
from polardenoise.engine.neighbours.centred_denoising import CentredCluster
from polardenoise.engine.neighbours.encoded_cluster import Cluster
from polardenoise.engine.neighbours.search import DenoisedCluster
from polardenoise.engine.neighbours.template_denoising import (
    SeenImages,
    denoise_by_guess,
    join_estimates,
    see_images_of_folds,
)
from polardenoise.engine.runtime.devices import mixed_precision


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
        self._loaded: tuple[int, WholeHalf] | None = None

    def count_passes(self) -> int:
        """Count how often the network goes over the images of a cluster."""
        return self.clusters.count_passes()

    def run(self, batch: BatchOfImages) -> Tensor:
        """Estimate the images of one cluster, `(1, n, box, box)` float32 on the device; errors as `ClusterRunner`'s."""
        if self.job.folds[batch.own_rows[0]] == 0 or not self.load(batch).of_half.pays:
            return self.clusters.run(batch)
        centred = self.estimate(batch)
        self.clusters.keep_matches(batch, centred)
        return centred.undo_recentring()[None]

    def estimate_by_neighbours(self, batch: BatchOfImages) -> CentredCluster:
        """Estimate the images of one cluster at the centre, by its neighbours alone."""
        images, ctf_rings = (one[0].to(self.job.device) for one in (batch.images, batch.ctf_rings))
        return self.clusters.denoise_images(images, ctf_rings, batch.own_rows)

    def estimate(self, batch: BatchOfImages) -> CentredCluster:
        """Estimate the images of one cluster at the centre, by templates and views."""
        whole = self.load(batch)
        of_half = whole.of_half
        seen = self.see(whole.shown, batch, of_half.off_centre)
        cluster, denoised = self.denoise(seen, of_half.guess, batch)
        with torch.inference_mode():
            return join_estimates(seen, cluster, denoised, of_half.weights)

    def load(self, batch: BatchOfImages) -> WholeHalf:
        """Load what the images of a cluster are estimated with; the last one stays in memory."""
        half = int(self.job.halves[batch.own_rows[0]])
        if self._loaded is None or self._loaded[0] != half:
            self._loaded = None  # not beside the next one
            self._loaded = (half, load_whole_half(self.job, self.clusters.folder, half))
        return self._loaded[1]

    def see(self, shown: ShownToFolds, batch: BatchOfImages, off_centre: bool) -> SeenImages:
        """See the images of a cluster through what is for the folds that they are in, in full precision."""
        job, rows = self.job, batch.own_rows
        images, ctf_rings = (one[0].to(job.device) for one in (batch.images, batch.ctf_rings))
        folds = torch.from_numpy(job.folds[rows]).to(job.device)
        with self.clusters.refusing_large_clusters(len(images)), torch.inference_mode():
            return see_images_of_folds(shown.prepare, folds, images, ctf_rings, off_centre)

    def denoise(
        self, seen: SeenImages, guess: Tensor, batch: BatchOfImages
    ) -> tuple[Cluster, DenoisedCluster]:
        """Have the network denoise a cluster by what templates show of it: a guess with these ring weights."""
        job, count = self.job, len(seen.centred)
        shared = job.shared.select(job.shared.image_of_row[batch.own_rows])
        with self.clusters.refusing_large_clusters(count), torch.inference_mode():
            guessed = seen.guess(guess)
            with mixed_precision(job.device, self.clusters.precision):
                return denoise_by_guess(
                    self.clusters.choose_network(batch.own_rows),
                    seen,
                    guessed,
                    job.choose_set_size(batch.own_rows),
                    shared,
                    job.choose_widest_set(batch.own_rows),
                )
