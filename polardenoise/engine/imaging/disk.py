"""The disk that a box holds: what lies outside turns out of the image."""

import torch
from torch import Tensor

from polardenoise.engine.runtime.devices import CPU, keep_made


@keep_made(32)
def disk_mask(box: int, radius: float, device: torch.device = CPU) -> Tensor:
    """Mark the pixels within a radius of the centre.

    Parameters
    ----------
    box : int
        Box size in pixels; the centre is pixel `(box // 2, box // 2)`.
    radius : float
        In pixels, inclusive.
    device : torch.device
        Where it is wanted.

    Returns
    -------
    Tensor
        `(box, box)` bool.
    """
    # The CPU also where only the shapes of a network are asked for: arithmetic on the meta device imports a compiler.
    offset = torch.arange(box, device=CPU) - box // 2
    return (offset[:, None] ** 2 + offset[None, :] ** 2 <= radius**2).to(device)


@keep_made(32)
def list_corner_pixels(box: int, device: torch.device = CPU) -> Tensor:
    """List the pixels outside the disk of radius `box / 2`, flat, int64."""
    return torch.nonzero(~disk_mask(box, box / 2).flatten()).squeeze(1).to(device)
