"""Neighbour search: the images of a cluster that show the same as an image, and denoising among them.

A cluster is up to about a thousand images of one half, small enough that everything about them fits the memory and
every image can be compared with every other. Its images are encoded by the network once. Then, pass by pass:

    denoise in random sets -> compare every image with every estimate -> denoise among the neighbours -> once more

An image is compared with the *estimates* of the others (see `rotational_matching`), and every image has neighbours of
its own rather than being put into one of several sets (docs/constants.rst has the figures).

A molecule seen from behind shows the mirror image of what it shows from the front. So others are looked for mirrored as
well, twice as many images of the same views without a further particle: in a cluster of `n` images, places from `n` on
are those of the mirrored ones. None meets its own mirror image (docs/mirrored.rst has the figures).

An estimate holds the noise of the images that it was made of, each by its weight, and resembles them by it. What an
image finds of its own noise is taken off before its next neighbours are chosen (`OWN_NOISE_KEPT`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.rotational_matching import (
    RotationalMatches,
    match_images,
    measure_affinity,
    select_ctf_rings,
)
from polardenoise.engine.neighbours.companions import choose_neighbours
from polardenoise.engine.neighbours.encoded_cluster import IMAGES_AT_ONCE, Cluster, encode_mirrored
from polardenoise.engine.neighbours.set_sizes import limit_neighbours
from polardenoise.engine.networks.evidence_attention import (
    EvidenceWeights,
    attend_to_neighbours_by_evidence,
)
from polardenoise.engine.networks.neighbour_attention import (
    NeighbourAttention,
    attend_to_neighbours,
)
from polardenoise.engine.networks.polar_transformer import Encoded, PolarTransformer
from polardenoise.engine.networks.template_evidence import prepare_comparison
from polardenoise.engine.particles.shared_pixels import SharedPixels
from polardenoise.engine.runtime.devices import full_precision
from polardenoise.engine.runtime.progress import tell_pass

#: From queries, keys, values and neighbours `(m, K)` to what each image gathers; see `attend_to_neighbours`.
Attend = Callable[..., NeighbourAttention]

#: Images of a random set in the first pass.
FIRST_SET = 64

#: How much of the noise of the images that were averaged is left in an estimate (docs/mirrored.rst).
OWN_NOISE_KEPT = 0.3


@dataclass(frozen=True)
class DenoisedCluster:
    """The images of a cluster, denoised among their neighbours.

    Attributes
    ----------
    estimates : Tensor
        `(n, box, box)` float32.
    neighbours : Tensor
        `(n, K)` int64 places in the cluster: the image itself, then its neighbours, the nearest first, from `n` on
        mirrored ones; -1 where there are fewer.
    attention : NeighbourAttention
        What each image gathered from them.
    """

    estimates: Tensor
    neighbours: Tensor
    attention: NeighbourAttention


@dataclass(frozen=True)
class EarlierEstimates:
    """Estimates of an earlier pass, and what they were made of.

    Attributes
    ----------
    estimates : Tensor
        `(n, box, box)`.
    neighbours : Tensor
        `(n, K)`, as `DenoisedCluster` has them.
    weights : Tensor
        `(n, K)`: of each neighbour in an estimate.
    """

    estimates: Tensor
    neighbours: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Search:
    """The neighbours of every image of a cluster.

    Attributes
    ----------
    neighbours : Tensor
        As `DenoisedCluster` has them.
    estimates : Tensor
        `(2, modes, n, rings)`, or `2 n` with the mirrored ones: harmonics of the estimates that images were compared
        with.
    """

    neighbours: Tensor
    estimates: Tensor


def denoise_encoded_cluster(
    model: PolarTransformer,
    cluster: Cluster,
    images_per_set: int,
    seed: int,
    most: int | None = None,
) -> DenoisedCluster:
    """Denoise the images of a cluster, each among its nearest neighbours.

    Parameters
    ----------
    model : PolarTransformer
        On the cluster's device.
    cluster : Cluster
        From `encode_cluster`.
    images_per_set : int
        K: the image itself and its K - 1 neighbours.
    seed : int
        Fixes the random sets of the first pass.
    most : int, optional
        K of images whose farther neighbours show nearly what the nearest do (`set_sizes`), if more than that.
    """
    estimates = denoise_at_random(model, cluster.encoded, seed, cluster.shared)
    return denoise_by_neighbours(model, cluster, estimates, images_per_set, most)


def denoise_by_neighbours(
    model: PolarTransformer,
    cluster: Cluster,
    estimates: Tensor,
    images_per_set: int,
    most: int | None = None,
) -> DenoisedCluster:
    """Denoise each image of a cluster among the neighbours that the estimates `(n, box, box)` of all find for it.

    Neighbours are searched once for each refinement pass of the network, by the estimates of the pass before. Only in
    the last one an image may have up to `most`: the estimates before are not good enough to tell.
    """
    cluster = encode_mirrored(model, cluster)
    if count_refinement_passes(model) < 2:
        return denoise_once_more(model, cluster, estimates, images_per_set, most)
    begun = denoise_first(model, cluster, estimates, images_per_set)
    return denoise_further(model, cluster, begun, images_per_set, most)


def denoise_first(
    model: PolarTransformer, cluster: Cluster, estimates: Tensor, images_per_set: int
) -> EarlierEstimates:
    """Denoise by the first refinement pass, or by attention alone where the only one is the last."""
    search = search_neighbours(cluster, estimates, images_per_set)
    if count_refinement_passes(model) > 1:
        weights = model.evidence_weights.list_passes()[0]
        return keep_estimates(denoise_by_evidence(model, cluster, search, weights))
    return keep_estimates(denoise_among(model, cluster, search.neighbours))


def denoise_further(
    model: PolarTransformer,
    cluster: Cluster,
    begun: EarlierEstimates,
    images_per_set: int,
    most: int | None = None,
) -> DenoisedCluster:
    """Denoise by all refinement passes that follow the first, which has made the estimates begun with."""
    for evidence_weights in model.evidence_weights.list_passes()[1:-1]:
        search = search_neighbours(cluster, begun.estimates, images_per_set, made_of=begun)
        begun = keep_estimates(denoise_by_evidence(model, cluster, search, evidence_weights))
    return denoise_once_more(model, cluster, begun.estimates, images_per_set, most, begun)


def denoise_once_more(
    model: PolarTransformer,
    cluster: Cluster,
    estimates: Tensor,
    images_per_set: int,
    most: int | None = None,
    made_of: EarlierEstimates | None = None,
) -> DenoisedCluster:
    """Denoise each image of a cluster by estimates `(n, box, box)` that need no improving: the last pass alone.

    `made_of` says what images of the cluster the estimates were made of, if of any.
    """
    search = search_neighbours(cluster, estimates, images_per_set, most, made_of)
    refinement_passes = model.evidence_weights.list_passes()
    if not refinement_passes:
        return denoise_among(model, cluster, search.neighbours)
    return denoise_by_evidence(model, cluster, search, refinement_passes[-1])


def search_neighbours(
    cluster: Cluster,
    estimates: Tensor,
    images_per_set: int,
    most: int | None = None,
    made_of: EarlierEstimates | None = None,
) -> Search:
    """Search the neighbours of each image by the estimates `(n, box, box)` of all, up to `most` where they are near."""
    with full_precision(estimates.device):
        harmonics = cluster.rings.to_harmonics(estimates)
        if cluster.mirrored:
            harmonics = cluster.rings.append_mirrored(harmonics)
        likelihood = match_cluster(cluster, harmonics).likelihood
        if made_of is not None:
            likelihood = likelihood - expect_own_noise(cluster, made_of)[:, : harmonics.shape[2]]
        affinity = measure_affinity(likelihood, cluster.apart)
        widest = max(images_per_set, most or 0)
        neighbours = choose_neighbours(affinity, widest, cluster.apart)
        return Search(
            limit_neighbours(neighbours, harmonics, cluster.rings, images_per_set), harmonics
        )


def expect_own_noise(cluster: Cluster, made_of: EarlierEstimates) -> Tensor:
    """Expect how much log-likelihood images owe to their own noise in earlier estimates, `(n, 2 n)`."""
    given = tabulate_weights(made_of.neighbours, made_of.weights)
    # What estimate j holds of image i mirrored, its mirror image holds of image i.
    taken = (
        given.unflatten(1, (2, -1)).transpose(0, 2).flatten(1)
    )  # i, then j as it is and mirrored
    squared_ctf = select_ctf_rings(cluster.ctf_rings, cluster.rings).square()
    noise = squared_ctf @ cluster.rings.noise_energies().to(squared_ctf)
    return OWN_NOISE_KEPT * noise[:, None] * taken


def tabulate_weights(neighbours: Tensor, weights: Tensor) -> Tensor:
    """Lay out the weights `(n, K)` of neighbours, -1 for none, by their places: `(n, 2 n)`, mirrored ones last."""
    nobody = 2 * len(neighbours)
    table = weights.new_zeros(len(neighbours), nobody + 1)
    return table.scatter_(1, neighbours.where(neighbours >= 0, nobody), weights)[:, :nobody]


def denoise_by_evidence(
    model: PolarTransformer, cluster: Cluster, search: Search, evidence_weights: EvidenceWeights
) -> DenoisedCluster:
    """Denoise each image among its neighbours, by the evidence of the estimates that found them."""
    images, ctf_rings = cluster.image_harmonics, cluster.ctf_rings
    if cluster.mirrored:
        images, ctf_rings = cluster.rings.append_mirrored(images), ctf_rings.repeat(2, 1)
    comparison = prepare_comparison(images, ctf_rings, search.estimates, cluster.rings)
    attend = partial(
        attend_to_neighbours_by_evidence, comparison=comparison, evidence_weights=evidence_weights
    )
    return denoise_among(model, cluster, search.neighbours, attend)


def keep_estimates(denoised: DenoisedCluster) -> EarlierEstimates:
    """Keep of a denoised cluster what the next pass needs, and not what was gathered, a tenth of the memory."""
    return EarlierEstimates(denoised.estimates, denoised.neighbours, denoised.attention.weights)


def denoise_among(
    model: PolarTransformer,
    cluster: Cluster,
    neighbours: Tensor,
    attend: Attend = attend_to_neighbours,
) -> DenoisedCluster:
    """Denoise each image of a cluster among its neighbours `(n, K)`, itself first, -1 where there are fewer."""
    encoded = cluster.encoded
    with full_precision(encoded.value.device):
        attention = attend(encoded.query, encoded.key, encoded.value, neighbours)
    estimates = decode_all(model, encoded, attention.attended)
    return DenoisedCluster(estimates, neighbours, attention)


def denoise_at_random(
    model: PolarTransformer, encoded: Encoded, seed: int, shared: SharedPixels | None = None
) -> Tensor:
    """Denoise the images in random sets, `(n, box, box)`: what the first neighbours are found by."""
    count = len(encoded.query)
    order = np.random.default_rng([seed, 3]).permutation(count)
    # Even sets: the last one would else be small.
    sets = max(1, round(count / FIRST_SET))
    if shared is None:
        parts = np.array_split(order, sets)
    else:
        parts = [order[places] for places in shared.deal_apart(order, sets)]
    attended = torch.empty_like(encoded.value[:count])
    for part in parts:
        rows = torch.from_numpy(part).to(attended.device)
        attended[rows] = model.attend(encoded.select(rows), (1, len(rows)))
    return decode_all(model, encoded, attended)


def match_cluster(cluster: Cluster, estimates: Tensor) -> RotationalMatches:
    """Compare every image of a cluster with the harmonics of every estimate `(2, modes, n, rings)`."""
    return match_images(cluster.image_harmonics, cluster.ctf_rings, estimates, cluster.rings)


def decode_all(model: PolarTransformer, encoded: Encoded, attended: Tensor) -> Tensor:
    """Estimate the clean images `(n, box, box)` from what they have gathered, some at a time."""
    starts = range(0, len(attended), IMAGES_AT_ONCE)
    estimates = []
    for some in (slice(start, start + IMAGES_AT_ONCE) for start in starts):
        estimates.append(model.decode(encoded.select(some), attended[some]).float())
        tell_pass(len(estimates[-1]))
    return torch.cat(estimates)


def count_refinement_passes(model: PolarTransformer) -> int:
    """Count the passes of a network that go by the evidence of earlier estimates."""
    return len(model.evidence_weights.list_passes())


def count_passes(model: PolarTransformer) -> int:
    """Count how often images of a cluster are encoded or decoded, of those that lie in the centre."""
    return 2 + max(1, count_refinement_passes(model))
