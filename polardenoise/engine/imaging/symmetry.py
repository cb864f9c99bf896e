"""Point groups, in RELION's and Xmipp's names and axes."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from polardenoise.engine.runtime.errors import InputError

# Generators (order, axis) of the groups that have no number, as in RELION 3.1 (symmetries.cpp): T and O; I is I2.
GENERATORS_OF_POLYHEDRA = {
    "t": [(3, (0.0, 0.0, 1.0)), (2, (0.0, 0.816496580927726, 0.577350269189626))],
    "o": [(3, (0.577350269189626, 0.577350269189626, 0.577350269189626)), (4, (0.0, 0.0, 1.0))],
    "i1": [(2, (1.0, 0.0, 0.0)), (5, (0.850650808352040, 0.0, -0.525731112119134))],
    "i2": [(2, (0.0, 0.0, 1.0)), (5, (0.525731112119134, 0.0, 0.850650808352040))],
}
# I1 and I2 need a 3-fold axis as well.
GENERATORS_OF_POLYHEDRA["i1"].append((3, (0.934172358962716, 0.356822089773090, 0.0)))
GENERATORS_OF_POLYHEDRA["i2"].append((3, (0.0, 0.356822089773090, 0.934172358962716)))

LARGEST_ORDER = 120


def symmetry_matrices(group: str) -> Tensor:
    """List the rotations of a point group.

    Parameters
    ----------
    group : str
        `c1`, `cN` (N-fold about z), `dN` (besides, 2-fold about x), `t`, `o`, `i` (which is `i2`), `i1`, `i2`;
        capitals will do. The axes are RELION's.

    Returns
    -------
    Tensor
        `(m, 3, 3)` float64, acting on xyz column vectors; the identity first. The order is 1, N, 2N, 12, 24, 60.

    Raises
    ------
    InputError
        If the group is not one of these.

    Examples
    --------
    >>> [len(symmetry_matrices(group)) for group in ("c1", "c4", "D2", "t", "o", "i1")]
    [1, 4, 4, 12, 24, 60]
    """
    generators = _generators(group.strip().lower())
    if generators is None:
        raise InputError(
            f"--symmetry {group}: not a point group known here; give c1, cN, dN, t, o, i1 or i2"
        )
    elements = torch.eye(3, dtype=torch.float64)[None]
    rotations = [_rotation_about_axis(order, axis) for order, axis in generators]
    while True:
        products = torch.cat([elements, *(elements @ rotation for rotation in rotations)])
        closed = _without_repeats(products)
        if len(closed) == len(elements):
            return elements
        elements = closed


def _generators(group: str) -> list[tuple[int, tuple[float, float, float]]] | None:
    """Name the generating rotations of a group; None where the group is unknown."""
    numbered = re.fullmatch(r"([cd])([1-9][0-9]*)", group)
    if numbered:
        fold = int(numbered[2])
        if fold > LARGEST_ORDER:
            return None
        about_z = [(fold, (0.0, 0.0, 1.0))]
        return about_z if numbered[1] == "c" else [*about_z, (2, (1.0, 0.0, 0.0))]
    return GENERATORS_OF_POLYHEDRA.get("i2" if group == "i" else group)


def _rotation_about_axis(order: int, axis: tuple[float, float, float]) -> Tensor:
    """Rotate by `2 pi / order` about a unit vector (Rodrigues' formula)."""
    x, y, z = axis
    cross = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=torch.float64)
    angle = torch.tensor(2 * torch.pi / order, dtype=torch.float64)
    identity = torch.eye(3, dtype=torch.float64)
    return identity + torch.sin(angle) * cross + (1 - torch.cos(angle)) * (cross @ cross)


def _without_repeats(matrices: Tensor) -> Tensor:
    """Keep the first of matrices that are equal to within rounding, in order."""
    distance = (matrices[:, None] - matrices[None]).abs().amax(dim=(-2, -1))
    repeats_an_earlier_one = (distance < 1e-6).tril(diagonal=-1).any(dim=1)
    return matrices[~repeats_an_earlier_one]
