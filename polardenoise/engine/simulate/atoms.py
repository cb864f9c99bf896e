"""Atoms, and the density they make on a grid.

The density is computed in Fourier space, so that nothing aliases however coarse the pixels are: atoms are spread with
a cubic B-spline on a grid twice as fine as the one asked for, the transform is cropped to the frequencies of the
coarse grid, the spline is divided out and the fall-off of the atoms multiplied in. This is the type-1 non-uniform FFT
(Dutt & Rokhlin 1993; with B-splines Essmann et al. 1995, smooth particle mesh Ewald).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Electron scattering factor of carbon, sum_i a_i exp(-b_i s^2), s = k / 2 in 1/A, a in A (International Tables C, table
# 4.3.2.2). Shape only: every atom falls off like carbon, times its own strength.
CARBON_STRENGTH = np.array([0.0893, 0.2563, 0.7570, 1.0487, 0.3575])
CARBON_FALL_OFF = np.array([0.2465, 1.7100, 6.4094, 18.6113, 50.2523])

ATOMS_AT_ONCE = 200_000


@dataclass(frozen=True)
class Atoms:
    """A molecule as points.

    Attributes
    ----------
    positions : ndarray
        `(n, 3)` float64 x, y, z in Angstrom.
    strengths : ndarray
        `(n,)` float64 electron scattering at zero angle, in units of a carbon atom's.
    masses : ndarray
        `(n,)` float64 mass in Dalton, used for the centre and the size only.
    """

    positions: np.ndarray
    strengths: np.ndarray
    masses: np.ndarray

    def centre_of_mass(self) -> np.ndarray:
        """Give the centre of mass, `(3,)` Angstrom."""
        return self.masses @ self.positions / self.masses.sum()

    def radius(self) -> float:
        """Give the distance in Angstrom of the farthest atom from the centre of mass."""
        return float(np.linalg.norm(self.positions - self.centre_of_mass(), axis=1).max())


def density_of_atoms(atoms: Atoms, box: int, pixel_size: float, b_factor: float) -> Tensor:
    """Compute the blurred density of a molecule, its centre of mass at the centre voxel.

    Parameters
    ----------
    atoms : Atoms
        The molecule; every atom is expected inside the box (what is outside would wrap around).
    box : int
        Voxels along one side.
    pixel_size : float
        Angstrom.
    b_factor : float
        Every atom is blurred by ``exp(-b_factor k^2 / 4)``, in Angstrom^2; B-factors of a file are not used.

    Returns
    -------
    Tensor
        `(box, box, box)` float32, axes z, y, x, centre at voxel (box // 2,) * 3, positive where the molecule is, mean
        over the empty space 0. Its sum times the voxel volume is the molecule's scattering (carbon atoms = 1).
    """
    fine = 2 * box
    fine_pixel = pixel_size * box / fine
    centred = atoms.positions - atoms.centre_of_mass()
    # Grid coordinates with the centre at index 0: no phase is left to undo after the transform.
    spread = _spread_on_grid(centred / fine_pixel, atoms.strengths, fine)
    transform = torch.fft.rfftn(spread)
    del spread

    # Crop to the coarse grid: keep |frequency| <= Nyquist, as rows 0..box/2 and the negative ones from the end.
    whole = torch.fft.fftfreq(box, d=1.0 / box).round().long()
    half = torch.arange(box // 2 + 1)
    transform = transform[whole % fine][:, whole % fine][:, :, half]

    along = whole.double() / (box * pixel_size)
    along_half = half.double() / (box * pixel_size)
    spline = torch.sinc(along * fine_pixel) ** 4
    spline_half = torch.sinc(along_half * fine_pixel) ** 4
    transform /= (
        spline[:, None, None] * spline[None, :, None] * spline_half[None, None, :]
    ).float()
    squared = along[:, None, None] ** 2 + along[None, :, None] ** 2 + along_half[None, None, :] ** 2
    transform *= (_carbon_fall_off(squared) * torch.exp(-b_factor * squared / 4)).float()
    if box % 2 == 0:
        # A plane at exactly Nyquist stands for two frequencies of which only one is kept; zero keeps rotations fair.
        transform[box // 2], transform[:, box // 2], transform[:, :, box // 2] = 0, 0, 0
    density = torch.fft.irfftn(transform, s=(box, box, box)) / pixel_size**3
    return torch.fft.fftshift(density).contiguous()


def _carbon_fall_off(squared_frequency: Tensor) -> Tensor:
    """Evaluate carbon's electron scattering factor, 1 at zero; `squared_frequency` in 1/A^2."""
    falling = torch.zeros_like(squared_frequency)
    for strength, fall_off in zip(CARBON_STRENGTH, CARBON_FALL_OFF, strict=True):
        falling += float(strength) * torch.exp(-float(fall_off) / 4 * squared_frequency)
    return falling / float(CARBON_STRENGTH.sum())


def _spread_on_grid(coordinates: np.ndarray, weights: np.ndarray, size: int) -> Tensor:
    """Spread weighted points on a periodic grid with the cubic B-spline; `(size, size, size)` float32 z, y, x."""
    grid = torch.zeros(size**3, dtype=torch.float32)
    for start in range(0, len(coordinates), ATOMS_AT_ONCE):
        some = coordinates[start : start + ATOMS_AT_ONCE]
        base = np.floor(some).astype(np.int64)
        along = _cubic_spline_weights(some - base)  # (n, 3, 4)
        index = (base[:, :, None] + np.arange(-1, 3)) % size
        for z in range(4):
            for y in range(4):
                row = (index[:, 2, z] * size + index[:, 1, y]) * size
                weight = weights[start : start + ATOMS_AT_ONCE] * along[:, 2, z] * along[:, 1, y]
                # index_add_ in one dimension runs in order: the sum is the same every time.
                grid.index_add_(
                    0,
                    torch.from_numpy((row[:, None] + index[:, 0, :]).ravel()),
                    torch.from_numpy((weight[:, None] * along[:, 0, :]).ravel()).float(),
                )
    return grid.reshape(size, size, size)


def _cubic_spline_weights(fraction: np.ndarray) -> np.ndarray:
    """Give the cubic B-spline at the four grid points around; `(n, 3)` in [0, 1) -> `(n, 3, 4)`, sums to 1."""
    other = 1.0 - fraction
    return np.stack(
        [
            other**3 / 6,
            (4 - 6 * fraction**2 + 3 * fraction**3) / 6,
            (4 - 6 * other**2 + 3 * other**3) / 6,
            fraction**3 / 6,
        ],
        axis=-1,
    )
