"""The images that a report of `denoise` shows: particles before and after, and what was taken from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.denoise.preparation import Preparation
from polardenoise.engine.imaging.ctf import apply_ctf, phase_flip
from polardenoise.engine.imaging.polar_grid import disk_mask
from polardenoise.engine.imaging.rings import ring_power
from polardenoise.engine.particles.mrc import read_images_at, read_stack_header
from polardenoise.engine.particles.particle_set import read_images
from polardenoise.engine.particles.preprocessing import compute_working_ctf, resample

#: Values of images of the output that are brought to the working box at once.
VALUES_AT_ONCE = 2**22


@dataclass(frozen=True)
class Gallery:
    """Some particles in the units and the box of the output.

    Attributes
    ----------
    rows : ndarray
        `(m,)` in ascending order, from 0.
    noisy, denoised : ndarray
        `(m, box, box)`.
    residual : ndarray
        `(m, box, box)` noisy less denoised; less the estimate with its CTF where the output is without.
    """

    rows: np.ndarray
    noisy: np.ndarray
    denoised: np.ndarray
    residual: np.ndarray


def pick_rows(count: int, most: int, seed: int) -> np.ndarray:
    """Pick at most `most` of `count` rows at random, ascending."""
    generator = np.random.default_rng([seed, 11])
    return np.sort(generator.choice(count, min(most, count), replace=False))


def read_denoised(stack: Path, rows: np.ndarray) -> Tensor:
    """Read images `(m, box, box)` of ascending rows of a complete stack."""
    parts = [images for _, images in read_images_at(read_stack_header(stack), rows)]
    return torch.from_numpy(np.concatenate(parts).astype(np.float32))


def take_gallery(job: Job, stack: Path, rows: np.ndarray) -> Gallery:
    """Take particles before and after from the input and the complete stack of the output."""
    noisy = torch.from_numpy(read_images(job.particles, rows))
    if job.box != job.particles.box:
        noisy = resample(noisy, job.box)
    denoised = read_denoised(stack, rows)
    observed = denoised
    handling = job.handling
    if handling.ctf_state != "none" and not handling.keeps_ctf:
        ctf = compute_working_ctf(job.particles, rows, handling, noisy.device)
        working = resample(denoised, handling.box)
        working = apply_ctf(working, ctf if handling.ctf_state == "raw" else ctf.abs())
        observed = resample(working, job.box)
    return Gallery(rows, noisy.numpy(), denoised.numpy(), (noisy - observed).numpy())


def take_working(
    job: Job, preparation: Preparation, stack: Path, rows: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Take the working images of rows and their estimates, as the network compares them; coloured noise is so again.

    Returns
    -------
    tuple of Tensor
        `(m, box, box)` in the working box, protein bright, background 0, noise 1, both with the absolute CTF.
    """
    noisy, _ = preparation.scratch.read_with_ctf_rings(rows)
    noisy = preparation.colours.undo(noisy, job.halves[rows])  # the noise as it is
    units = preparation.units[torch.from_numpy(rows)]
    at_once = max(1, VALUES_AT_ONCE // job.box**2)
    parts = np.split(rows, range(at_once, len(rows), at_once))
    working = [resample(read_denoised(stack, some), job.handling.box) for some in parts]
    estimates = torch.cat(working) / units[:, None, None]
    handling = job.handling
    if handling.ctf_state != "none":
        ctf = compute_working_ctf(job.particles, rows, handling, estimates.device)
        if not handling.keeps_ctf:
            estimates = apply_ctf(estimates, ctf.abs())
        elif handling.ctf_state == "raw":
            estimates = phase_flip(estimates, ctf)
    return noisy, estimates


@dataclass(frozen=True)
class Residual:
    """What denoising has taken away, on average.

    Attributes
    ----------
    mean : ndarray
        `(box, box)` mean of noisy less estimate, in standard deviations of the noise.
    of_mean : ndarray
        `(box // 2,)` power of `mean` by ring, times the number of images, over the noise's: 1 if only noise is in it.
    of_each : ndarray
        `(box // 2,)` mean power of single residuals by ring over the noise's.
    count : int
        Images.
    """

    mean: np.ndarray
    of_mean: np.ndarray
    of_each: np.ndarray
    count: int


def measure_residual(noisy: Tensor, estimates: Tensor) -> Residual:
    """Measure the residual of images inside the disk against the noise outside it.

    Parameters
    ----------
    noisy, estimates : Tensor
        `(m, box, box)` from `take_working`. The spectrum of the noise is taken from the corners outside the disk of
        radius `box / 2`, so that coloured noise is no structure.
    """
    box = noisy.shape[-1]
    inside, outside = disk_mask(box, box / 2 - 1), ~disk_mask(box, box / 2)
    residual = noisy - estimates
    mean = residual.mean(0)
    noise = ring_power(noisy, outside).mean(0).clamp_min(1e-12)
    return Residual(
        (mean * inside).numpy(),
        (ring_power(mean, inside) * len(noisy) / noise).numpy(),
        (ring_power(residual, inside).mean(0) / noise).numpy(),
        len(noisy),
    )
