"""The polar map of a box as one dense matrix, and its least-squares inverse: what `PolarGrid` computes by parity.

The matrices are the readable reference (16 million numbers each at 64 px); the grid takes a quarter of their rows.
"""

import math

import torch
from torch import Tensor

from polardenoise.engine.imaging.disk import disk_mask

#: Width of the Gaussian in pixels. Narrower ones alias: what lies at f is mixed with 1 - f.
SIGMA = 0.8
#: Tikhonov weight of the inverse: small enough to give real projections back to 2e-5.
REGULARISATION = 1e-5
#: The inverse solves for this many pixels beyond the disk and then leaves them out: the outermost samples reach there,
#: and what an image holds there would otherwise be pressed into the disk (three times the error on a ribosome).
MARGIN = 1.5


def ring_radii(box: int, rings: int) -> Tensor:
    """Radii of the rings in pixels, `(rings,)` float64: `(k + 1/2) (box / 2 - 1/2) / rings`."""
    return (torch.arange(rings, dtype=torch.float64) + 0.5) * (box / 2 - 0.5) / rings


def build_sampling_matrix(
    box: int, rings: int, angles: int, sigma: float, first_angles: int | None = None
) -> Tensor:
    """Build the Gaussian weights of every pixel for every polar sample, times `w_k = sqrt(r_k dr dtheta)`.

    Parameters
    ----------
    box, rings, angles, sigma
        As for `PolarGrid`.
    first_angles : int, optional
        Only the samples at so many angles from 0 on; all of them by default.

    Returns
    -------
    Tensor
        `(rings * angles, box * box)` float64.
    """
    count = angles if first_angles is None else first_angles
    radii = ring_radii(box, rings)
    theta = 2 * math.pi * torch.arange(count, dtype=torch.float64) / angles
    offset = torch.arange(box, dtype=torch.float64) - box // 2
    # Row and column 0 lie at offset -box/2, which has no counterpart at +box/2: left out, the sampling is symmetric and
    # rotations by 90 degrees are exact.
    usable = (offset > -box / 2).double()

    def gaussian_along_axis(positions: Tensor) -> Tensor:
        distance = positions.flatten()[:, None] - offset  # (samples, box)
        weights = torch.exp(-(distance**2) / (2 * sigma**2)) * usable
        # Cut where it no longer counts: the products would be denormal numbers, ten times slower to multiply.
        return weights * (weights > 1e-12)

    along_x = gaussian_along_axis(radii[:, None] * torch.cos(theta))
    along_y = gaussian_along_axis(radii[:, None] * torch.sin(theta))
    # Normalised over the support, so that a constant image keeps its value; the Gaussian is separable.
    along_x /= along_x.sum(-1, keepdim=True)
    along_y /= along_y.sum(-1, keepdim=True)
    weights = torch.sqrt(radii * (box / 2 - 0.5) / rings * 2 * math.pi / angles)
    matrix = along_y[:, :, None] * along_x[:, None, :]  # (samples, box, box)
    matrix *= weights.repeat_interleave(count)[:, None, None]
    return matrix.flatten(1)


def solve_least_squares(forward: Tensor, box: int, regularisation: float) -> Tensor:
    """Solve for the regularised inverse `(A^T A + lambda)^-1 A^T` on the disk: the reference, seconds at 64 px.

    Parameters
    ----------
    forward : Tensor
        `(samples, box * box)`.
    box : int
        Box size in pixels.
    regularisation : float
        Tikhonov weight lambda.

    Returns
    -------
    Tensor
        `(box * box, samples)`, zero outside the disk of radius `box / 2 - 1/2`.
    """
    offset = torch.arange(box) - box // 2
    usable = (offset[:, None] > -box / 2) & (offset[None, :] > -box / 2)
    solved = (disk_mask(box, box / 2 - 0.5 + MARGIN) & usable).flatten()
    within = forward[:, solved]  # (samples, solved pixels)
    normal = within.T @ within
    normal.diagonal().add_(regularisation)
    inverse = torch.zeros_like(forward.T)
    inverse[solved] = torch.cholesky_solve(within.T.contiguous(), torch.linalg.cholesky(normal))
    return inverse * disk_mask(box, box / 2 - 0.5).flatten()[:, None]
