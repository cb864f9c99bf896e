"""Direct Fourier inversion: central slices summed in a doubled grid, weighted, and taken back to a map.

The algorithm is RELION's (Scheres, J. Struct. Biol. 180, 519, 2012): trilinear insertion of the images' Fourier pixels
into a grid padded by 2, iterative gridding weights (Pipe & Menon, Magn. Reson. Med. 41, 179, 1999; Matej & Lewitt,
IEEE Trans. Med. Imaging 20, 1, 2001) and a soft spherical mask. torch-fourier-slice's `insert_central_slices_rfft_3d`
is the same insertion for images that are padded themselves; it returns a new grid at each call and is some fifty times
slower per image at 64 px. The tests hold this one against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.imaging.euler_angles import matrices_from_angles

#: Shells that a mean correlation is taken over begin here: below, a shell has too few voxels to say anything.
FIRST_SHELL = 3

PADDING = 2
# RELION's gridding kernel, a Kaiser-Bessel blob: radius in voxels of the unpadded grid, taper, order 0.
BLOB_RADIUS = 1.9
BLOB_TAPER = 15.0
GRIDDING_ITERATIONS = 10
MASK_EDGE = 3.0  # pixels
SAMPLES_AT_ONCE = 2**18


@dataclass(frozen=True)
class Backprojection:
    """What a set of images adds up to in Fourier space.

    Parameters
    ----------
    box : int
        `N`, side of the images in pixels.
    sums : Tensor
        `(M * M * (M // 2 + 2), 3)` float32, `M = 2 N`: for each voxel (z, y, x; not shifted; x >= 0 and one
        column of padding) the real and imaginary part of `sum CTF * F` and the weight `sum CTF^2`.
    """

    box: int
    sums: Tensor


def begin_backprojection(box: int, device: torch.device | None = None) -> Backprojection:
    """Make an empty sum for images of `box` pixels, on a device (the CPU)."""
    padded = PADDING * box
    return Backprojection(box, torch.zeros(padded * padded * (padded // 2 + 2), 3, device=device))


def insert_slices(
    backprojection: Backprojection, slices: Tensor, weights: Tensor, matrices: Tensor
) -> None:
    """Add central slices to a backprojection, in place.

    Parameters
    ----------
    backprojection : Backprojection
        Where to add.
    slices : Tensor
        `(n, N, N // 2 + 1)` complex: transforms of images, centre at the origin, multiplied by their weights'
        square root (the CTF).
    weights : Tensor
        `(n, N, N // 2 + 1)` real weights (the squared CTF).
    matrices : Tensor
        `(n, 3, 3)` rotations from image to volume coordinates, xyz.
    """
    box = backprojection.box
    rows = torch.fft.fftfreq(box, 1 / box, device=slices.device)
    columns = torch.arange(box // 2 + 1, device=slices.device, dtype=rows.dtype)
    ky, kx = torch.meshgrid(rows, columns, indexing="ij")
    # Of the column kx = 0 one half: the other is its complex conjugate.
    inside = (kx**2 + ky**2 <= (box // 2) ** 2) & ~((kx == 0) & (ky < 0))
    frequencies = PADDING * torch.stack([kx[inside], ky[inside]], dim=-1)  # (p, 2)
    slices, weights = slices[:, inside], weights[:, inside]
    images_at_once = max(SAMPLES_AT_ONCE // len(frequencies), 1)
    for start in range(0, len(slices), images_at_once):
        chunk = slice(start, start + images_at_once)
        positions = frequencies @ matrices[chunk, :, :2].to(frequencies.dtype).mT  # (c, p, 3) xyz
        mirrored = positions[..., 0] < 0
        positions = torch.where(mirrored[..., None], -positions, positions)
        values = torch.where(mirrored, slices[chunk].conj(), slices[chunk])
        samples = torch.stack([values.real, values.imag, weights[chunk]], dim=-1)
        _splat(backprojection, samples.reshape(-1, 3), positions.reshape(-1, 3))


def _splat(backprojection: Backprojection, samples: Tensor, positions: Tensor) -> None:
    """Spread samples `(p, 3)` over the eight voxels around their positions `(p, 3)`, xyz, x >= 0."""
    padded = PADDING * backprojection.box
    corner = positions.floor()
    x_high, y_high, z_high = (positions - corner).unbind(-1)
    x, y, z = corner.to(torch.int64).unbind(-1)
    for dz, z_share in ((0, 1 - z_high), (1, z_high)):
        for dy, y_share in ((0, 1 - y_high), (1, y_high)):
            line = ((z + dz) % padded * padded + (y + dy) % padded) * (padded // 2 + 2) + x
            share = z_share * y_share
            for dx, x_share in ((0, 1 - x_high), (1, x_high)):
                backprojection.sums.index_add_(0, line + dx, samples * (share * x_share)[:, None])


def solve_backprojection(backprojection: Backprojection) -> Tensor:
    """Turn the sums into a map.

    Parameters
    ----------
    backprojection : Backprojection
        Sums over any number of images; left as they are.

    Returns
    -------
    Tensor
        `(N, N, N)` float32 map, zyx, centre at voxel `N // 2`, in the scale of the projected density. Outside
        the sphere inscribed in the box it is the mean of what was there, with a soft edge, as in RELION.
    """
    box = backprojection.box
    padded = PADDING * box
    numerator, weight = complete_sums(backprojection)
    scale = weight.mean().clamp(min=torch.finfo(weight.dtype).tiny)
    radius = frequency_radius(padded, weight.device)
    # No floor under small weights: with few views it fills the gaps between their planes, and the half-map FSC comes
    # out up to 0.06 away from RELION's.
    gridding = _iterate_gridding_weights(weight / scale, radius)
    volume = take_back(numerator / scale * gridding)
    return mask_softly_outside_sphere(volume, box / 2, MASK_EDGE)


def take_back(spectrum: Tensor) -> Tensor:
    """Take the padded transform of a map `(M, M, M // 2 + 1)` back to the map `(N, N, N)`, `M = 2 N`.

    Trilinear insertion multiplied the map by the transform of its kernel, sinc^2 along each axis: it is divided out.
    """
    padded = spectrum.shape[0]
    box = padded // PADDING
    edge = (padded - box) // 2
    kept = slice(edge, edge + box)
    volume = torch.fft.fftshift(torch.fft.irfftn(spectrum, s=(padded,) * 3))[kept, kept, kept]
    offsets = torch.arange(box, device=volume.device) - box // 2
    along_axis = torch.sinc(offsets / padded) ** 2
    return volume / (along_axis[:, None, None] * along_axis[:, None] * along_axis)


def mask_softly_outside_sphere(volume: Tensor, radius: float, edge: float) -> Tensor:
    """Replace what lies outside a sphere by its mean.

    Parameters
    ----------
    volume : Tensor
        `(N, N, N)`.
    radius : float
        Of the sphere about voxel `N // 2`, voxels.
    edge : float
        Width of the raised-cosine edge outside that radius, voxels.

    Returns
    -------
    Tensor
        `(N, N, N)`. The same operation as RELION's `softMaskOutsideMap`.
    """
    box = volume.shape[-1]
    squares = (torch.arange(box, device=volume.device) - box // 2) ** 2
    distance = (squares[:, None, None] + squares[:, None] + squares).sqrt()
    outside = 0.5 - 0.5 * torch.cos(torch.pi * ((distance - radius) / edge).clamp(0, 1))
    background = (volume * outside).sum() / outside.sum()
    return volume * (1 - outside) + background * outside


def complete_sums(backprojection: Backprojection) -> tuple[Tensor, Tensor]:
    """Give the numerator `(M, M, M // 2 + 1)` complex and the weight, both with the plane x = 0 complete."""
    padded = PADDING * backprojection.box
    sums = backprojection.sums.view(padded, padded, padded // 2 + 2, 3)[:, :, : padded // 2 + 1]
    numerator = torch.complex(sums[..., 0], sums[..., 1])
    weight = sums[..., 2].clone()
    # A sample at +x next to the plane x = 0 has a conjugate at -x, which reaches that plane too.
    for grid in (numerator, weight):
        plane = grid[:, :, 0].clone()
        mirrored = plane.flip((0, 1)).roll((1, 1), (0, 1))
        grid[:, :, 0] = plane + mirrored.conj()
    return numerator, weight


def frequency_radius(padded: int, device: torch.device) -> Tensor:
    """Give the distance of each voxel from the origin of Fourier space, `(M, M, M // 2 + 1)` voxels."""
    along = torch.fft.fftfreq(padded, 1 / padded, device=device) ** 2
    half = torch.arange(padded // 2 + 1, device=device) ** 2
    return (along[:, None, None] + along[:, None] + half).sqrt()


def _iterate_gridding_weights(weight: Tensor, radius: Tensor) -> Tensor:
    """Find `w` such that `w * weight`, smoothed by the blob, is 1 wherever there is data.

    Equation 14 of Pipe & Menon (1999) in the form of Matej & Lewitt (2001), equation 4: `w` is divided by the
    smoothed `w * weight`, ten times, from `w = 1` inside the Nyquist sphere and 0 outside.
    """
    padded = weight.shape[0]
    window = _blob_window(padded, weight.device)
    gridding = (radius < padded / 2).to(weight.dtype)
    for _ in range(GRIDDING_ITERATIONS):
        product = torch.complex(gridding * weight, torch.zeros_like(weight))
        smoothed = torch.fft.irfftn(product, s=(padded,) * 3).mul_(window)
        gridding.div_(torch.fft.rfftn(smoothed).abs().clamp_(min=1e-6)).clamp_(max=1e20)
    return gridding


def _blob_window(padded: int, device: torch.device) -> Tensor:
    """Give the transform of the gridding blob in real space, `(M, M, M)`, 1 at the origin (not shifted).

    A Kaiser-Bessel blob of order 0 (Lewitt, J. Opt. Soc. Am. A 7, 1834, 1990, equation A3): `I_1.5(x) / x^1.5` of
    `x = sqrt(taper^2 - (2 pi radius r)^2)`, where `I_1.5(x)` is `cosh x - sinh(x) / x` over the root of `x`.
    """
    squares = torch.fft.fftfreq(padded, 1 / padded, device=device).long() ** 2
    every_square = torch.arange(3 * (padded // 2) ** 2 + 1, dtype=torch.float64)
    blob = 2 * torch.pi * BLOB_RADIUS * PADDING / padded
    inside = BLOB_TAPER**2 - blob**2 * every_square
    x = inside.clamp(min=1.0).sqrt()
    values = (torch.cosh(x) - torch.sinh(x) / x) / x**2
    values = torch.where(inside > 0, values / values[0], 0.0).to(device, torch.float32)
    return values[squares[:, None, None] + squares[:, None] + squares]


def reconstruct_map(images: Tensor, ctf: Tensor, angles: Tensor) -> Tensor:
    """Reconstruct a map `(N, N, N)` of images `(n, N, N)` with their CTFs; parameters as `reconstruct_noise`."""
    slices = torch.fft.rfft2(torch.fft.ifftshift(images, dim=(-2, -1)))
    sums = begin_backprojection(images.shape[-1])
    insert_slices(sums, slices * ctf, ctf**2, matrices_from_angles(angles).float())
    return solve_backprojection(sums)


def drop_low_shells(volume: Tensor) -> Tensor:
    """Take the shells below `FIRST_SHELL` out of a volume `(N, N, N)`."""
    kept = frequency_radius(volume.shape[-1], volume.device) >= FIRST_SHELL
    return torch.fft.irfftn(torch.fft.rfftn(volume) * kept, s=volume.shape)
