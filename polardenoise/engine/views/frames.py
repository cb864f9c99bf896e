"""Frames: rotation matrices that carry image coordinates into those of a volume; directions spread over the sphere.

The third column of a frame is the viewing direction. Half of the sphere is enough: the view from the opposite side is
the mirror image: image coordinates with y reversed, seen along the reversed direction.
"""

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from polardenoise.engine.imaging.euler_angles import matrices_from_angles, spread_directions


def spread_frames(count: int, generator: torch.Generator) -> Tensor:
    """Spread viewing directions evenly over half a sphere, turned at random: `(count, 3, 3)`."""
    direction = spread_directions(count).double()
    # Any axis that the direction is not parallel to gives the other two.
    aside = torch.eye(3, dtype=torch.float64)[direction.abs().argmin(-1)]
    first = torch.nn.functional.normalize(torch.linalg.cross(aside, direction), dim=-1)
    second = torch.linalg.cross(direction, first)
    return (draw_frames(1, generator) @ torch.stack([first, second, direction], -1)).float()


def draw_frames(count: int, generator: torch.Generator) -> Tensor:
    """Draw rotations evenly, `(count, 3, 3)` float64: random quaternions."""
    quaternions = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return torch.from_numpy(Rotation.from_quat(quaternions.numpy()).as_matrix())


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
    psi = 360.0 / angles * steps
    nothing = torch.zeros_like(psi)
    return placed @ matrices_from_angles(torch.stack([nothing, nothing, psi], -1))
