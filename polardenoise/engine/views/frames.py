"""Frames: rotation matrices that carry image coordinates into those of a volume; directions spread over the sphere.

The third column of a frame is the viewing direction. Half of the sphere is enough: the view from the opposite side is
the mirror image: image coordinates with y reversed, seen along the reversed direction.
"""

import math

import torch
from torch import Tensor


def spread_frames(count: int, generator: torch.Generator) -> Tensor:
    """Spread viewing directions evenly over half a sphere (Fibonacci's spiral), turned at random: `(count, 3, 3)`."""
    steps = torch.arange(count, dtype=torch.float64) + 0.5
    height = steps / count
    azimuth = math.pi * (3 - math.sqrt(5)) * steps
    radius = (1 - height.square()).sqrt()
    direction = torch.stack([radius * azimuth.cos(), radius * azimuth.sin(), height], -1)
    # Any axis that the direction is not parallel to gives the other two.
    aside = torch.eye(3, dtype=torch.float64)[direction.abs().argmin(-1)]
    first = torch.nn.functional.normalize(torch.linalg.cross(aside, direction), dim=-1)
    second = torch.linalg.cross(direction, first)
    return (draw_frames(1, generator) @ torch.stack([first, second, direction], -1)).float()


def draw_frames(count: int, generator: torch.Generator) -> Tensor:
    """Draw rotations evenly, `(count, 3, 3)` float64: random quaternions."""
    quaternions = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    w, x, y, z = torch.nn.functional.normalize(quaternions, dim=-1).unbind(-1)
    entries = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - z * w),
        2 * (x * z + y * w),
        2 * (x * y + z * w),
        1 - 2 * (x * x + z * z),
        2 * (y * z - x * w),
        2 * (x * z - y * w),
        2 * (y * z + x * w),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(entries, -1).unflatten(-1, (3, 3))


def place_images(frames: Tensor, shown: Tensor, steps: Tensor, angles: int) -> Tensor:
    """Give the frames of images `(n, 3, 3)` by what they show.

    Parameters
    ----------
    frames : Tensor
        `(m, 3, 3)` of the views.
    shown : Tensor
        `(n,)` the view that each image shows; from `m` on, mirrored ones.
    steps : Tensor
        `(n,)` the rotation that takes the image onto the view, counter-clockwise, in steps.
    angles : int
        Steps of a turn.
    """
    count = len(frames)
    signs = torch.where(shown >= count, -1.0, 1.0)[:, None]
    x, y, z = frames[shown % count].unbind(-1)
    placed = torch.stack([x, signs * y, signs * z], -1)
    turn = 2 * math.pi / angles * steps
    cosine, sine, nothing = turn.cos(), turn.sin(), torch.zeros_like(turn)
    in_plane = [cosine, -sine, nothing, sine, cosine, nothing, nothing, nothing, nothing + 1]
    return placed @ torch.stack(in_plane, -1).unflatten(-1, (3, 3))
