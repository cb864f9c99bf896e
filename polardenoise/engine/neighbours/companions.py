"""Neighbours that may meet: an image's nearest, no two of which share pixels."""

import math

import torch
from torch import Tensor


def choose_neighbours(affinity: Tensor, images_per_set: int, apart: Tensor | None = None) -> Tensor:
    """Choose the image itself and its nearest: `(n, K)` places, K at most the number of images.

    Parameters
    ----------
    affinity : Tensor
        `(n, n)` or `(n, 2 n)` from `measure_affinity`: places from n on are those of mirrored images.
    images_per_set : int
        K.
    apart : Tensor, optional
        `(n, n)` bool: images that may not meet. No two of a row do: the farther one is passed over. -1 where there are
        too few.
    """
    count, places = affinity.shape
    others = min(
        images_per_set - 1, places - places // count
    )  # neither itself nor its mirror image
    itself = torch.arange(count, device=affinity.device)[:, None]
    if apart is None:
        return torch.cat([itself, affinity.topk(others, dim=1).indices], 1)
    left = affinity.clone()
    chosen = [itself]
    for _ in range(others):
        best, at = left.max(1, keepdim=True)
        left.scatter_(1, at, -math.inf)
        left.masked_fill_(apart[at[:, 0] % count].repeat(1, places // count), -math.inf)
        chosen.append(at.where(best > -math.inf, -1))
    return torch.cat(chosen, 1)
