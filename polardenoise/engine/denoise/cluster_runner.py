"""Clusters of neighbours: the network is run over them, each image among its own neighbours."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.batches import BatchOfImages
from polardenoise.engine.denoise.first_estimates import save_estimates
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.neighbours.centred_denoising import CentredCluster, denoise_centred_cluster
from polardenoise.engine.neighbours.matches import (
    match_denoised_cluster,
    name_matches_file,
    save_cluster_matches,
)
from polardenoise.engine.neighbours.search import count_passes
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.runtime.devices import mixed_precision, release_freed_memory
from polardenoise.engine.runtime.errors import InputError, says_out_of_memory


class ClusterRunner:
    """Denoises batches that are clusters of related images (see `neighbours`).

    Parameters
    ----------
    job : Job
        The network, K and the seed; whether matches are asked for.
    folder : Path
        Of the run: receives the matches of each cluster.
    precision : torch.dtype
        Of the convolutions.
    """

    def __init__(self, job: Job, folder: Path, precision: torch.dtype):
        self.job, self.folder, self.precision = job, folder, precision

    def count_passes(self) -> int:
        """Count how often the network goes over the images of a cluster."""
        return count_passes(as_joint(self.job.model))

    def run(self, batch: BatchOfImages) -> Tensor:
        """Denoise one cluster, `(1, n, box, box)` float32 on the device.

        Raises
        ------
        InputError
            If the cluster does not fit the memory.
        """
        return self.denoise(batch).undo_recentring()[None]

    def denoise(self, batch: BatchOfImages) -> CentredCluster:
        """Denoise one cluster, at the centre, and keep what matches and classes need if wanted; errors as `run`."""
        job, device = self.job, self.job.device
        images, ctf_rings = batch.images[0].to(device), batch.ctf_rings[0].to(device)
        centred = self.denoise_images(images, ctf_rings, batch.own_rows)
        if job.keeps_matches:
            with torch.inference_mode():
                found = match_denoised_cluster(
                    centred.cluster, centred.denoised, centred.displacements
                )
            save_estimates(self.folder, batch.number, centred)
            save_cluster_matches(
                name_matches_file(self.folder, batch.number), batch.own_rows, found
            )
        return centred

    def denoise_images(self, images: Tensor, ctf_rings: Tensor, rows: np.ndarray) -> CentredCluster:
        """Denoise a cluster of images `(n, box, box)` of these rows, on the device; errors as `run`."""
        job = self.job
        release_freed_memory()
        shared = job.shared.select(job.shared.image_of_row[rows])
        try:
            with torch.inference_mode(), mixed_precision(job.device, self.precision):
                return denoise_centred_cluster(
                    as_joint(job.model), images, ctf_rings, job.plan.set_size, job.plan.seed, shared
                )
        except Exception as error:
            if not says_out_of_memory(error):
                raise
            raise InputError(
                f"--group-by neighbours: {len(images)} images do not fit the memory of the {job.device.type}; "
                "lower --set-size, or use --device cpu"
            ) from error
