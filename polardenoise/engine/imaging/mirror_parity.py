"""Images and polar samples by their parity under the mirrors in x and in y.

Whatever commutes with both mirrors, as a polar map does, takes each parity to itself: even in y and x, even in y and
odd in x, and so on. *Folding* adds up (or subtracts) what a mirror takes onto each other, and leaves a quadrant for
each parity; *unfolding* lays the four out again. The mirror in x takes angle `t` of `T` to `T/2 - t`, that in y `-t`.

Row and column 0 of an image lie at offset `-box / 2`, where nothing lies opposite: folding leaves them out.
"""

import torch
from torch import Tensor

#: Signs under the mirror in y and under the mirror in x; the order of the quadrants.
PARITIES = ((1, 1), (1, -1), (-1, 1), (-1, -1))


def mirror_images(images: Tensor) -> Tensor:
    """Mirror images `(..., box, box)` in y; what lies in row 0, which nothing lies opposite, stays there."""
    return images.flip(-2).roll(1, -2)


def mirror_samples(polar: Tensor) -> Tensor:
    """Mirror samples `(..., angles)` in y: angle `t` becomes `-t`."""
    return polar.flip(-1).roll(1, -1)


def fold_images(images: Tensor) -> Tensor:
    """Fold images `(n, box, box)`: `(4, n, box // 2, box // 2)`, offsets 0, 1, ... of y and x."""
    half = images.shape[-1] // 2
    above, below = images[:, half:], _mirror(images, half, dim=1)
    folded = []
    for rows in (above + below, above - below):
        right, left = rows[..., half:], _mirror(rows, half, dim=2)
        folded += [right + left, right - left]
    return torch.stack(folded)


def _mirror(images: Tensor, half: int, dim: int) -> Tensor:
    """Take offsets -0, -1, ...; offset 0 is its own mirror image and counts once: 0 here."""
    opposite = images.narrow(dim, 1, half - 1).flip(dim)
    return torch.cat([torch.zeros_like(images.narrow(dim, 0, 1)), opposite], dim)


def unfold_images(quadrants: Tensor) -> Tensor:
    """Lay out `(4, n, box // 2, box // 2)` as images `(n, box, box)`; row and column 0 are 0."""
    even, odd = (_lay_columns(quadrants[i], quadrants[i + 1]) for i in (0, 2))
    above = (even - odd)[:, 1:].flip(1)
    blank = torch.zeros_like(above[:, :1])
    return torch.cat([blank, above, even + odd], dim=1)


def _lay_columns(even: Tensor, odd: Tensor) -> Tensor:
    """Lay out columns `(..., box // 2)` that are even and odd in x: `(..., box)`."""
    left = (even - odd)[..., 1:].flip(-1)
    return torch.cat([torch.zeros_like(left[..., :1]), left, even + odd], dim=-1)


def fold_samples(polar: Tensor) -> Tensor:
    """Fold samples `(n, rings, angles)`: `(4, n, rings, angles // 4 + 1)`, from +x to +y."""
    half, quarter = polar.shape[-1] // 2, polar.shape[-1] // 4
    # What is its own mirror image counts once: angles 0 and T/2 for the mirror in y, T/4 for that in x.
    blank = torch.zeros_like(polar[..., :1])
    upper = polar[..., : half + 1]
    lower = torch.cat([blank, polar[..., half + 1 :].flip(-1), blank], dim=-1)
    folded = []
    for rows in (upper + lower, upper - lower):
        right = rows[..., : quarter + 1]
        left = torch.cat([rows[..., quarter + 1 :].flip(-1), blank], dim=-1)
        folded += [right + left, right - left]
    return torch.stack(folded)


def unfold_samples(quarters: Tensor) -> Tensor:
    """Lay out `(4, n, rings, angles // 4 + 1)` as samples `(n, rings, angles)`."""
    even, odd = (_lay_half_turn(quarters[i], quarters[i + 1]) for i in (0, 2))
    lower = (even - odd)[..., 1:-1].flip(-1)
    return torch.cat([even + odd, lower], dim=-1)


def _lay_half_turn(even: Tensor, odd: Tensor) -> Tensor:
    """Lay out angles from +x to -x, of a quarter that is even and one that is odd in x."""
    return torch.cat([even + odd, (even - odd)[..., :-1].flip(-1)], dim=-1)


def count_mirrored_pixels(half: int, parity: tuple[int, int]) -> Tensor:
    """Count what folding adds up in each pixel of a quadrant, `(half, half)`; 0 where the parity leaves nothing."""
    y, x = (_count_along(half, sign, centres=(0,)) for sign in parity)
    return y[:, None] * x


def count_mirrored_samples(quarter: int, parity: tuple[int, int]) -> Tensor:
    """Count what folding adds up at each of the angles `0 ... quarter`; 0 where the parity leaves nothing."""
    y, x = parity
    return _count_along(quarter + 1, y, centres=(0,)) * _count_along(
        quarter + 1, x, centres=(quarter,)
    )


def _count_along(length: int, sign: int, centres: tuple[int, ...]) -> Tensor:
    """Two, and where a place is its own mirror image one if it is even and none if it is odd."""
    counts = torch.full((length,), 2.0, dtype=torch.float64)
    counts[list(centres)] = 1.0 if sign > 0 else 0.0
    return counts
