"""RELION Euler angles, rotation matrices, random orientations and directions spread evenly.

Convention (verified against ``relion_project``): the three angles (rot, tilt, psi), in degrees, are the *intrinsic*
ZYZ angles of ``scipy.spatial.transform.Rotation.from_euler("ZYZ", (rot, tilt, psi), degrees=True)``. Their matrix is
given to torch-fourier-slice as it is. psi is the in-plane rotation: the matrix is ``Rz(rot) Ry(tilt) Rz(psi)``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def matrices_from_angles(angles: Tensor) -> Tensor:
    """Turn RELION Euler angles into the rotation matrices that torch-fourier-slice takes.

    Parameters
    ----------
    angles : Tensor
        `(..., 3)` rot, tilt, psi in degrees.

    Returns
    -------
    Tensor
        `(..., 3, 3)` matrices on xyz column vectors, equal to scipy's ``from_euler("ZYZ", angles, degrees=True)``.
        They carry image coordinates into volume coordinates. Same dtype and device as `angles`.

    Examples
    --------
    Tilted by 90 degrees, the microscope looks along the volume's x axis:

    >>> matrix = matrices_from_angles(torch.tensor([0.0, 90.0, 0.0]))
    >>> (matrix @ torch.tensor([0.0, 0.0, 1.0])).round().int().tolist()
    [1, 0, 0]
    """
    radians = torch.deg2rad(angles)
    cosines, sines = torch.cos(radians), torch.sin(radians)
    cos_rot, cos_tilt, cos_psi = cosines.unbind(-1)
    sin_rot, sin_tilt, sin_psi = sines.unbind(-1)
    entries = [
        cos_rot * cos_tilt * cos_psi - sin_rot * sin_psi,
        -cos_rot * cos_tilt * sin_psi - sin_rot * cos_psi,
        cos_rot * sin_tilt,
        sin_rot * cos_tilt * cos_psi + cos_rot * sin_psi,
        -sin_rot * cos_tilt * sin_psi + cos_rot * cos_psi,
        sin_rot * sin_tilt,
        -sin_tilt * cos_psi,
        sin_tilt * sin_psi,
        cos_tilt,
    ]
    return torch.stack(entries, dim=-1).reshape(*angles.shape[:-1], 3, 3)


def angles_from_matrices(matrices: Tensor) -> Tensor:
    """Turn rotation matrices back into RELION Euler angles.

    Parameters
    ----------
    matrices : Tensor
        `(..., 3, 3)` as :func:`matrices_from_angles` makes them.

    Returns
    -------
    Tensor
        `(..., 3)` rot, tilt, psi in degrees; tilt in [0, 180], rot and psi in [-180, 180]. Where the tilt is 0 or 180
        degrees only the sum (difference) of rot and psi is defined: rot is then 0.

    Examples
    --------
    >>> angles = torch.tensor([[30.0, 50.0, -70.0], [20.0, 0.0, 15.0]], dtype=torch.float64)
    >>> angles_from_matrices(matrices_from_angles(angles)).round(decimals=6).tolist()
    [[30.0, 50.0, -70.0], [0.0, 0.0, 35.0]]
    """
    sin_tilt = torch.hypot(matrices[..., 0, 2], matrices[..., 1, 2])
    tilt = torch.atan2(sin_tilt, matrices[..., 2, 2])
    # At the poles atan2 of two rounding errors would give any angle; psi takes the whole rotation there.
    at_pole = sin_tilt < 16 * torch.finfo(matrices.dtype).eps
    rot = torch.atan2(matrices[..., 1, 2], matrices[..., 0, 2])
    psi = torch.atan2(matrices[..., 2, 1], -matrices[..., 2, 0])
    psi_at_pole = torch.atan2(matrices[..., 1, 0], matrices[..., 1, 1])
    rot = torch.where(at_pole, torch.zeros_like(rot), rot)
    psi = torch.where(at_pole, psi_at_pole, psi)
    return torch.rad2deg(torch.stack([rot, tilt, psi], dim=-1))


def draw_orientations(count: int, generator: np.random.Generator) -> Tensor:
    """Draw orientations uniformly over all rotations.

    Parameters
    ----------
    count : int
        How many.
    generator : numpy.random.Generator
        Source of randomness (PCG64: the same seed gives the same angles on every machine).

    Returns
    -------
    Tensor
        `(count, 3)` float64 rot, tilt, psi in degrees; rot and psi in [-180, 180), cos(tilt) uniform in [-1, 1).
    """
    uniform = generator.uniform(-1.0, 1.0, size=(count, 3))
    angles = np.stack(
        [180.0 * uniform[:, 0], np.degrees(np.arccos(uniform[:, 1])), 180.0 * uniform[:, 2]], axis=1
    )
    return torch.from_numpy(angles)


def spread_directions(count: int) -> Tensor:
    """Spread `(count, 3)` unit vectors evenly over half a sphere, along a Fibonacci spiral."""
    number = torch.arange(count, dtype=torch.float64) + 0.5
    z = 1 - number / count
    around = torch.pi * (1 + 5**0.5) * number
    radius = (1 - z**2).sqrt()
    return torch.stack([radius * around.cos(), radius * around.sin(), z], 1).float()


def draw_views(views: int, count: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Draw a few viewing directions and give every image one of them, with its own in-plane rotation.

    Parameters
    ----------
    views : int
        Number of viewing directions, uniform on the sphere.
    count : int
        Number of images. Views hold equally many images, or differ by one.
    generator : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    angles : Tensor
        `(count, 3)` float64 rot, tilt, psi in degrees: rot and tilt of the view, psi uniform.
    view_of_row : Tensor
        `(count,)` int64 view of each image, from 0, in random order.
    """
    directions = draw_orientations(views, generator)
    view_of_row = torch.from_numpy(generator.permutation(np.arange(count, dtype=np.int64) % views))
    angles = directions[view_of_row]
    angles[:, 2] = torch.from_numpy(generator.uniform(-180.0, 180.0, size=count))
    return angles, view_of_row
