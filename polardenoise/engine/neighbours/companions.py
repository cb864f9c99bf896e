"""Neighbours that may meet: an image's nearest, no two of which share pixels, and attention to as many as there are."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from polardenoise.engine.networks.neighbour_attention import NeighbourAttention

#: From queries, keys, values and neighbours `(m, K)` to what each image gathers; see `attend_to_neighbours`.
Attend = Callable[..., NeighbourAttention]


def choose_neighbours(affinity: Tensor, images_per_set: int, apart: Tensor | None = None) -> Tensor:
    """Choose the image itself and its nearest: `(n, K)` places, K at most the number of images.

    Parameters
    ----------
    affinity : Tensor
        `(n, n)` from `measure_affinity`.
    images_per_set : int
        K.
    apart : Tensor, optional
        `(n, n)` bool: images that may not meet. No two of a row do: the farther one is passed over. -1 where there are
        too few.
    """
    count = len(affinity)
    others = min(images_per_set, count) - 1
    itself = torch.arange(count, device=affinity.device)[:, None]
    if apart is None:
        return torch.cat([itself, affinity.topk(others, dim=1).indices], 1)
    left = affinity.clone()
    chosen = [itself]
    for _ in range(others):
        best, at = left.max(1, keepdim=True)
        left.scatter_(1, at, -math.inf).masked_fill_(apart[at[:, 0]], -math.inf)
        chosen.append(at.where(best > -math.inf, -1))
    return torch.cat(chosen, 1)


def attend_to_those_there(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    neighbours: Tensor,
    attend: Attend,
) -> NeighbourAttention:
    """Let images attend to neighbours `(n, K)` of which some have fewer than K: -1 at the end of their rows.

    Parameters
    ----------
    query, key, value : Tensor
        As `attend_to_neighbours` takes them.
    neighbours : Tensor
        `(n, K)`.
    attend : callable
        Attends to neighbours that are all there.

    Returns
    -------
    NeighbourAttention
        With weight 0 for neighbours that are not there; an image that has none gathers nothing, zeros.
    """
    there = (neighbours >= 0).sum(1)
    if bool((there == neighbours.shape[1]).all()):
        return attend(query, key, value, neighbours)
    found = NeighbourAttention(
        value.new_zeros(len(neighbours), *value.shape[1:]),
        value.new_zeros(neighbours.shape),
        torch.zeros_like(neighbours),
    )
    for size in there.unique().tolist():
        some = (there == size).nonzero()[:, 0]
        if size == 0:
            continue
        part = attend(query[some], key, value, neighbours[some, :size])
        found.attended[some] = part.attended
        found.weights[some, :size] = part.weights
        found.rotation[some, :size] = part.rotation
    return found
