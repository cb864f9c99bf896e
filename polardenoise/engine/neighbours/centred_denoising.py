"""Joint denoising of clusters and of sets, whose images are moved to the centre where they lie off it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf_rings import weigh_by_noise, whiten
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.neighbours.centring import (
    MOST_PASSES,
    Centred,
    choose_anchor,
    denoise_centred,
    find_off_centre,
    place_once_more,
    settle,
)
from polardenoise.engine.neighbours.encoded_cluster import Cluster, encode_cluster, encode_mirrored
from polardenoise.engine.neighbours.expectation import add_expectation
from polardenoise.engine.neighbours.search import (
    DenoisedCluster,
    count_passes,
    count_refinement_passes,
    denoise_among,
    denoise_at_random,
    denoise_first,
    denoise_further,
    denoise_once_more,
    search_neighbours,
)
from polardenoise.engine.networks.polar_transformer import Encoded, PolarTransformer
from polardenoise.engine.particles.shared_pixels import SharedPixels
from polardenoise.engine.runtime.progress import tell_pass


@dataclass(frozen=True)
class CentredCluster:
    """A denoised cluster.

    Attributes
    ----------
    cluster : Cluster
        What is known of its images, moved to the centre.
    denoised : DenoisedCluster
        Their estimates, at the centre, and their neighbours.
    displacements : Tensor
        `(n, 2)` pixels, `(x, y)`: how far each particle lay off the centre.
    """

    cluster: Cluster
    denoised: DenoisedCluster
    displacements: Tensor

    def undo_recentring(self) -> Tensor:
        """Move the estimates to where the particles lay, `(n, box, box)`."""
        estimates = self.denoised.estimates[None]
        return Centred(estimates, self.displacements[None]).undo_recentring()[0]


def denoise_centred_cluster(
    model: PolarTransformer,
    images: Tensor,
    ctf_rings: Tensor,
    images_per_set: int,
    seed: int,
    shared: SharedPixels | None = None,
    most: int | None = None,
    noise_power: Tensor | None = None,
) -> CentredCluster:
    """Denoise images `(n, box, box)` of one half with CTF rings `(n, box // 2)`, each among its neighbours.

    Particles that lie off the centre are moved there by what their neighbours show, and neighbours are searched once
    more. `shared` says which of the images share pixels, `noise_power` `(box // 2,)` how strong their noise is on each
    ring of frequencies if it is not white: the network gets the images as they are, and whatever compares them counts
    each frequency by that. The other parameters are those of `denoise_encoded_cluster`.
    """
    cluster = encode_cluster(model, images, ctf_rings, shared, noise_power)
    estimates = denoise_at_random(model, cluster.encoded, seed, shared)
    # An image off the centre resembles others mirrored, off it the other way: by those it is not to be moved.
    neighbours = search_neighbours(cluster, estimates, images_per_set).neighbours
    cluster = encode_mirrored(model, cluster)
    begun = denoise_first(model, cluster, estimates, images_per_set)
    displacements = find_off_centre(
        model,
        images[None],
        weigh_by_noise(ctf_rings, noise_power)[None],
        neighbours[:, 1:],
        cluster.encoded,
        begun.estimates[None],
    )
    if not displacements.any():
        if count_refinement_passes(model) > 1:
            denoised = denoise_further(model, cluster, begun, images_per_set, most)
        else:
            denoised = denoise_once_more(model, cluster, estimates, images_per_set, most)
        white, _ = whiten(images, ctf_rings, noise_power)
        denoised = add_expectation(model.grid, white, cluster, denoised)
        return CentredCluster(cluster, denoised, displacements[0])
    tell_pass(more_passes=2 * MOST_PASSES + 7 - count_passes(model))
    # An encoded cluster is most of what is in memory (225 KB an image at 64 px): there is never a second one.
    del cluster, begun, estimates
    return denoise_moved_cluster(
        model,
        images,
        ctf_rings,
        neighbours,
        displacements,
        images_per_set,
        shared,
        most,
        noise_power,
    )


def denoise_moved_cluster(
    model: PolarTransformer,
    images: Tensor,
    ctf_rings: Tensor,
    neighbours: Tensor,
    displacements: Tensor,
    images_per_set: int,
    shared: SharedPixels | None,
    most: int | None,
    noise_power: Tensor | None,
) -> CentredCluster:
    """Denoise the images of a cluster that lie off the centre: moved until they lie still, by neighbours `(n, K)`.

    `displacements` `(1, n, 2)` are those that `find_off_centre` has found; the others are as `denoise_centred_cluster`
    has them.
    """
    passes_left = MOST_PASSES
    compared = weigh_by_noise(ctf_rings, noise_power)[None]

    def denoise_moved(moved: Tensor) -> tuple[Encoded, Tensor]:
        nonlocal passes_left
        passes_left -= 1
        cluster = encode_cluster(model, moved[0], ctf_rings, shared)
        return cluster.encoded, denoise_among(model, cluster, neighbours).estimates[None]

    anchor = choose_anchor(len(images))
    displacements, estimates = settle(
        model,
        images[None],
        compared,
        neighbours[:, 1:],
        denoise_moved,
        displacements,
        MOST_PASSES,
        anchor,
    )
    tell_pass(more_passes=-2 * passes_left)
    # Now that images lie in the centre, neighbours are found that could not be told before, mirrored ones as well.
    moved = shift_images(images[None], -displacements)
    cluster = encode_mirrored(
        model, encode_cluster(model, moved[0], ctf_rings, shared, noise_power)
    )
    begun = denoise_first(model, cluster, estimates[0], images_per_set)
    displacements = place_once_more(
        model,
        moved,
        compared,
        begun.neighbours[:, 1:],
        cluster.encoded,
        begun.estimates[None],
        displacements,
        anchor,
    )
    del cluster
    moved = shift_images(images, -displacements[0])
    cluster = encode_mirrored(model, encode_cluster(model, moved, ctf_rings, shared, noise_power))
    denoised = denoise_once_more(model, cluster, begun.estimates, images_per_set, most, begun)
    white, _ = whiten(moved, ctf_rings, noise_power)
    denoised = add_expectation(model.grid, white, cluster, denoised)
    return CentredCluster(cluster, denoised, displacements[0])


def denoise_sets(model: PolarTransformer, images: Tensor, ctf_rings: Tensor) -> Centred:
    """Denoise sets `(sets, K, box, box)` with CTF rings `(sets, K, box // 2)`; sets do not see one another.

    Where no set lies off the centre the estimates are the network's, `model(images, ctf_rings)`.
    """
    shape = images.shape[:2]

    def denoise(images: Tensor) -> tuple[Encoded, Tensor]:
        encoded = model.encode(images.flatten(0, 1), ctf_rings.flatten(0, 1))
        return encoded, model.estimate_by_passes(encoded, images, ctf_rings)[-1].float()

    others = list_others(*shape).to(images.device)
    return denoise_centred(model, images, ctf_rings, others, denoise, denoise(images))


def list_others(sets: int, size: int) -> Tensor:
    """List for every image the others of its set, `(sets * size, size - 1)` int64, counted over all sets."""
    after = torch.arange(1, size)
    within = (torch.arange(size)[:, None] + after) % size
    return (torch.arange(sets)[:, None, None] * size + within).flatten(0, 1)
