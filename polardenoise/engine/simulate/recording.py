"""From noise-free images to recorded ones: losses of the optics and the detector, ice, noise of variance 1."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf import apply_ctf
from polardenoise.engine.simulate.detector import sample_losses
from polardenoise.engine.simulate.noise import draw_coloured_noise, draw_ice, sample_noise_power
from polardenoise.engine.simulate.options import SimulationPlan
from polardenoise.engine.simulate.poisson_noise import count_electrons

#: From noise-free images `(n, N, N)` and a source of randomness to noisy ones.
Expose = Callable[[Tensor, np.random.Generator], Tensor]


@dataclass(frozen=True)
class Recording:
    """What happens to an image behind the objective lens.

    Attributes
    ----------
    losses : Tensor or None
        `(N, N // 2 + 1)` that envelope and MTF multiply the signal by, the ice's structure included.
    ice : float
        Share of the variance of the noise that is the structure of the ice.
    expose : Expose
        Adds the rest of the noise, of variance `1 - ice`.
    """

    losses: Tensor | None
    ice: float
    expose: Expose


def plan_recording(plan: SimulationPlan, electrons: float | None, pixel_size: float) -> Recording:
    """Choose losses and noise.

    Parameters
    ----------
    plan : SimulationPlan
        What was asked for.
    electrons : float or None
        Per pixel, where they are counted.
    pixel_size : float
        Angstrom.
    """
    losses = None
    if plan.mtf is not None or plan.envelope:
        losses = sample_losses(plan.mtf, plan.envelope, pixel_size, plan.box)
    deviation = (1 - plan.ice) ** 0.5
    if electrons is not None:
        expose = _expose_counting(electrons, deviation)
    elif plan.noise == "coloured":
        expose = _expose_coloured(
            sample_noise_power(plan.spectrum, plan.box, pixel_size), deviation
        )
    else:
        expose = _expose_white(deviation)
    return Recording(losses, plan.ice, expose)


def record_images(
    recording: Recording,
    images: Tensor,
    ctf: Tensor | None,
    for_noise: np.random.Generator,
    for_ice: np.random.Generator,
) -> Tensor:
    """Record images.

    Parameters
    ----------
    recording : Recording
        How.
    images : Tensor
        `(n, N, N)` noise-free, CTF applied, in units of the noise.
    ctf : Tensor or None
        `(n, N, N // 2 + 1)` through which the structure of the ice is seen.
    for_noise, for_ice : numpy.random.Generator
        Sources of randomness, read in the order of the images.

    Returns
    -------
    Tensor
        `(n, N, N)`; the noise has variance 1, that of counted electrons where there is no particle.
    """
    if recording.losses is not None:
        images = apply_ctf(images, recording.losses)
    if recording.ice:
        transfer = torch.ones(images.shape[-1], images.shape[-1] // 2 + 1) if ctf is None else ctf
        if recording.losses is not None:
            transfer = transfer * recording.losses
        images = images + recording.ice**0.5 * draw_ice(len(images), transfer, for_ice)
    return recording.expose(images, for_noise)


def _expose_white(deviation: float) -> Expose:
    def expose(images: Tensor, generator: np.random.Generator) -> Tensor:
        white = generator.standard_normal(size=images.shape, dtype=np.float32)
        return images + deviation * torch.from_numpy(white)

    return expose


def _expose_coloured(power: Tensor, deviation: float) -> Expose:
    def expose(images: Tensor, generator: np.random.Generator) -> Tensor:
        return images + deviation * draw_coloured_noise(len(images), power, generator)

    return expose


def _expose_counting(electrons: float, deviation: float) -> Expose:
    def expose(images: Tensor, generator: np.random.Generator) -> Tensor:
        return count_electrons(images, electrons, deviation, generator)

    return expose
