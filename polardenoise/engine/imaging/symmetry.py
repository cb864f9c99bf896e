"""Point groups, in RELION's and Xmipp's names and axes."""

from __future__ import annotations

import re

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from polardenoise.engine.runtime.errors import InputError

#: scipy's name of each polyhedral group of RELION 3.1 (symmetries.cpp), and how scipy's axes are turned into RELION's:
#: Euler angles ZYZ, degrees. scipy's T has its 2-fold axes along x, y and z, RELION's a 3-fold axis along z.
POLYHEDRA = {
    "t": ("T", (90.0, float(np.degrees(np.arccos(3**-0.5))), 135.0)),
    "o": ("O", (0.0, 0.0, 0.0)),
    "i": ("I", (90.0, 0.0, 0.0)),
    "i1": ("I", (0.0, 0.0, 0.0)),
    "i2": ("I", (90.0, 0.0, 0.0)),
}
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
    name = group.strip().lower()
    numbered = re.fullmatch(r"[cd]([1-9][0-9]*)", name)
    if not (name in POLYHEDRA or (numbered and int(numbered[1]) <= LARGEST_ORDER)):
        raise InputError(
            f"--symmetry {group}: not a point group known here; give c1, cN, dN, t, o, i1 or i2"
        )
    theirs, angles = POLYHEDRA.get(name, (name.upper(), (0.0, 0.0, 0.0)))
    turn = Rotation.from_euler("ZYZ", angles, degrees=True)
    rotations = turn * Rotation.create_group(theirs) * turn.inv()
    # The identity, which turns by nothing, goes first.
    order = np.argsort(rotations.magnitude() > 1e-6, kind="stable")
    return torch.from_numpy(rotations.as_matrix()[order])
