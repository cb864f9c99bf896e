"""A point group on a grid: the rotations that carry its voxels onto one another, and those that are left.

An image of a symmetric molecule shows it from as many sides as the group has rotations. Those that only swap and
reverse the axes carry voxels onto voxels: the sums of a back-projection are turned by them to the bit, after all images
are in. The others fall between voxels, and turning the sums by them would blur the map once more (`docs/files.rst` has
figures), so that each image is inserted once for each of them: five times for an icosahedron instead of sixty, once for
an octahedron.
"""

from __future__ import annotations

import torch
from torch import Tensor

from polardenoise.engine.imaging.backprojection import PADDING, Backprojection, complete_sums

SAME_MATRIX = 1e-6


def split_group(symmetry: Tensor) -> tuple[Tensor, Tensor]:
    """Write a group as products of turns of the grid and as few other rotations as it takes.

    Parameters
    ----------
    symmetry : Tensor
        `(s, 3, 3)` rotations of a point group, the identity first, xyz.

    Returns
    -------
    turns : Tensor
        `(t, 3, 3)` the subgroup of those that carry the axes onto the axes.
    others : Tensor
        `(s / t, 3, 3)` rotations, the identity first: each of the group is one of `turns` times one of `others`.

    Examples
    --------
    >>> from polardenoise.engine.imaging.symmetry import symmetry_matrices
    >>> [len(split_group(symmetry_matrices(group))[1]) for group in ("c1", "c4", "c7", "d7", "t", "o", "i")]
    [1, 1, 7, 7, 12, 1, 5]
    """
    on_grid = (symmetry - symmetry.round()).abs().amax((1, 2)) < SAME_MATRIX
    turns = symmetry[on_grid].round()
    others, left = [], symmetry
    while len(left):
        others.append(left[0])
        distances = (left[:, None] - turns @ left[0]).abs().amax((2, 3)).amin(1)
        left = left[distances > SAME_MATRIX]
    return turns, torch.stack(others)


def turn_sums(backprojection: Backprojection, turns: Tensor) -> None:
    """Add the sums up over turns of the grid, in place.

    Parameters
    ----------
    backprojection : Backprojection
        Its sums are then those of each image inserted at each turn.
    turns : Tensor
        `(t, 3, 3)` as of `split_group`, a group.
    """
    padded = PADDING * backprojection.box
    columns = padded // 2 + 1
    numerator, weight = complete_sums(backprojection)
    sums = backprojection.sums.view(padded, padded, padded // 2 + 2, 3)
    # Real parts and weights are alike at opposite frequencies, imaginary parts are not.
    for place, half, sign in ((0, numerator.real, 1), (1, numerator.imag, -1), (2, weight, 1)):
        whole = fill_opposite(half, sign)
        total = torch.zeros_like(half)
        for turn in turns:
            total += turn_grid(whole, turn)[:, :, :columns]
        sums[:, :, :columns, place] = total
    # The plane x = 0 is complete now, and will be completed once more.
    sums[:, :, 0] /= 2


def fill_opposite(half: Tensor, sign: int) -> Tensor:
    """Fill a grid `(M, M, M)` from its half `(M, M, M // 2 + 1)`: opposite frequencies have `sign` times the value."""
    inner = half[:, :, 1:-1]
    opposite = sign * inner.flip((0, 1, 2)).roll((1, 1), (0, 1))
    return torch.cat([half, opposite], 2)


def turn_grid(grid: Tensor, turn: Tensor) -> Tensor:
    """Read a grid `(M, M, M)`, zyx, not shifted, at frequencies that are turned by a signed permutation of xyz."""
    zyx = turn.flip((0, 1))
    axes = zyx.abs().argmax(1)
    for axis in range(3):
        if zyx[axis, axes[axis]] < 0:
            grid = grid.flip(axis).roll(1, axis)
    return grid.permute(axes.argsort().tolist())
