"""Found poses against true ones: angular error, and what of it is one motion of the whole map."""

import torch
from torch import Tensor

from polardenoise.engine.imaging.euler_angles import angles_from_matrices, matrices_from_angles

#: Rounds of reweighting; poses that are far off count for little, and bad ones are many.
ROUNDS = 30


def measure_errors(found: Tensor, true: Tensor) -> Tensor:
    """Give the angle of the rotation between found and true poses, in-plane rotation included.

    Parameters
    ----------
    found, true : Tensor
        `(n, 3)` rot, tilt, psi in degrees.

    Returns
    -------
    Tensor
        `(n,)` degrees, 0 to 180. Two random poses are 132 degrees apart in the median.
    """
    return turn_between(matrices_from_angles(found.double()), matrices_from_angles(true.double()))


def turn_between(one: Tensor, other: Tensor) -> Tensor:
    """Give the angle of the rotation between rotations `(n, 3, 3)`, `(n,)` degrees."""
    trace = (one * other).sum((-2, -1))
    return torch.rad2deg(torch.acos(((trace - 1) / 2).clamp(-1, 1)))


def remove_global_rotation(found: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Turn all found poses back by the one rotation that brings most of them closest to the true ones.

    A refinement may turn its map as a whole; that is no error. The rotation `G` minimises the sum of the angles between
    `G found` and `true` (a median, by reweighting), so that poses found wrong do not pull at it.

    Parameters
    ----------
    found, true : Tensor
        `(n, 3)` rot, tilt, psi in degrees.

    Returns
    -------
    angles : Tensor
        `(n, 3)` the found poses, turned.
    rotation : Tensor
        `(3, 3)` that rotation.
    """
    seen, known = (matrices_from_angles(angles.double()) for angles in (found, true))
    relative = known @ seen.mT  # (n, 3, 3), all G where the poses are right
    rotation, weights = torch.eye(3, dtype=torch.float64), torch.ones(len(seen))
    for _ in range(ROUNDS):
        left, _, right = torch.linalg.svd((relative * weights[:, None, None]).sum(0))
        proper = torch.diag(torch.tensor([1.0, 1.0, float(torch.det(left @ right))]).double())
        rotation = left @ proper @ right
        weights = 1 / turn_between(relative, rotation).clamp_min(1.0)
    return angles_from_matrices(rotation @ seen), rotation


def remove_global_shift(found: Tensor, true: Tensor, angles: Tensor) -> Tensor:
    """Move all particles back by the one shift of the map that brings most origins closest to the true ones.

    Parameters
    ----------
    found, true : Tensor
        `(n, 2)` origins x, y, Angstrom.
    angles : Tensor
        `(n, 3)` rot, tilt, psi in degrees that the found origins belong to.

    Returns
    -------
    Tensor
        `(n, 2)` the found origins, moved.
    """
    # A map shifted by t moves image i by the x and y of R_i^T t.
    seen = matrices_from_angles(angles.double()).mT[:, :2]  # (n, 2, 3)
    apart, weights = found.double() - true.double(), torch.ones(len(found)).double()
    shift = torch.zeros(3, dtype=torch.float64)
    for _ in range(ROUNDS):
        root = weights.sqrt()[:, None]
        equations, sides = (seen * root[..., None]).flatten(0, 1), (apart * root).flatten()
        shift = torch.linalg.lstsq(equations, sides[:, None]).solution[:, 0]
        weights = 1 / (apart - seen @ shift).norm(dim=1).clamp_min(0.5)
    return found - seen @ shift
