"""What real particles have: contrast that varies, a background that slopes, a defocus that was estimated wrongly."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf import CtfParameters
from polardenoise.engine.simulate.particle_table import SimulationTable


def draw_contrasts(
    size: int | tuple[int, ...], spread: float, generator: np.random.Generator
) -> np.ndarray:
    """Draw what each particle's signal is multiplied by: thick ice and strayed electrons weaken some.

    Parameters
    ----------
    size : int or tuple of int
        Shape of the result.
    spread : float
        Standard deviation of its logarithm.
    generator : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray
        Log-normal, of mean square 1: the SNR of the set stays.
    """
    return np.exp(spread * generator.standard_normal(size) - spread**2)


def draw_gradients(
    size: tuple[int, ...], strength: float, generator: np.random.Generator
) -> np.ndarray:
    """Draw the gradients of sloping backgrounds.

    Parameters
    ----------
    size : tuple of int
        Shape of the result but for its last axis.
    strength : float
        Root mean square of the slopes over all pixels and images, in standard deviations of the noise.
    generator : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray
        `(*size, 2)` along x and y, for `lay_slopes`.
    """
    return strength / 2**0.5 * generator.standard_normal((*size, 2))


def lay_slopes(gradients: Tensor, box: int) -> Tensor:
    """Lay planes of mean 0 that rise by gradients `(..., 2)`: `(..., N, N)`, float32.

    A gradient of 1 along x alone gives a root mean square of 1 over the box.
    """
    ramp = torch.arange(box, device=gradients.device, dtype=torch.float32)
    ramp = ramp - ramp.mean()
    ramp = ramp / ramp.square().mean().sqrt()
    x, y = gradients.float()[..., None, None].unbind(-3)
    return x * ramp + y * ramp[:, None]


def misjudge_defocus(
    parameters: CtfParameters, deviation: float, generator: np.random.Generator
) -> CtfParameters:
    """Give the CTFs that images have whose defocus was estimated wrongly.

    Parameters
    ----------
    parameters : CtfParameters
        Of `n` images, as they are stated.
    deviation : float
        Standard deviation of the error, Angstrom; U and V of an image have the same.
    generator : numpy.random.Generator
        Source of randomness.
    """
    errors = deviation * generator.standard_normal(len(parameters.defocus_u))
    error = torch.from_numpy(errors).to(parameters.defocus_u)
    return dataclasses.replace(
        parameters,
        defocus_u=parameters.defocus_u + error,
        defocus_v=parameters.defocus_v + error,
    )


def misjudge_table(
    table: SimulationTable, deviation: float, generator: np.random.Generator
) -> SimulationTable:
    """Give the table of the defoci that images have where those of a table are wrong by so many Angstrom."""
    parameters = table.ctf_parameters(slice(None))
    if not deviation or parameters is None or table.defocus is None:
        return table
    true = misjudge_defocus(parameters, deviation, generator)
    defocus = torch.stack([true.defocus_u, true.defocus_v, true.defocus_angle], dim=1)
    return dataclasses.replace(table, defocus=defocus.numpy())
