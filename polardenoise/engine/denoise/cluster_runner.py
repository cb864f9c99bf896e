"""Clusters of neighbours: the network is run over them, each image among its own neighbours."""

from pathlib import Path

import torch
from torch import Tensor

from polardenoise.engine.denoise.batches import BatchOfImages
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.neighbours.centred_denoising import denoise_centred_cluster
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
        release_freed_memory()
        try:
            return self._run_cluster(batch)[None]
        except Exception as error:
            if not says_out_of_memory(error):
                raise
            raise InputError(
                f"--group-by neighbours: {batch.images.shape[1]} images do not fit the memory of the "
                f"{self.job.device.type}; lower --set-size, or use --device cpu"
            ) from error

    def _run_cluster(self, batch: BatchOfImages) -> Tensor:
        job, device, model = self.job, self.job.device, as_joint(self.job.model)
        images, ctf_rings = batch.images[0].to(device), batch.ctf_rings[0].to(device)
        with torch.inference_mode(), mixed_precision(device, self.precision):
            plan = job.plan
            shared = job.shared.select(job.shared.image_of_row[batch.own_rows])
            centred = denoise_centred_cluster(
                model, images, ctf_rings, plan.set_size, plan.seed, shared
            )
            if job.keeps_matches:
                with torch.autocast(device.type, enabled=False):
                    found = match_denoised_cluster(
                        model, centred.cluster, centred.denoised, centred.displacements
                    )
                save_cluster_matches(
                    name_matches_file(self.folder, batch.number), batch.own_rows, found
                )
            return centred.undo_recentring()
