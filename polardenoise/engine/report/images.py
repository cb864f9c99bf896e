"""The images that a report of `denoise` shows: particles before and after, and what was taken from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.noise.guard import FAINT
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.denoise.residual import LOWEST_RING, read_denoised
from polardenoise.engine.imaging.ctf import apply_ctf
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.rings import ring_power
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.preprocessing import compute_working_ctf, resample

#: What rounding, and resampling to the box of the output and back, may add to the strength of a faint image.
JUST_ABOVE = 1.05


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


def find_faint(noisy: Tensor, estimates: Tensor) -> np.ndarray:
    """Tell which images `(m, box, box)` of `residual.take_working` were taken for noise, `(m,)` bool.

    Their raw image was delivered, scaled down by `noise.guard.FAINT`; a CTF has made it weaker still. An estimate that
    is shown has several times as much.
    """
    disk = disk_mask(noisy.shape[-1], noisy.shape[-1] / 2 - 0.5)
    strength = [(images * disk).square().sum((1, 2)).sqrt() for images in (estimates, noisy)]
    return (strength[0] <= JUST_ABOVE * FAINT * strength[1]).numpy()


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

    @property
    def low_power(self) -> float:
        """Mean of `of_mean` from ring `LOWEST_RING` to half of Nyquist."""
        return float(np.mean(self.of_mean[LOWEST_RING : len(self.of_mean) // 2]))


def measure_residual(noisy: Tensor, estimates: Tensor) -> Residual:
    """Measure the residual of images inside the disk against the noise outside it.

    Parameters
    ----------
    noisy, estimates : Tensor
        `(m, box, box)` from `residual.take_working`. The spectrum of the noise is taken from the corners outside the
        disk of radius `box / 2`, so that coloured noise is no structure.
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
