"""Clusters: a half of any size cut into parts of related images, in which neighbours are searched.

All pairs of a large set are too many. Some hundred images of the half, denoised in random sets, are its landmarks; they
are divided into groups that are alike, every image is assigned to the group that explains it best, and groups are cut
into clusters. Each image is compared with the landmarks once: the work grows as the set, the memory hardly at all.
"""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform
from torch import Tensor

from polardenoise.engine.imaging.ctf_rings import whiten
from polardenoise.engine.imaging.ring_harmonics import FourierRings, build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import (
    compute_image_harmonics,
    match_images,
    measure_affinity,
)
from polardenoise.engine.neighbours.encoded_cluster import encode_cluster
from polardenoise.engine.neighbours.grouping import ImageSet
from polardenoise.engine.neighbours.search import denoise_at_random
from polardenoise.engine.networks.polar_transformer import PolarTransformer
from polardenoise.engine.particles.scratch_file import ScratchImages
from polardenoise.engine.particles.shared_pixels import SharedPixels, share_nothing

#: Most images of a cluster. Everything about a cluster is in memory at once: about 0.6 MB an image at 64 px.
LARGEST_CLUSTER = 1024

#: Landmarks of a half, and the most groups that they are divided into.
LANDMARKS = 256
MOST_GROUPS = 64

#: Images compared with the landmarks at once.
IMAGES_AT_ONCE = 1024


def form_clusters(
    model: PolarTransformer,
    scratch: ScratchImages,
    halves: np.ndarray,
    seed: int,
    device: torch.device,
    advance: Callable[[int], None],
    shared: SharedPixels | None = None,
    noise_powers: Mapping[int, Tensor] | None = None,
) -> list[ImageSet]:
    """Cut every half into clusters; images of different halves never meet.

    Parameters
    ----------
    model : PolarTransformer
        On its device.
    scratch : ScratchImages
        The working images of all rows.
    halves : ndarray
        `(n,)` the half of each row.
    seed : int
        Fixes the landmarks.
    device : torch.device
        Where to compute.
    advance : callable
        Told the number of images done.
    shared : SharedPixels, optional
        Which rows show one image, of which the first stands for all, and which images share pixels: these may be in one
        cluster, but none is a landmark for another. By default each row has an image of its own, and none do.
    noise_powers : mapping, optional
        Half -> `(box // 2,)` power of its noise on each ring, of those whose noise is not white.

    Returns
    -------
    list of ImageSet
        In which every image that is not left out is kept exactly once.
    """
    shared = share_nothing(len(halves)) if shared is None else shared
    clusters, noise_powers = [], noise_powers or {}
    for half in np.unique(halves[halves >= 0]):
        rows = shared.first_row[halves[shared.first_row] == half]
        count = math.ceil(len(rows) / LARGEST_CLUSTER)
        if count == 1:
            clusters.append(ImageSet(rows, len(rows)))
            advance(len(rows))
            continue
        groups = group_by_landmarks(
            model,
            scratch,
            rows,
            min(count, MOST_GROUPS),
            seed,
            device,
            advance,
            shared,
            noise_powers.get(int(half)),
        )
        clusters += list(cut_groups(rows, groups, seed))
    return clusters


def group_by_landmarks(
    model: PolarTransformer,
    scratch: ScratchImages,
    rows: np.ndarray,
    groups: int,
    seed: int,
    device: torch.device,
    advance: Callable[[int], None],
    shared: SharedPixels,
    noise_power: Tensor | None,
) -> np.ndarray:
    """Give each row of one half the group, 0 to `groups - 1`, whose landmarks explain it best; none is overfull."""
    chosen = choose_landmarks(rows, shared, np.random.default_rng([seed, 4]))
    if len(chosen) < groups:  # the images share pixels with one another, nearly all
        advance(len(rows))
        return np.arange(len(rows)) % groups
    images, ctf_rings = (part.to(device) for part in scratch.read_with_ctf_rings(chosen))
    cluster = encode_cluster(model, images, ctf_rings, noise_power=noise_power)
    estimates = cluster.rings.to_harmonics(denoise_at_random(model, cluster.encoded, seed))
    among = match_either_way(cluster.image_harmonics, cluster.ctf_rings, estimates, cluster.rings)
    group_of_landmark = divide_landmarks(measure_affinity(among), groups).to(device)
    evidence = np.empty((len(rows), groups), dtype=np.float16)
    rings = build_fourier_rings(images.shape[-1])
    for start in range(0, len(rows), IMAGES_AT_ONCE):
        some = slice(start, start + IMAGES_AT_ONCE)
        images, ctf_rings = (part.to(device) for part in scratch.read_with_ctf_rings(rows[some]))
        images, ctf_rings = whiten(images, ctf_rings, noise_power)
        harmonics = compute_image_harmonics(images, ctf_rings, rings)
        likelihood = match_either_way(harmonics, ctf_rings, estimates, rings)
        apart = shared.mask(*(shared.image_of_row[those] for those in (rows[some], chosen)))
        if apart is not None:
            likelihood.masked_fill_(torch.from_numpy(apart).to(device), -math.inf)
        best = likelihood.new_full((len(images), groups), -math.inf)
        best.scatter_reduce_(1, group_of_landmark.expand_as(likelihood), likelihood, "amax")
        lost = (best - best.amax(1, keepdim=True)).nan_to_num(nan=0.0).clamp_min(-1e4)
        evidence[some] = lost.cpu().numpy()
        advance(len(images))
    return fill_evenly(evidence)


