"""The disk that a box holds: what lies outside turns out of the image."""

import torch
from torch import Tensor


def disk_mask(box: int, radius: float) -> Tensor:
    """Mark the pixels within a radius of the centre.

    Parameters
    ----------
    box : int
        Box size in pixels; the centre is pixel `(box // 2, box // 2)`.
    radius : float
        In pixels, inclusive.

    Returns
    -------
    Tensor
        `(box, box)` bool.
    """
    # The CPU also where only the shapes of a network are asked for: arithmetic on the meta device imports a compiler.
    offset = torch.arange(box, device="cpu") - box // 2
    return offset[:, None] ** 2 + offset[None, :] ** 2 <= radius**2
