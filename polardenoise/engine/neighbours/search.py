"""Find each image's neighbours in a cell of related images and denoise it among them.

A cell is up to about a thousand images of one half, small enough that everything about them fits the memory and every
image can be compared with every other. Its images are described by the network once. Then, by rounds:

    denoise in random sets -> compare every image with every estimate -> denoise among the neighbours -> once more

An image is compared with the *estimates* of the others (see `rotational_matching`), and each image gets neighbours of
its own: sets that share images at their borders would cost twice the neighbours' worth (relative MSE 0.81 of random
sets' where own neighbours give 0.58).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.ring_harmonics import FourierRings, build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import (
    Matches,
    describe_observed,
    match_images,
    measure_affinity,
)
from polardenoise.engine.neighbours.companions import attend_to_those_there, choose_neighbours
from polardenoise.engine.networks.angular_attention import attend
from polardenoise.engine.networks.evidence_attention import Trust, attend_to_neighbours_by_match
from polardenoise.engine.networks.matched_transformer import MatchedTransformer
from polardenoise.engine.networks.neighbour_attention import (
    NeighbourAttention,
    attend_to_neighbours,
)
from polardenoise.engine.networks.registry import Described, PolarTransformer
from polardenoise.engine.networks.template_evidence import observe
from polardenoise.engine.particles.shared_pixels import SharedPixels

#: How often neighbours are looked for. The first search goes by estimates from random sets, the second by estimates
#: from neighbours. A network that looks again has as many rounds as further looks, two as it is shipped.
ROUNDS = 2

#: Images of a random set in the first pass, and images that the network computes at once.
FIRST_SET = 64
IMAGES_AT_ONCE = 128


@dataclass(frozen=True)
class DenoisedCell:
    """The images of a cell, denoised among their neighbours.

    Attributes
    ----------
    estimates : Tensor
        `(n, box, box)` float32.
    neighbours : Tensor
        `(n, K)` int64 places in the cell: the image itself, then its neighbours, the nearest first; -1 where there are
        fewer.
    attention : NeighbourAttention
        What each image gathered from them.
    """

    estimates: Tensor
    neighbours: Tensor
    attention: NeighbourAttention


@dataclass(frozen=True)
class Cell:
    """What is known of the images of a cell before they see one another.

    Attributes
    ----------
    described : Described
        By the network; queries carry the attention's scale, queries and keys have unit norm otherwise.
    observed : Tensor
        `(2, modes, n, rings)` the images as they are matched.
    profiles : Tensor
        `(n, box // 2)`.
    rings : FourierRings
        What they are matched on.
    shared : SharedPixels or None
        Which images of the cell share pixels: no two that do meet. None where none do.
    apart : Tensor or None
        `(n, n)` bool, the table of them.
    """

    described: Described
    observed: Tensor
    profiles: Tensor
    rings: FourierRings
    shared: SharedPixels | None = None
    apart: Tensor | None = None


@dataclass(frozen=True)
class Search:
    """Who looks like whom in a cell.

    Attributes
    ----------
    neighbours : Tensor
        `(n, K)` int64 places: the image itself, then its neighbours, the nearest first; -1 where there are fewer.
    estimates : Tensor
        `(2, modes, n, rings)`: the estimates that images were compared with, described.
    """

    neighbours: Tensor
    estimates: Tensor


def denoise_described_cell(
    model: PolarTransformer, cell: Cell, images_per_set: int, seed: int
) -> DenoisedCell:
    """Denoise the images of a cell, each among its nearest neighbours.

    Parameters
    ----------
    model : PolarTransformer
        On the cell's device.
    cell : Cell
        From `describe_cell`.
    images_per_set : int
        K: the image itself and its K - 1 neighbours.
    seed : int
        Fixes the random sets of the first pass.
    """
    estimates = denoise_at_random(model, cell.described, seed, cell.shared)
    if not isinstance(model, MatchedTransformer):
        for _ in range(ROUNDS - 1):
            estimates = denoise_once_more(model, cell, estimates, images_per_set).estimates
    return denoise_once_more(model, cell, estimates, images_per_set)


def denoise_once_more(
    model: PolarTransformer, cell: Cell, estimates: Tensor, images_per_set: int
) -> DenoisedCell:
    """Denoise each image of a cell among the neighbours that the estimates `(n, box, box)` of all find for it.

    A network that looks again does so for each of its further looks, by the estimates of the look before.
    """
    if not isinstance(model, MatchedTransformer):
        search = search_neighbours(cell, estimates, images_per_set)
        return denoise_among(model, cell, search.neighbours)
    for trust in model.list_trust():
        search = search_neighbours(cell, estimates, images_per_set)
        denoised = denoise_by_match(model, cell, search, trust)
        estimates = denoised.estimates
    return denoised


def search_neighbours(cell: Cell, estimates: Tensor, images_per_set: int) -> Search:
    """Search the neighbours of each image by the estimates `(n, box, box)` of all."""
    with torch.autocast(estimates.device.type, enabled=False):
        described = cell.rings.describe(estimates)
        matches = match_images(cell.observed, cell.profiles, described, cell.rings)
    affinity = measure_affinity(matches.likelihood, cell.apart)
    return Search(choose_neighbours(affinity, images_per_set, cell.apart), described)


def denoise_by_match(
    model: MatchedTransformer, cell: Cell, search: Search, trust: Trust
) -> DenoisedCell:
    """Denoise each image among its neighbours by matches with the estimates that found them."""
    known = cell.described
    observed = observe(cell.observed, cell.profiles, search.estimates, cell.rings)

    def attend_by_match(
        query: Tensor, key: Tensor, value: Tensor, neighbours: Tensor
    ) -> NeighbourAttention:
        return attend_to_neighbours_by_match(query, key, value, neighbours, observed, trust)

    with torch.autocast(known.value.device.type, enabled=False):
        asked = (known.query, known.key, known.value, search.neighbours)
        attention = attend_to_those_there(*asked, attend_by_match)
    estimates = estimate_all(model, known, attention.attended)
    return DenoisedCell(estimates, search.neighbours, attention)


def denoise_among(model: PolarTransformer, cell: Cell, neighbours: Tensor) -> DenoisedCell:
    """Denoise each image of a cell among its neighbours `(n, K)`, itself first, -1 where there are fewer."""
    attention = gather_from(cell, neighbours)
    estimates = estimate_all(model, cell.described, attention.attended)
    return DenoisedCell(estimates, neighbours, attention)


def describe_cell(
    model: PolarTransformer,
    images: Tensor,
    profiles: Tensor,
    shared: SharedPixels | None = None,
) -> Cell:
    """Describe the images of a cell for the attention and for the matching; `shared` says which share pixels."""
    described = None
    for start in range(0, len(images), IMAGES_AT_ONCE):
        some = slice(start, start + IMAGES_AT_ONCE)
        part = model.describe_for_attention(images[some], profiles[some])
        if described is None:  # filled part by part: joining parts would hold everything twice
            described = make_room(part, len(images))
        for room, own in zip(vars(described).values(), vars(part).values(), strict=True):
            room[some] = own
    assert described is not None  # a cell has an image
    rings = build_fourier_rings(images.shape[-1])
    with torch.autocast(images.device.type, enabled=False):
        observed = describe_observed(images, profiles, rings)
    mask = None if shared is None else shared.mask(np.arange(len(images)))
    if mask is None:
        return Cell(described, observed, profiles, rings)
    apart = torch.from_numpy(mask).to(images.device)
    return Cell(described, observed, profiles, rings, shared, apart)


def make_room(part: Described, count: int) -> Described:
    """Make room for `count` images described as those of a part are."""
    return Described(*(one.new_empty(count, *one.shape[1:]) for one in vars(part).values()))


def denoise_at_random(
    model: PolarTransformer, described: Described, seed: int, shared: SharedPixels | None = None
) -> Tensor:
    """Denoise the images in random sets, `(n, box, box)`: what neighbours are first looked for by."""
    count = len(described.told)
    order = np.random.default_rng([seed, 3]).permutation(count)
    # Even sets: the last one would else be small.
    sets = max(1, round(count / FIRST_SET))
    if shared is None:
        parts = np.array_split(order, sets)
    else:
        parts = [order[places] for places in shared.deal_apart(order, sets)]
    attended = torch.empty_like(described.value)
    for part in parts:
        rows = torch.from_numpy(part).to(attended.device)
        asked = (described.query, described.key, described.value)
        with torch.autocast(attended.device.type, enabled=False):
            attended[rows] = attend(*(features[rows][None] for features in asked))[0]
    return estimate_all(model, described, attended)


def match_cell(cell: Cell, estimates: Tensor) -> Matches:
    """Compare every image of a cell with every estimate `(n, box, box)`."""
    with torch.autocast(estimates.device.type, enabled=False):
        described = cell.rings.describe(estimates)
        return match_images(cell.observed, cell.profiles, described, cell.rings)


def gather_from(cell: Cell, neighbours: Tensor) -> NeighbourAttention:
    """Let each image of a cell attend to its neighbours `(n, K)`."""
    known = cell.described
    with torch.autocast(known.value.device.type, enabled=False):
        return attend_to_those_there(
            known.query, known.key, known.value, neighbours, attend_to_neighbours
        )


def estimate_all(model: PolarTransformer, described: Described, attended: Tensor) -> Tensor:
    """Estimate the clean images `(n, box, box)` from what they have gathered, some at a time."""
    starts = range(0, len(attended), IMAGES_AT_ONCE)
    parts = (slice(start, start + IMAGES_AT_ONCE) for start in starts)
    return torch.cat(
        [model.estimate(described.select(some), attended[some]).float() for some in parts]
    )