def match_either_way(
    image_harmonics: Tensor, ctf_rings: Tensor, estimates: Tensor, rings: FourierRings
) -> Tensor:
    """Compare images with estimates, as they are and mirrored: log-likelihoods `(n, m)` of what fits better.

    The parameters are those of `match_images`.
    """
    both = rings.append_mirrored(estimates)
    likelihood = match_images(image_harmonics, ctf_rings, both, rings).likelihood
    return likelihood.unflatten(-1, (2, -1)).amax(-2)


def choose_landmarks(
    rows: np.ndarray, shared: SharedPixels, generator: np.random.Generator
) -> np.ndarray:
    """Choose landmarks at random among rows, ascending, of which no two share pixels."""
    count = min(LANDMARKS, len(rows))
    chosen = np.sort(generator.choice(rows, count, replace=False))
    images = shared.image_of_row[chosen]
    if shared.mask(images) is None:
        return chosen
    candidates = generator.permutation(shared.image_of_row[rows]).tolist()
    return np.sort(shared.first_row[shared.fill_up([], candidates, count)])


def divide_landmarks(affinity: Tensor, groups: int) -> Tensor:
    """Divide landmarks into groups of equal size (to one) that are alike: `(landmarks,)` int64.

    Average-linkage clustering orders them so that the like are side by side; the order is cut.
    """
    distance = -affinity.double().cpu().numpy()
    np.fill_diagonal(distance, 0.0)
    condensed = squareform(distance - min(0.0, float(distance.min())), checks=False)
    tree = optimal_leaf_ordering(linkage(condensed, "average"), condensed)
    group = np.empty(len(distance), dtype=np.int64)
    group[leaves_list(tree)] = np.arange(len(distance)) * groups // len(distance)
    return torch.from_numpy(group)


def fill_evenly(evidence: np.ndarray) -> np.ndarray:
    """Assign rows to the group of most evidence that still has room, those with the clearest choice first.

    Parameters
    ----------
    evidence : ndarray
        `(n, groups)`, the best of each row 0, others below.

    Returns
    -------
    ndarray
        `(n,)` group of each row; sizes differ by one at most.
    """
    count, groups = evidence.shape
    room = np.full(groups, count // groups)
    room[: count % groups] += 1
    assigned = np.full(count, -1)
    left = np.arange(count)
    while len(left):
        choices = np.where(room > 0, evidence[left].astype(np.float32), -np.inf)
        best = choices.argmax(1)
        second = np.partition(choices, -2, axis=1)[:, -2] if groups > 1 else choices[:, 0]
        # A group with room for m takes the m rows that would lose most by going elsewhere.
        loss = np.where(np.isfinite(second), choices.max(1) - second, np.inf)
        for group in np.unique(best):
            asking = np.flatnonzero(best == group)
            taken = asking[np.argsort(-loss[asking], kind="stable")[: room[group]]]
            assigned[left[taken]] = group
            room[group] -= len(taken)
        left = left[assigned[left] < 0]
    return assigned


def cut_groups(rows: np.ndarray, groups: np.ndarray, seed: int) -> Iterator[ImageSet]:
    """Cut every group into clusters of at most `LARGEST_CLUSTER` rows, at random where it makes more than one."""
    generator = np.random.default_rng([seed, 5])
    for group in np.unique(groups):
        members = generator.permutation(rows[groups == group])
        for part in np.array_split(members, math.ceil(len(members) / LARGEST_CLUSTER)):
            yield ImageSet(np.sort(part), len(part))
