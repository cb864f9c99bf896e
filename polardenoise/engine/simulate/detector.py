"""What is lost between the specimen and the pixels: the detector's modulation transfer, the envelope of the optics.

Both weaken the signal, not the counting noise: a counting detector puts each electron near where it fell and counts it
once, and electrons that are independent where they fell are so where they were put. Poisson counts of the blurred
intensity are then exact, their noise is white, and the detective quantum efficiency is `DQE(0) MTF(f)^2`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.particles.star import read_star
from polardenoise.engine.runtime.errors import InputError

FREQUENCY_LABEL, VALUE_LABEL = "rlnResolutionInversePixel", "rlnMtfValue"


@dataclass(frozen=True)
class ModulationTransfer:
    """The share of a detail's contrast that the detector passes on, against its frequency.

    Attributes
    ----------
    frequency : ndarray
        `(m,)` ascending, 1/pixel: 0.5 is Nyquist.
    value : ndarray
        `(m,)`, 1 at frequency 0. Beyond the last frequency the last value goes on.
    """

    frequency: np.ndarray
    value: np.ndarray

    def at(self, frequency: np.ndarray) -> np.ndarray:
        """Interpolate the value at frequencies of any shape, 1/pixel."""
        return np.interp(frequency, self.frequency, self.value)


def model_mtf(at_nyquist: float) -> ModulationTransfer:
    """Model a detector whose point spread is Gaussian.

    Parameters
    ----------
    at_nyquist : float
        Its MTF at half a cycle per pixel, above 0 and at most 1.
    """
    frequency = np.linspace(0, np.sqrt(0.5), 101)
    return ModulationTransfer(frequency, at_nyquist ** ((2 * frequency) ** 2))


def read_mtf(star_path: Path) -> ModulationTransfer:
    """Read the MTF of a detector as RELION has it.

    Parameters
    ----------
    star_path : Path
        A table with ``rlnResolutionInversePixel`` and ``rlnMtfValue``.

    Raises
    ------
    InputError
        If there is no such file or table, or the numbers are no MTF.
    """
    for table in read_star(star_path).tables:
        if FREQUENCY_LABEL in table.labels and VALUE_LABEL in table.labels:
            break
    else:
        raise InputError(
            f"{star_path}: no table with {FREQUENCY_LABEL} and {VALUE_LABEL}; give RELION's MTF of a detector"
        )
    try:
        frequency = np.array(table.column(FREQUENCY_LABEL), dtype=float)
        value = np.array(table.column(VALUE_LABEL), dtype=float)
    except ValueError as error:
        raise InputError(f"{star_path}: {error}; correct the table of the MTF") from error
    if len(frequency) < 2 or not np.isfinite([frequency, value]).all() or frequency[0] < 0:
        raise InputError(f"{star_path}: give two rows or more, of finite numbers from frequency 0")
    falling = np.flatnonzero(np.diff(frequency) <= 0)
    if len(falling):
        raise InputError(
            f"{star_path}: row {falling[0] + 2}: {FREQUENCY_LABEL} does not grow; sort the rows"
        )
    if value[0] <= 0 or (value < 0).any():
        raise InputError(f"{star_path}: {VALUE_LABEL} has to start above 0 and never fall below it")
    return ModulationTransfer(frequency, value / value[0])


def sample_losses(
    mtf: ModulationTransfer | None, envelope: float, pixel_size: float, box: int
) -> Tensor:
    """Sample what the signal is multiplied by, besides the CTF.

    Parameters
    ----------
    mtf : ModulationTransfer or None
        Of a detector whose pixels are those of the images.
    envelope : float
        `B` in Angstrom^2 of `exp(-B k^2 / 4)`, as RELION's rlnCtfBfactor.
    pixel_size : float
        Angstrom.
    box : int
        `N`, pixels.

    Returns
    -------
    Tensor
        `(N, N // 2 + 1)` float32 in the layout of `torch.fft.rfft2`, 1 at frequency 0.
    """
    cycles = np.fft.fftfreq(box)
    frequency = np.hypot(cycles[:, None], cycles[: box // 2 + 1])
    losses = np.exp(-envelope / 4 * (frequency / pixel_size) ** 2)
    if mtf is not None:
        losses = losses * mtf.at(frequency)
    return torch.from_numpy(losses.astype(np.float32))
