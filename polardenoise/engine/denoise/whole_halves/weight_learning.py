"""Learning of the ring weights of a half: some images of each fold are estimated as they are, and with a probe."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from polardenoise.engine.denoise.batches import BatchOfImages, NumberedBatch, read_batch
from polardenoise.engine.denoise.whole_halves.runner import WholeHalfRunner
from polardenoise.engine.denoise.whole_halves.template_file import WeightsOfHalf
from polardenoise.engine.neighbours.centring import Centred
from polardenoise.engine.neighbours.grouping import ImageSet
from polardenoise.engine.neighbours.ring_weights import (
    PROBE,
    RingProducts,
    measure_ring_products,
    solve_ring_weights,
)
from polardenoise.engine.neighbours.template_denoising import SeenImages
from polardenoise.engine.neighbours.templates import Templates
from polardenoise.engine.particles.scratch_file import ScratchImages

#: Images of each fold that the ring weights are learned from: at most, and of a small one that share.
LEARNING_IMAGES, LEARNING_SHARE = 256, 0.5
#: What the ring weights of the guess are where images tell nothing of them, and of all that is added up.
PRIOR_GUESS, PRIOR = (0.3, 0.7), (0.2, 0.4, 0.4)


@dataclass(frozen=True)
class ProbedImages:
    """Some images of a fold, seen through templates as they are and with a probe.

    Attributes
    ----------
    batch : BatchOfImages
        The images.
    probe : Tensor
        `(n, box, box)` white noise of variance 1, of which `PROBE` times is added.
    before, after : SeenImages
        Without and with it.
    """

    batch: BatchOfImages
    probe: Tensor
    before: SeenImages
    after: SeenImages

    def measure(self, before: Tensor, after: Tensor) -> RingProducts:
        """Measure the equations of the ring weights of estimates `(kinds, n, box, box)`, without and with the probe."""
        device = self.probe.device
        as_they_lie = [
            Centred(estimates, seen.displacements.expand(len(estimates), -1, -1)).undo_recentring()
            for estimates, seen in ((before, self.before), (after, self.after))
        ]
        return measure_ring_products(
            self.batch.images[0].to(device),
            self.batch.ctf_rings[0].to(device),
            as_they_lie[0],
            as_they_lie[1],
            self.probe,
        )


def learn_ring_weights(
    runner: WholeHalfRunner,
    parts: Sequence[tuple[BatchOfImages, Sequence[Templates]]],
    off_centre: bool,
    advance: Callable[[int], None],
) -> WeightsOfHalf:
    """Learn the ring weights of a half.

    Parameters
    ----------
    runner : WholeHalfRunner
        Sees and denoises images.
    parts : sequence
        Some images of each fold, and the templates that they are seen through.
    off_centre : bool
        Whether particles lie off the centres of their images.
    advance : callable
        Told the number of images that were seen or denoised, of `count_learning` in all.
    """
    probed = []
    for batch, templates in parts:
        probed.append(probe_images(runner, batch, templates, off_centre))
        advance(2 * len(probed[-1].probe))
    with torch.inference_mode():
        guess = solve_ring_weights(
            reduce(add, (one.measure(one.before.expected, one.after.expected) for one in probed)),
            PRIOR_GUESS,
        )
    products = []
    for one in probed:
        kinds = [
            seen.list_kinds(runner.denoise(seen, guess, one.batch)[1].estimates)
            for seen in (one.before, one.after)
        ]
        advance(2 * len(one.probe))
        with torch.inference_mode():
            products.append(one.measure(*kinds))
    with torch.inference_mode():
        weights = solve_ring_weights(reduce(add, products), PRIOR)
    return WeightsOfHalf(guess, weights, off_centre)


def count_learning(parts: Sequence[tuple[BatchOfImages, Sequence[Templates]]]) -> int:
    """Count the images that are seen, and denoised, for learning."""
    return sum(4 * len(batch.own_rows) for batch, _ in parts)


def read_learning_images(scratch: ScratchImages, cluster: NumberedBatch) -> BatchOfImages:
    """Read the first images of a cluster, as many as are learned from."""
    rows = cluster[1][0].rows
    rows = rows[: min(LEARNING_IMAGES, math.ceil(LEARNING_SHARE * len(rows)))]
    return read_batch(scratch, cluster[0], [ImageSet(rows, len(rows))])


def probe_images(
    runner: WholeHalfRunner,
    batch: BatchOfImages,
    templates: Sequence[Templates],
    off_centre: bool,
) -> ProbedImages:
    """See images through templates without a probe and with it."""
    device = runner.job.device
    images, ctf_rings = batch.images[0].to(device), batch.ctf_rings[0].to(device)
    source = torch.Generator().manual_seed(runner.job.plan.seed)
    probe = torch.randn(images.shape, generator=source).to(images)
    before, after = (
        runner.see(templates, pixels, ctf_rings, off_centre)
        for pixels in (images, images + PROBE * probe)
    )
    return ProbedImages(batch, probe, before, after)
