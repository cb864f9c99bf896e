"""Batches: the network is run over sets of images, as many at once as memory holds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.neighbours.centred_denoising import denoise_sets
from polardenoise.engine.neighbours.grouping import ImageSet
from polardenoise.engine.networks.checkpoint import ModelCard
from polardenoise.engine.networks.denoiser import Denoiser
from polardenoise.engine.networks.registry import as_joint, is_joint
from polardenoise.engine.particles.scratch_file import ScratchImages
from polardenoise.engine.runtime.devices import mixed_precision
from polardenoise.engine.runtime.errors import InputError, says_out_of_memory

NumberedBatch = tuple[int, list[ImageSet]]

#: Images computed at once where `--batch` leaves it open: enough to fill the device, little enough for any.
IMAGES_PER_BATCH = {"cpu": 128, "cuda": 2048}


def gather_batches(
    sets: list[ImageSet], halves: np.ndarray, images_per_batch: int
) -> Iterator[list[ImageSet]]:
    """Gather sets into batches of one half and one size, of at most `images_per_batch` images, at least one set.

    The last bits of a result may depend on how many sets are computed at once. Halves are kept apart even there: how
    many sets the other one has changes no bit.

    Parameters
    ----------
    sets : list of ImageSet
        All sets.
    halves : ndarray
        `(n,)` the half of each row.
    images_per_batch : int
        Images at once.

    Yields
    ------
    list of ImageSet
        In the order of the sets, half by half.
    """
    half_of_set = np.array([halves[one.rows[0]] for one in sets])
    for half in np.unique(half_of_set):
        batch: list[ImageSet] = []
        for number in np.flatnonzero(half_of_set == half):
            one = sets[number]
            size = len(one.rows)
            full = (len(batch) + 1) * size > images_per_batch
            if batch and (full or len(batch[0].rows) != size):
                yield batch
                batch = []
            batch.append(one)
        yield batch


def first_row_of(batch: NumberedBatch) -> int:
    """Give the first row of a batch: all of it are of one half, and in the sample of one fold."""
    return int(batch[1][0].rows[0])


@dataclass(frozen=True)
class BatchOfImages:
    """Sets of equal size and their images.

    Attributes
    ----------
    number : int
        Of the batch, from 0.
    images : Tensor
        `(sets, K, box, box)`.
    ctf_rings : Tensor
        `(sets, K, box // 2)`.
    kept : ndarray
        `(sets, K)` bool: images that take their output from here.
    own_rows : ndarray
        The rows of these.
    """

    number: int
    images: Tensor
    ctf_rings: Tensor
    kept: np.ndarray
    own_rows: np.ndarray


def read_batch(scratch: ScratchImages, number: int, sets: list[ImageSet]) -> BatchOfImages:
    """Read the images of a batch, which has a number."""
    rows = np.stack([one.rows for one in sets])  # (sets, K)
    images, ctf_rings = scratch.read_with_ctf_rings(rows.ravel())
    kept = np.arange(rows.shape[1]) < np.array([one.kept for one in sets])[:, None]
    return BatchOfImages(
        number,
        images.unflatten(0, rows.shape),
        ctf_rings.unflatten(0, rows.shape),
        kept,
        rows[kept],
    )


#: From images `(sets, K, box, box)` and CTF rings `(sets, K, box // 2)` to float32 estimates of the images' shape.
DenoiseSets = Callable[[Tensor, Tensor], Tensor]


def choose_denoising(model: Denoiser, card: ModelCard) -> DenoiseSets:
    """Choose how sets are denoised: jointly and recentred, or each image by itself."""
    if not is_joint(card.architecture):
        return lambda images, ctf_rings: model(images, ctf_rings).float()
    joint = as_joint(model)
    return lambda images, ctf_rings: denoise_sets(joint, images, ctf_rings).undo_recentring()


class BatchRunner:
    """Runs the network over batches, in smaller parts from the moment that memory does not suffice.

    Parameters
    ----------
    job : Job
        The run, whose networks denoise.
    precision : torch.dtype
        Of the convolutions.
    """

    def __init__(self, job: Job, precision: torch.dtype):
        self.job, self.device, self.precision = job, job.device, precision
        self._most_sets: int | None = None

    def count_passes(self) -> int:
        """Count how often the network goes over the images of a batch."""
        return 1

    def run(self, batch: BatchOfImages) -> Tensor:
        """Denoise the sets of a batch.

        Returns
        -------
        Tensor
            `(sets, K, box, box)` float32 on the device.

        Raises
        ------
        InputError
            If not even one set fits the memory.
        """
        images, ctf_rings = batch.images, batch.ctf_rings
        denoise = choose_denoising(self.job.choose_network(batch.own_rows), self.job.card)
        while True:
            sets = min(self._most_sets or len(images), len(images))
            parts = zip(images.split(sets), ctf_rings.split(sets), strict=True)
            try:
                return torch.cat([self._run_part(denoise, *part) for part in parts])
            except Exception as error:
                if not says_out_of_memory(error):
                    raise
                if sets == 1:
                    raise InputError(
                        f"--set-size {images.shape[1]}: one set does not fit the memory of the {self.device.type}; "
                        "lower it"
                    ) from error
            # Outside the handler, whose exception holds on to what was allocated.
            self._most_sets = sets // 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            print(
                f"out of memory: {self._most_sets * images.shape[1]} images at once from now on",
                flush=True,
            )

    def _run_part(self, denoise: DenoiseSets, images: Tensor, ctf_rings: Tensor) -> Tensor:
        with torch.inference_mode(), mixed_precision(self.device, self.precision):
            return denoise(images.to(self.device), ctf_rings.to(self.device))
