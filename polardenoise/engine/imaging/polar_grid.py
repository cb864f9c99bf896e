"""The polar grid, on which an in-plane rotation is a circular shift.

The map `P` follows section 2 of Andén & Sagemüller (arXiv 2506.11283): Gaussian radial basis functions sampled on
rings, weighted so that `P` is nearly an isometry. Its inverse is the regularised least-squares solution on the
disk, not the adjoint: on a 64 px ribosome projection the adjoint leaves a relative error of 7e-3, this one 5e-5.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

#: Width of the Gaussian in pixels. Narrower ones alias: what lies at f is mixed with 1 - f.
SIGMA = 0.8
#: Tikhonov weight of the inverse: small enough to give real projections back to 2e-5.
REGULARISATION = 1e-5
#: The inverse solves for this many pixels beyond the disk and then leaves them out: the outermost samples reach there,
#: and what an image holds there would otherwise be pressed into the disk (three times the error on a ribosome).
MARGIN = 1.5
#: Past this box a dense map costs more memory than an image network should (1.4 GB at 96 px with 48 x 192 samples).
LARGEST_DENSE_BOX = 96


class PolarGrid(nn.Module):
    """The polar map `P` of a box and its least-squares inverse, as two dense matrices.

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

    forward_matrix: Tensor
    inverse_matrix: Tensor

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
            forward = torch.empty(rings * angles, box * box)
            inverse = torch.empty(box * box, rings * angles)
        else:
            forward = _keep_sampling_matrix(box, rings, angles, sigma)
            inverse = _keep_inverse(box, rings, angles, sigma, regularisation)
        # Derived from five numbers, so not part of a checkpoint.
        self.register_buffer("forward_matrix", forward, persistent=False)
        self.register_buffer("inverse_matrix", inverse, persistent=False)

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
        flat = images.flatten(-2)  # (..., box * box)
        polar = flat @ self.forward_matrix.to(images.dtype).T  # (..., rings * angles)
        return polar.unflatten(-1, (self.rings, self.angles))

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
        flat = polar.flatten(-2)  # (..., rings * angles)
        images = flat @ self.inverse_matrix.to(polar.dtype).T  # (..., box * box)
        return images.unflatten(-1, (self.box, self.box))


def disk_mask(box: int, radius: float) -> Tensor:
    """Mark the pixels within a radius of the centre.

    Parameters
    ----------
    box : int
        Box size in pixels; the centre is pixel `(box // 2, box // 2)`.
    radius : float
        In pixels, inclusive.

    Returns
    -------
    Tensor
        `(box, box)` bool.
    """
    # The CPU also where only the shapes of a network are asked for: arithmetic on the meta device imports a compiler.
    offset = torch.arange(box, device="cpu") - box // 2
    return offset[:, None] ** 2 + offset[None, :] ** 2 <= radius**2


def ring_radii(box: int, rings: int) -> Tensor:
    """Radii of the rings in pixels, `(rings,)` float64: `(k + 1/2) (box / 2 - 1/2) / rings`."""
    return (torch.arange(rings, dtype=torch.float64) + 0.5) * (box / 2 - 0.5) / rings


# Made outside of inference mode, whoever asks first: what is made in it could take part in no gradient later.
@lru_cache(maxsize=4)
@torch.inference_mode(False)
def _keep_sampling_matrix(box: int, rings: int, angles: int, sigma: float) -> Tensor:
    """Keep `P` in float32: grids of one size share it, 64 MB at 64 px, and nothing of float64 outlives its building."""
    return _sampling_matrix(box, rings, angles, sigma).float()


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def _keep_inverse(box: int, rings: int, angles: int, sigma: float, regularisation: float) -> Tensor:
    """Keep the inverse of `P` in float32, as `_keep_sampling_matrix`."""
    return _build_matrices(box, rings, angles, sigma, regularisation)[1].float()


def _build_matrices(
    box: int, rings: int, angles: int, sigma: float, regularisation: float
) -> tuple[Tensor, Tensor]:
    """Build `P` `(rings * angles, box * box)` and its inverse `(box * box, rings * angles)` in float64."""
    forward = _sampling_matrix(box, rings, angles, sigma)
    return forward, _invert_by_quarter_turns(forward, box, rings, angles, regularisation)


def solve_least_squares(forward: Tensor, box: int, regularisation: float) -> Tensor:
    """Regularised least-squares inverse `(A^T A + lambda)^-1 A^T`: the reference, seconds at 64 px.

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


def _invert_by_quarter_turns(
    forward: Tensor, box: int, rings: int, angles: int, regularisation: float
) -> Tensor:
    """Compute `solve_least_squares` sixteen times cheaper, exactly equivariant to rotations by 90 degrees.

    A quarter turn permutes the disk's pixels and the samples alike, so `P` is block-circulant over the four turns:
    the Fourier transform over the turns splits the problem into four of a quarter of the size. The centre pixel, which
    no turn moves, belongs to the symmetric block alone.
    """
    offset = torch.arange(box) - box // 2
    in_quadrant = disk_mask(box, box / 2 - 0.5 + MARGIN)
    in_quadrant &= (offset[:, None] >= 0) & (offset[None, :] > 0)
    y, x = (axis - box // 2 for axis in in_quadrant.nonzero(as_tuple=True))
    pixels = []  # of each turn, flat indices (quadrant pixels,)
    for _ in range(4):
        pixels.append((y + box // 2) * box + x + box // 2)
        x, y = -y, x
    by_turn = forward.unflatten(0, (rings, 4, angles // 4)).movedim(1, 0).flatten(1, 2)
    blocks = torch.fft.rfft(
        by_turn[:, :, pixels[0]], dim=0
    )  # (3 frequencies, samples / 4, quadrant)
    centre = (box // 2) * box + box // 2
    solved = []
    for frequency, block in enumerate(blocks):
        if frequency == 0:
            block = torch.cat([block, 2 * by_turn[0, :, centre, None].to(block.dtype)], dim=1)
        normal = block.mH @ block
        normal.diagonal().add_(regularisation)
        solved.append(torch.cholesky_solve(block.mH.contiguous(), torch.linalg.cholesky(normal)))
    centre_row = solved[0][-1].real / 2  # (samples / 4,)
    solved[0] = solved[0][:-1]
    turned = torch.fft.irfft(torch.stack(solved), n=4, dim=0)  # (4, quadrant, samples / 4)
    inverse = torch.zeros_like(forward.T).unflatten(1, (rings, 4, angles // 4))
    quarter = (-1, rings, angles // 4)
    for sample_turn in range(4):
        inverse[centre, :, sample_turn] = centre_row.unflatten(0, (rings, angles // 4))
        for pixel_turn in range(4):
            block = turned[(pixel_turn - sample_turn) % 4]
            inverse[pixels[pixel_turn], :, sample_turn] = block.reshape(quarter)
    return inverse.flatten(1) * disk_mask(box, box / 2 - 0.5).flatten()[:, None]


def _sampling_matrix(box: int, rings: int, angles: int, sigma: float) -> Tensor:
    """Gaussian weights of every pixel for every polar sample, times `w_k = sqrt(r_k dr dtheta)`."""
    radii = ring_radii(box, rings)
    theta = 2 * math.pi * torch.arange(angles, dtype=torch.float64) / angles
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
    matrix *= weights.repeat_interleave(angles)[:, None, None]
    return matrix.flatten(1)
