"""Learning of the ring weights of a half: a cluster of it is estimated as it is, and with a probe.

The same probe tells whether they pay: the error of the sum, and that of images denoised among their neighbours alone,
are estimated without the truth (Stein's unbiased risk estimate). Where a half is small, or its volume wrong, neighbours
may be better.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from polardenoise.engine.denoise.batches import BatchOfImages
from polardenoise.engine.denoise.whole_halves.runner import WholeHalfRunner
from polardenoise.engine.denoise.whole_halves.template_file import ShownToFolds, WeightsOfHalf
from polardenoise.engine.neighbours.centring import Centred
from polardenoise.engine.neighbours.ring_weights import (
    PROBE,
    RingProducts,
    estimate_risk,
    measure_ring_products,
    solve_ring_weights,
)
from polardenoise.engine.neighbours.template_denoising import SeenImages

#: Images of a cluster that are learned from, at most.
LEARNING_IMAGES = 512
#: What the ring weights of the guess are where images tell nothing of them, and of all that is added up.
PRIOR_GUESS, PRIOR = (0.3, 0.7), (0.2, 0.4, 0.4)


@dataclass(frozen=True)
class ProbedImages:
    """The images of a cluster as they are, and with a probe.

    Attributes
    ----------
    batch, with_probe : BatchOfImages
        The images; the same with `PROBE` times the probe.
    probe : Tensor
        `(n, box, box)` white noise of variance 1.
    """

    batch: BatchOfImages
    with_probe: BatchOfImages
    probe: Tensor

    def measure(self, before: Tensor, after: Tensor) -> RingProducts:
        """Measure the equations of the ring weights of estimates `(kinds, n, box, box)`, without and with the probe."""
        device = self.probe.device
        images, ctf_rings = (one[0].to(device) for one in (self.batch.images, self.batch.ctf_rings))
        return measure_ring_products(images, ctf_rings, before, after, self.probe)


def learn_ring_weights(
    runner: WholeHalfRunner,
    batch: BatchOfImages,
    shown: ShownToFolds,
    off_centre: bool,
    advance: Callable[[int], None],
) -> WeightsOfHalf:
    """Learn the ring weights of a half, and whether they pay.

    Parameters
    ----------
    runner : WholeHalfRunner
        Sees and denoises images.
    batch : BatchOfImages
        A cluster of the half.
    shown : ShownToFolds
        What the images of each fold are seen through.
    off_centre : bool
        Whether particles lie off the centres of their images.
    advance : callable
        Told the number of images that were seen or denoised, of `count_learning` in all.
    """
    count = len(batch.own_rows)
    probed = probe_images(runner, batch)
    both = (probed.batch, probed.with_probe)
    seen = []
    for images in both:
        seen.append(runner.see(shown, images, off_centre))
        advance(count)
    with torch.inference_mode():
        expected = (lay_back(own, own.expected) for own in seen)
        guess = solve_ring_weights(probed.measure(*expected), PRIOR_GUESS)
    kinds = []
    for own, images in zip(seen, both, strict=True):
        together = lay_back(own, own.list_kinds(runner.denoise(own, guess, images)[1].estimates))
        advance(count)
        by_neighbours = runner.estimate_by_neighbours(images).undo_recentring()
        advance(count)
        kinds.append(torch.cat([together, by_neighbours[None]]))
    with torch.inference_mode():
        products = probed.measure(*kinds)
        weights = solve_ring_weights(products.select(len(PRIOR)), PRIOR)
        pays = compare_risks(products, weights)
    return WeightsOfHalf(guess, weights, off_centre, pays)


def compare_risks(products: RingProducts, weights: Tensor) -> bool:
    """Tell whether the sum by weights has less of an error than the estimates that come last, by neighbours alone."""
    whole = torch.cat([weights, torch.zeros_like(weights[:1])])
    alone = torch.zeros_like(whole)
    alone[-1] = 1
    return estimate_risk(products, whole) < estimate_risk(products, alone)


def count_learning(batch: BatchOfImages) -> int:
    """Count the images that are seen, and denoised, for learning from a cluster."""
    return 6 * len(batch.own_rows)


def probe_images(runner: WholeHalfRunner, batch: BatchOfImages) -> ProbedImages:
    """Add a probe to the images of a cluster."""
    images = batch.images[0]
    source = torch.Generator().manual_seed(runner.job.plan.seed)
    probe = torch.randn(images.shape, generator=source)
    with_probe = replace(batch, images=(images + PROBE * probe)[None])
    return ProbedImages(batch, with_probe, probe.to(runner.job.device))


def lay_back(seen: SeenImages, estimates: Tensor) -> Tensor:
    """Move estimates `(kinds, n, box, box)` of centred images to where the particles lay."""
    displacements = seen.displacements.expand(len(estimates), -1, -1)
    return Centred(estimates, displacements).undo_recentring()
