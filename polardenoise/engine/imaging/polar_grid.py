"""The polar grid, on which an in-plane rotation is a circular shift.

The map `P` follows section 2 of Andén & Sagemüller (arXiv 2506.11283): Gaussian radial basis functions sampled on
rings, weighted so that `P` is nearly an isometry. Its inverse is the regularised least-squares solution on the
disk, not the adjoint: on a 64 px ribosome projection the adjoint leaves a relative error of 7e-3, this one 5e-5.

Both are computed by mirror parity (`mirror_parity`): `P` commutes with the mirrors in x and in y, so that it takes the
part of an image that is even in x and odd in y to samples that are so too. Four small matrices do what a large one
does, with a quarter of the multiplications and of the memory (the reference: `build_sampling_matrix`).
"""

import math

import torch
from torch import Tensor, nn

from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.mirror_parity import (
    PARITIES,
    count_mirrored_pixels,
    count_mirrored_samples,
    fold_images,
    fold_samples,
    unfold_images,
    unfold_samples,
)
from polardenoise.engine.runtime.devices import keep_made

#: Width of the Gaussian in pixels. Narrower ones alias: what lies at f is mixed with 1 - f.
SIGMA = 0.8
#: Tikhonov weight of the inverse: small enough to give real projections back to 2e-5.
REGULARISATION = 1e-5
#: The inverse solves for this many pixels beyond the disk and then leaves them out: the outermost samples reach there,
#: and what an image holds there would otherwise be pressed into the disk (three times the error on a ribosome).
MARGIN = 1.5
#: Past this box the maps cost more memory than an image network should (0.4 GB at 96 px with 48 x 192 samples).
LARGEST_DENSE_BOX = 96


