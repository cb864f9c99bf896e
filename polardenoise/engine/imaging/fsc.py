"""Fourier shell correlation of volumes, and the resolution read off it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.rings import count_columns


def fourier_shell_correlation(first: Tensor, second: Tensor) -> np.ndarray:
    """Correlate two volumes shell by shell in Fourier space.

    Shells are RELION's: a Fourier voxel belongs to the shell of its radius, rounded. torch-fourier-shell-correlation
    shares each voxel between two shells, which smears curves over three and can move the crossing of a flat curve
    by more than one shell from what RELION reports for the same maps.

    Parameters
    ----------
    first, second : Tensor
        `(N, N, N)` real volumes on the same grid. A scale between them changes nothing.

    Returns
    -------
    ndarray
        `(N // 2 + 1,)` float64: shell `s` is at the spatial frequency `s / (N * pixel size)`. Shell 0 is 1 by
        definition; a shell in which a volume has nothing is 0.
    """
    box = first.shape[-1]
    one, other = (torch.fft.rfftn(volume.to(torch.float64)) for volume in (first, second))
    along = torch.fft.fftfreq(box, 1 / box, device=first.device) ** 2
    half = torch.arange(box // 2 + 1, device=first.device)
    shells = (along[:, None, None] + along[:, None] + half**2).sqrt().round().long().flatten()
    times = count_columns(box, first.device)

    def sum_over_shells(values: Tensor) -> Tensor:
        return torch.bincount(shells, (values * times).flatten())[: box // 2 + 1]

    product = sum_over_shells((one * other.conj()).real)
    power = sum_over_shells(one.abs() ** 2) * sum_over_shells(other.abs() ** 2)
    curve = torch.where(power > 0, product / power.clamp(min=1e-300).sqrt(), 0.0)
    curve[0] = 1.0
    return curve.cpu().numpy()


def resolution_at(curve: np.ndarray, threshold: float, pixel_size: float, box: int) -> float:
    """Find where a correlation curve first falls below a threshold.

    Parameters
    ----------
    curve : ndarray
        `(box // 2 + 1,)` correlation by shell.
    threshold : float
        0.143 between half maps, 0.5 against a known truth (Rosenthal & Henderson, J. Mol. Biol. 333, 721, 2003).
    pixel_size : float
        Angstrom per pixel.
    box : int
        `N`, pixels.

    Returns
    -------
    float
        Resolution in Angstrom at the crossing, interpolated linearly in spatial frequency. A curve that never
        falls below the threshold gives Nyquist (`2 * pixel_size`); one that begins below it, the first shell
        (`N * pixel_size`).

    Examples
    --------
    Shell 2 of a box of 8 px at 1.5 A/px lies at 6 A, shell 3 at 4 A:

    >>> curve = np.array([1.0, 0.9, 0.5, 0.1, 0.0])
    >>> resolution_at(curve, 0.5, 1.5, 8), resolution_at(curve, 0.3, 1.5, 8)
    (6.0, 4.8)
    """
    below = np.flatnonzero(np.asarray(curve)[1:] < threshold)
    if len(below) == 0:
        return 2.0 * pixel_size
    after = int(below[0]) + 1
    if after == 1:
        return box * pixel_size
    high, low = float(curve[after - 1]), float(curve[after])
    shell = after - 1 + (high - threshold) / (high - low)
    return box * pixel_size / shell


def shell_frequencies(box: int, pixel_size: float) -> np.ndarray:
    """Give the spatial frequencies of the shells, `(box // 2 + 1,)`, 1/Angstrom."""
    return np.arange(box // 2 + 1) / (box * pixel_size)
