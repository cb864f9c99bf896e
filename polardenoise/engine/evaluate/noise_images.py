"""Noise images of the pure-noise test: their CTFs, their STAR file, and Gaussian images of the same covariance.

A denoiser leaves noise fewer degrees of freedom than it had: smooth blobs about the centre have tens of them, white
noise has a thousand. Aligned to any reference, whichever it is, what has fewer of them correlates with it more. The
images that `draw_alike` draws have the same covariance as the denoised ones and nothing else in common with them: what
half maps of them show comes from the covariance, and what those of the denoised images show beyond it, from what the
denoiser draws into each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf import CtfParameters, compute_ctf
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.set_checks import most_common_pixel_size
from polardenoise.engine.particles.star import write_loop
from polardenoise.engine.reconstruct.half_maps import split_count
from polardenoise.engine.simulate.particle_table import draw_table


@dataclass(frozen=True)
class Conditions:
    """What the noise images carry besides noise: their CTFs, as a microscope would give them.

    Attributes
    ----------
    box : int
        Pixels, the model's own.
    pixel_size : float
        Angstrom.
    ctf : CtfParameters or None
        Of each image; None for images without a CTF.
    count : int
        Images, even.
    """

    box: int
    pixel_size: float
    ctf: CtfParameters | None
    count: int

    def compute_transfer(self) -> Tensor:
        """Give the CTFs, `(count, box, box // 2 + 1)`; ones without a CTF."""
        if self.ctf is None:
            return torch.ones(self.count, self.box, self.box // 2 + 1)
        return compute_ctf(self.ctf, self.pixel_size, self.box)


def draw_conditions(
    box: int, pixel_size: float, count: int, generator: np.random.Generator
) -> Conditions:
    """Draw CTFs as `simulate` does, for an even number of images."""
    count -= count % 2
    table = draw_table(count, 1, 0, 0.0, True, generator)
    return Conditions(box, pixel_size, table.ctf_parameters(slice(None)), count)


def read_conditions(
    particles: ParticleSet, box: int, count: int, generator: np.random.Generator
) -> Conditions:
    """Take field of view and CTFs of a particle set; its pixels are not read."""
    count -= count % 2
    pixel_size = most_common_pixel_size(particles) * particles.box / box
    carries = particles.ctf is not None and particles.ctf_state in ("raw", "flipped")
    rows = torch.from_numpy(generator.integers(len(particles), size=count))
    ctf = particles.ctf.select(rows) if carries and particles.ctf is not None else None
    return Conditions(box, pixel_size, ctf, count)


def write_conditions(path: Path, stack: Path, conditions: Conditions) -> None:
    """Write the STAR file of the images: halves, pixel size, and optics where there is a CTF."""
    count = conditions.count
    of_halves = np.repeat(["1", "2"], [len(range(count)[one]) for one in split_count(count)])
    columns = {
        "rlnImageName": [f"{row + 1:06d}@{stack}" for row in range(count)],
        "rlnRandomSubset": of_halves.tolist(),
        "rlnPixelSize": [f"{conditions.pixel_size:.6f}"] * count,
    }
    if conditions.ctf is not None:
        ctf = conditions.ctf
        named = {
            "rlnDefocusU": ctf.defocus_u,
            "rlnDefocusV": ctf.defocus_v,
            "rlnDefocusAngle": ctf.defocus_angle,
            "rlnVoltage": ctf.voltage,
            "rlnSphericalAberration": ctf.spherical_aberration,
            "rlnAmplitudeContrast": ctf.amplitude_contrast,
            "rlnPhaseShift": ctf.phase_shift,
        }
        columns |= {
            label: [f"{value:.6f}" for value in values.tolist()] for label, values in named.items()
        }
    path.write_text("".join(write_loop("", columns)))


def draw_alike(images: Tensor, generator: np.random.Generator) -> Tensor:
    """Draw Gaussian images with the covariance of images of two halves, each half from its own.

    Parameters
    ----------
    images : Tensor
        `(n, N, N)` CTF-free, N even, the first half of them one half.
    generator : numpy.random.Generator
        Draws the weights.

    Returns
    -------
    Tensor
        `(n, N, N)`: sums, with independent normal weights, of the half's images (less their mean) and of these turned
        by 90, 180 and 270 degrees, as the covariance of noise knows no direction.
    """
    drawn = []
    for half in split_count(len(images)):
        centred = images[half] - images[half].mean(0)
        turned = [centred]
        for _ in range(3):
            turned.append(turn_quarter(turned[-1]))
        pool = torch.cat(turned).flatten(1)
        shape = (len(centred), len(pool))
        weights = torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))
        drawn.append((weights @ pool / len(pool) ** 0.5).unflatten(1, centred.shape[1:]))
    return torch.cat(drawn)


def turn_quarter(images: Tensor) -> Tensor:
    """Turn images `(..., N, N)` by 90 degrees about pixel (N // 2, N // 2), N even, from +x to +y.

    Row and column 0 have no counterpart at the other edge: those of the result are 0.
    """
    turned = torch.zeros_like(images)
    turned[..., 1:, 1:] = images[..., 1:, 1:].transpose(-1, -2).flip(-1)
    return turned
