"""Images of a cluster seen through the estimates of the others: half of what is delivered.

The network makes its estimate of an image from some dozens of neighbours. The *estimates* of all others are nearly
free of noise: the expectation of an image over them, at every rotation and mirrored, is an average of those it may show
(`templates`). It errs otherwise than the network does, so that the mean of both is better than either.

Averaging smooths. The expectation of the estimates over one another says by how much, and is taken off:

    (network + expectation + (expectation - expectation of the smoothed estimates)) / 2

An image does not meet its own estimate, nor that of an image that shares its pixels; what it would find of its own
noise in the estimates of others is taken off (`search`). Small clusters show too few views for it.
"""

from dataclasses import replace

import torch
from torch import Tensor

from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.neighbours.encoded_cluster import Cluster
from polardenoise.engine.neighbours.search import (
    DenoisedCluster,
    expect_own_noise,
    keep_estimates,
)
from polardenoise.engine.neighbours.templates import (
    expect_images,
    prepare_templates,
    see_through_one_another,
)
from polardenoise.engine.runtime.devices import full_precision

#: Fewer images than this show too few views (docs/expectation.rst).
LEAST_IMAGES = 128


def add_expectation(
    grid: PolarGrid, images: Tensor, cluster: Cluster, denoised: DenoisedCluster
) -> DenoisedCluster:
    """Give the estimates of a cluster their half of the expectation over those of the other images.

    Parameters
    ----------
    grid : PolarGrid
        Of the polar estimates.
    images : Tensor
        `(n, box, box)` those of the cluster, at their centres, their noise white.
    cluster : Cluster
        What they were denoised from.
    denoised : DenoisedCluster
        By the network.

    Returns
    -------
    DenoisedCluster
        With other estimates. Those of clusters of less than `LEAST_IMAGES` stay, and those of images that may meet no
        other.
    """
    if len(images) < LEAST_IMAGES:
        return denoised
    own = denoised.estimates
    with full_precision(images.device):
        templates = prepare_templates(own[None], grid)
        templates = templates.add_kind(see_through_one_another(templates, own))
        not_owed = expect_noise_of_own_pixels(cluster, denoised).masked_fill(
            forbid_own_pixels(cluster), torch.inf
        )
        alone = not_owed.isinf().all(1)
        not_owed[alone] = 0.0  # whatever these see is not taken
        once, twice = expect_images(
            templates, images, cluster.ctf_rings, not_owed=not_owed
        ).estimates
    mean = (own + 2 * once - twice) / 2
    return replace(denoised, estimates=torch.where(alone[:, None, None], own, mean))


def expect_noise_of_own_pixels(cluster: Cluster, denoised: DenoisedCluster) -> Tensor:
    """Expect what log-likelihood images owe to noise that they share with the estimates, `(n, 2 n)`.

    It is that of the image itself and of all that share pixels with it, as if these shared all.
    """
    held = expect_own_noise(cluster, keep_estimates(denoised))
    return held if cluster.apart is None else held + cluster.apart.to(held) @ held


def forbid_own_pixels(cluster: Cluster) -> Tensor:
    """Tell which estimates hold an image's own pixels, mirrored ones last: `(n, 2 n)` bool."""
    count = len(cluster.ctf_rings)
    itself = torch.eye(count, dtype=torch.bool, device=cluster.ctf_rings.device)
    apart = itself if cluster.apart is None else itself | cluster.apart
    return apart.repeat(1, 2)