class PolarGrid(nn.Module):
    """The polar map `P` of a box and its least-squares inverse.

    Parameters
    ----------
    box : int
        Box size in pixels, even; the centre is pixel `(box // 2, box // 2)`.
    rings : int
        Rings at radii `(k + 1/2) r_max / rings` with `r_max = box / 2 - 1/2` pixels.
    angles : int
        Angles `2 pi t / angles`, counter-clockwise from +x (to higher column, then to higher row).
    sigma : float
        Standard deviation of the Gaussian radial basis function, in pixels.
    regularisation : float
        Tikhonov weight of the inverse; `P^T P` has eigenvalues up to 1. The inverse amplifies by at most
        `1 / (2 sqrt(regularisation))`.

    Raises
    ------
    ValueError
        If the box is odd or larger than 96 pixels, or the angles are not a multiple of four.

    Examples
    --------
    A quarter of a turn of the image is a quarter of the angles:

    >>> grid = PolarGrid(box=16, rings=8, angles=32)
    >>> images = torch.zeros(2, 16, 16)
    >>> images[0, 8, 12] = images[1, 12, 8] = 1.0  # 4 px from the centre (8, 8), along x and along y
    >>> along_x, along_y = grid.to_polar(images)
    >>> along_x.shape, bool(torch.allclose(along_x.roll(8, -1), along_y, atol=1e-6))
    (torch.Size([8, 32]), True)
    """

    #: `(4, quadrant pixels, quadrant samples)` and `(4, quadrant samples, quadrant pixels)`, one for each parity.
    forward_blocks: Tensor
    inverse_blocks: Tensor

    def __init__(
        self,
        box: int,
        rings: int,
        angles: int,
        sigma: float = SIGMA,
        regularisation: float = REGULARISATION,
    ):
        super().__init__()
        if box % 2 or box > LARGEST_DENSE_BOX or angles % 4:
            raise ValueError(
                f"a polar grid needs an even box of at most {LARGEST_DENSE_BOX} pixels and a "
                f"multiple of four angles, not {box} and {angles}"
            )
        self.box = box
        self.rings = rings
        self.angles = angles
        self.sigma = sigma
        self.regularisation = regularisation
        if torch.get_default_device().type == "meta":  # only shapes are asked for
            pixels, samples = (box // 2) ** 2, rings * (angles // 4 + 1)
            forward = torch.empty(len(PARITIES), pixels, samples)
            inverse = torch.empty(len(PARITIES), samples, pixels)
        else:
            forward = _keep_forward(box, rings, angles, sigma)
            inverse = _keep_inverse(box, rings, angles, sigma, regularisation)
        # Derived from five numbers, so not part of a checkpoint.
        self.register_buffer("forward_blocks", forward, persistent=False)
        self.register_buffer("inverse_blocks", inverse, persistent=False)

    def to_polar(self, images: Tensor) -> Tensor:
        """Sample images on the polar grid.

        Parameters
        ----------
        images : Tensor
            `(..., box, box)`, rows are y, columns are x.

        Returns
        -------
        Tensor
            `(..., rings, angles)`; its squared norm is nearly that of the image on the disk.
        """
        folded = fold_images(images.reshape(-1, self.box, self.box))  # (4, n, quadrant)
        quarters = torch.bmm(folded.flatten(2), self.forward_blocks.to(images.dtype))
        polar = unfold_samples(quarters.unflatten(2, (self.rings, -1)))
        return polar.view(*images.shape[:-2], self.rings, self.angles)

    def to_images(self, polar: Tensor) -> Tensor:
        """Invert the polar map by regularised least squares; zero outside the disk.

        Parameters
        ----------
        polar : Tensor
            `(..., rings, angles)`.

        Returns
        -------
        Tensor
            `(..., box, box)`.
        """
        folded = fold_samples(polar.reshape(-1, self.rings, self.angles))  # (4, n, quarter)
        quadrants = torch.bmm(folded.flatten(2), self.inverse_blocks.to(polar.dtype))
        images = unfold_images(quadrants.unflatten(2, (self.box // 2, self.box // 2)))
        return images.view(*polar.shape[:-2], self.box, self.box)


@keep_made(4)
def _keep_forward(box: int, rings: int, angles: int, sigma: float) -> Tensor:
    """Keep `P` in float32: grids of one size share it, and nothing of float64 outlives its building."""
    return build_forward_blocks(box, rings, angles, sigma).float()


@keep_made(4)
def _keep_inverse(box: int, rings: int, angles: int, sigma: float, regularisation: float) -> Tensor:
    """Keep the inverse of `P` in float32, as `_keep_forward`."""
    forward = build_forward_blocks(box, rings, angles, sigma)
    return invert_blocks(forward, box, rings, angles, regularisation).float()


def build_forward_blocks(box: int, rings: int, angles: int, sigma: float) -> Tensor:
    """Build `P` for each parity, `(4, quadrant pixels, quadrant samples)` in float64.

    A folded quadrant holds sums over the pixels that mirrors take onto each other, and the weights are those of a
    pixel of the pure parity, which has the same value (or its negative) in each of them.
    """
    quarter = build_sampling_matrix(box, rings, angles, sigma, first_angles=angles // 4 + 1)
    folded = fold_images(quarter.unflatten(1, (box, box))).flatten(2)  # (4, samples, pixels)
    shares = []
    for parity in PARITIES:
        counts = count_mirrored_pixels(box // 2, parity).flatten()
        shares.append(torch.where(counts > 0, 1 / counts.clamp(min=1), 0.0))
    return (folded * torch.stack(shares)[:, None]).mT.contiguous()


def invert_blocks(
    forward: Tensor, box: int, rings: int, angles: int, regularisation: float
) -> Tensor:
    """Invert `P` for each parity, as `solve_least_squares` does for all at once.

    The normal equations fall apart into those of the parities. They are solved in orthonormal coordinates: a sum over
    `c` mirrored places is `sqrt(c)` of these.

    Returns
    -------
    Tensor
        `(4, quadrant samples, quadrant pixels)` in float64, zero outside the disk.
    """
    half, quarter = box // 2, angles // 4
    solved_disk, disk = (
        disk_mask(box, box / 2 - 0.5 + margin)[half:, half:].flatten() for margin in (MARGIN, 0.0)
    )
    inverse = torch.zeros_like(forward.mT, memory_format=torch.contiguous_format)
    for block, solution, parity in zip(forward, inverse, PARITIES, strict=True):
        pixel_counts = count_mirrored_pixels(half, parity).flatten()
        pixels = (solved_disk & (pixel_counts > 0)).nonzero()[:, 0]
        pixel_scale = pixel_counts[pixels].sqrt()
        sample_scale = count_mirrored_samples(quarter, parity).repeat(rings).sqrt()
        # (pixels, samples), orthonormal: a sample that the parity leaves out has the scale 0.
        within = block[pixels] * pixel_scale[:, None] * sample_scale
        normal = within @ within.T
        normal.diagonal().add_(regularisation)
        answer = torch.cholesky_solve(within, torch.linalg.cholesky(normal))
        answer = answer * torch.where(sample_scale > 0, 1 / sample_scale.clamp(min=1), 0.0)
        solution[:, pixels] = (answer / pixel_scale[:, None]).T
    return inverse * disk


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
