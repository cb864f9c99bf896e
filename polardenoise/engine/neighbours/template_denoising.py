"""Denoising through templates: images of each fold, seen through templates of another, then by the network.

    images -> their expectation over templates -> the network among neighbours, by that expectation -> the sum of all

The expectation tells the network which images show the same as an image, and at which rotation, better than its own
first estimates do; what the network gathers from the neighbours' pixels is in no template. The sum takes each ring of
frequencies from both, with weights that are learned without the truth (`ring_weights`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.neighbours.centred_denoising import CentredCluster
from polardenoise.engine.neighbours.displacements import correlate, find_displacements
from polardenoise.engine.neighbours.encoded_cluster import Cluster, encode_cluster, encode_mirrored
from polardenoise.engine.neighbours.ring_weights import add_by_rings
from polardenoise.engine.neighbours.search import DenoisedCluster, denoise_once_more
from polardenoise.engine.neighbours.templates import Templates, expect_images
from polardenoise.engine.networks.polar_transformer import PolarTransformer
from polardenoise.engine.particles.shared_pixels import SharedPixels

#: How often images that lie off the centre are moved and seen again (docs/templates.rst).
CENTRING_PASSES = 3


@dataclass(frozen=True)
class SeenImages:
    """Images as templates show them.

    Attributes
    ----------
    centred : Tensor
        `(n, box, box)` the images, moved to the centre.
    ctf_rings : Tensor
        `(n, box // 2)`.
    displacements : Tensor
        `(n, 2)` pixels, `(x, y)`: how far each particle lay off the centre.
    expected : Tensor
        `(k, n, box, box)` through each kind of each of the templates.
    share : Tensor
        `(n,)` probability, from 0 to 1, that an image shows a template rather than nothing.
    """

    centred: Tensor
    ctf_rings: Tensor
    displacements: Tensor
    expected: Tensor
    share: Tensor

    def guess(self, weights: Tensor) -> Tensor:
        """Guess the clean images `(n, box, box)` by ring weights `(k, box // 2)`; nothing where nothing is shown."""
        return self.share[:, None, None] * add_by_rings(self.expected, weights)

    def add(self, by_network: Tensor, weights: Tensor) -> Tensor:
        """Add the network's estimates `(n, box, box)` by ring weights `(k + 1, box // 2)`: `(n, box, box)`.

        An image that templates explain no better than noise does keeps what the network makes of it.
        """
        share = self.share[:, None, None]
        together = add_by_rings(self.list_kinds(by_network), weights)
        return share * together + (1 - share) * by_network

    def list_kinds(self, by_network: Tensor) -> Tensor:
        """Put all estimates together, `(k + 1, n, box, box)`, the network's last."""
        return torch.cat([self.expected, by_network[None]])


def see_images(
    templates: Sequence[Templates], images: Tensor, ctf_rings: Tensor, off_centre: bool
) -> SeenImages:
    """See images through templates.

    Parameters
    ----------
    templates : sequence of Templates
        Of images that share no pixels with these, the best ones last: by these images are moved.
    images : Tensor
        `(n, box, box)`, phases flipped, noise of variance 1.
    ctf_rings : Tensor
        `(n, box // 2)` |CTF| by ring.
    off_centre : bool
        Whether particles lie off the centres of their images: they are moved there by what the templates show.
    """
    displacements = images.new_zeros(len(images), 2)
    centred = images
    for _ in range(CENTRING_PASSES if off_centre else 0):
        shown = expect_images(templates[-1], centred, ctf_rings).estimates[0]
        displacements = find_by_templates(centred, ctf_rings, shown, displacements)
        centred = shift_images(images, -displacements)
    seen = [expect_images(own, centred, ctf_rings) for own in templates]
    expected = torch.cat([one.estimates for one in seen])
    # What one of them explains is not noise, whatever the others make of it.
    evidence = torch.stack([one.evidence for one in seen]).amax(0)
    return SeenImages(centred, ctf_rings, displacements, expected, evidence.sigmoid())


def see_images_of_folds(
    prepare: Callable[[int], Sequence[Templates]],
    folds: Tensor,
    images: Tensor,
    ctf_rings: Tensor,
    off_centre: bool,
) -> SeenImages:
    """See images of several folds `(n,)`, each through what is for its fold, which is prepared fold by fold.

    The other parameters are those of `see_images`.
    """
    places, parts = [], []
    for fold in folds.unique().tolist():
        own = (folds == fold).nonzero()[:, 0]
        places.append(own)
        parts.append(see_images(prepare(fold), images[own], ctf_rings[own], off_centre))
    back = torch.cat(places).argsort()
    return SeenImages(
        torch.cat([one.centred for one in parts])[back],
        ctf_rings,
        torch.cat([one.displacements for one in parts])[back],
        torch.cat([one.expected for one in parts], 1)[:, back],
        torch.cat([one.share for one in parts])[back],
    )


def find_by_templates(
    centred: Tensor, ctf_rings: Tensor, shown: Tensor, displacements: Tensor
) -> Tensor:
    """Find displacements `(n, 2)` of images that were moved by some already, from what templates show of them."""
    likelihood = correlate(centred, ctf_rings, shown)
    # Templates have none of the image's pixels, so that nothing holds it back: steps are as the likelihood says.
    found, _, _ = find_displacements(
        likelihood[None], displacements[None], spread_factor=1.0, step_factor=1.0
    )
    return found[0]


def denoise_by_guess(
    model: PolarTransformer,
    seen: SeenImages,
    guess: Tensor,
    images_per_set: int,
    shared: SharedPixels | None = None,
    most: int | None = None,
) -> tuple[Cluster, DenoisedCluster]:
    """Have the network denoise images among the neighbours that a guess `(n, box, box)` of them finds.

    Parameters
    ----------
    model : PolarTransformer
        On the images' device.
    seen : SeenImages
        A cluster of images of one fold.
    guess : Tensor
        `(n, box, box)` from `SeenImages.guess`.
    images_per_set : int
        K: the image itself and its K - 1 neighbours.
    shared : SharedPixels, optional
        Which of the images share pixels: no two that do meet.
    most : int, optional
        K where neighbours are near, see `set_sizes`.
    """
    cluster = encode_mirrored(model, encode_cluster(model, seen.centred, seen.ctf_rings, shared))
    return cluster, denoise_once_more(model, cluster, guess, images_per_set, most)


def join_estimates(
    seen: SeenImages, cluster: Cluster, denoised: DenoisedCluster, weights: Tensor
) -> CentredCluster:
    """Add up all estimates of a cluster by ring weights `(k + 1, box // 2)`."""
    finished = replace(denoised, estimates=seen.add(denoised.estimates, weights))
    return CentredCluster(cluster, finished, seen.displacements)
