"""Clusters of neighbours: the network is run over them, each image among its own neighbours."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.batches import BatchOfImages
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.denoise.whole_halves.estimates import (
    name_final_estimates,
    save_estimates,
)
from polardenoise.engine.neighbours.centred_denoising import CentredCluster, denoise_centred_cluster
from polardenoise.engine.neighbours.matches import (
    match_denoised_cluster,
    name_matches_file,
    save_cluster_matches,
)
from polardenoise.engine.neighbours.search import count_passes
from polardenoise.engine.networks.polar_transformer import PolarTransformer
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
    noise_powers : mapping
        Half -> `(box // 2,)` power of its noise on each ring, of those whose noise is coloured and left so.
    """

    def __init__(
        self,
        job: Job,
        folder: Path,
        precision: torch.dtype,
        noise_powers: Mapping[int, Tensor],
    ):
        self.job, self.folder, self.precision = job, folder, precision
        self.noise_powers = {half: own.to(job.device) for half, own in noise_powers.items()}

    def count_passes(self) -> int:
        """Count how often the network goes over the images of a cluster."""
        return count_passes(as_joint(self.job.model))

    def find_noise_power(self, rows: np.ndarray) -> Tensor | None:
        """Find the power of the noise of rows of one half on each ring, `(box // 2,)`; None where it is white."""
        return self.noise_powers.get(int(self.job.halves[rows[0]]))

    def choose_network(self, rows: np.ndarray) -> PolarTransformer:
        """Choose the network that denoises rows of one half."""
        return as_joint(self.job.choose_network(rows))

    def run(self, batch: BatchOfImages) -> Tensor:
        """Denoise one cluster, `(1, n, box, box)` float32 on the device.

        Raises
        ------
        InputError
            If the cluster does not fit the memory.
        """
        images, ctf_rings = (one[0].to(self.job.device) for one in (batch.images, batch.ctf_rings))
        centred = self.denoise_images(images, ctf_rings, batch.own_rows)
        self.keep_matches(batch, centred)
        return centred.undo_recentring()[None]

    def keep_matches(self, batch: BatchOfImages, centred: CentredCluster) -> None:
        """Keep the matches of a denoised cluster, and what classes are made of, where they are asked for."""
        if not self.job.keeps_matches:
            return
        with torch.inference_mode():
            found = match_denoised_cluster(centred.cluster, centred.denoised, centred.displacements)
        save_estimates(name_final_estimates(self.folder, batch.number), centred)
        save_cluster_matches(name_matches_file(self.folder, batch.number), batch.own_rows, found)

    def denoise_images(self, images: Tensor, ctf_rings: Tensor, rows: np.ndarray) -> CentredCluster:
        """Denoise a cluster of images `(n, box, box)` of these rows, on the device; errors as `run`."""
        job = self.job
        shared = job.shared.select(job.shared.image_of_row[rows])
        with (
            self.refusing_large_clusters(len(images)),
            torch.inference_mode(),
            mixed_precision(job.device, self.precision),
        ):
            return denoise_centred_cluster(
                self.choose_network(rows),
                images,
                ctf_rings,
                job.choose_set_size(rows),
                job.plan.seed,
                shared,
                job.choose_widest_set(rows),
                self.find_noise_power(rows),
            )

    @contextmanager
    def refusing_large_clusters(self, count: int) -> Iterator[None]:
        """Say what to do where a cluster of `count` images does not fit the memory."""
        release_freed_memory()
        try:
            yield
        except Exception as error:
            if not says_out_of_memory(error):
                raise
            raise InputError(
                f"--group-by neighbours: {count} images do not fit the memory of the {self.job.device.type}; "
                "lower --set-size, or use --device cpu"
            ) from error
