"""What a finished run has taken from its particles, on average: noise alone has nothing that both halves show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.denoise.preparation import Preparation
from polardenoise.engine.imaging.ctf import apply_ctf, phase_flip
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.rings import ring_index
from polardenoise.engine.particles.mrc import read_images_at, read_stack_header
from polardenoise.engine.particles.preprocessing import compute_working_ctf, resample

#: Values of images of the output that are brought to the working box at once.
VALUES_AT_ONCE = 2**22
#: Particles whose residuals are averaged, chosen at random, and how many of a half tell anything.
AVERAGED, FEWEST = 500, 50
#: The lowest ring of frequencies that counts: below, the offset of the background is all there is.
LOWEST_RING = 2
#: What is said: a share of at least a tenth that is four times its error, or mean residuals that correlate by half.
#: Simulated sets have shares of -7 to 5 % within two errors, real apoferritin 17 to 24 % (docs/null_test.rst).
LEAST_SHARE, ERRORS, LEAST_CORRELATION = 0.1, 4.0, 0.5


def pick_rows(count: int, most: int, seed: int) -> np.ndarray:
    """Pick at most `most` of `count` rows at random, ascending."""
    generator = np.random.default_rng([seed, 11])
    return np.sort(generator.choice(count, min(most, count), replace=False))


def read_denoised(stack: Path, rows: np.ndarray) -> Tensor:
    """Read images `(m, box, box)` of ascending rows of a complete stack."""
    parts = [images for _, images in read_images_at(read_stack_header(stack), rows)]
    return torch.from_numpy(np.concatenate(parts).astype(np.float32))


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
class AveragedImages:
    """The particles whose residuals are averaged, each image once, before and after.

    Attributes
    ----------
    rows : ndarray
        `(m,)` ascending, at most `AVERAGED`, chosen at random.
    noisy, estimates : Tensor
        `(m, box, box)` as `take_working` gives them.
    """

    rows: np.ndarray
    noisy: Tensor
    estimates: Tensor


def take_averaged(job: Job, preparation: Preparation, stack: Path) -> AveragedImages:
    """Take the particles whose residuals are averaged, of a complete stack."""
    once = job.shared.first_row
    rows = once[pick_rows(len(once), AVERAGED, job.plan.seed)]
    return AveragedImages(rows, *take_working(job, preparation, stack, rows))


@dataclass(frozen=True)
class CommonResidual:
    """What the mean residuals of two halves, which share no noise, have in common.

    Attributes
    ----------
    correlation : float
        Of the two mean residuals, from ring `LOWEST_RING` to half of Nyquist: 0 up to chance if only noise was taken.
    share : float
        Of what the halves' mean noisy images have in common, how much is in the residuals: above 0 it was lost from the
        estimates, below 0 they have more of it than the images.
    error : float
        Standard deviation of the share, from what the mean residuals of the halves do not have in common.
    images : int
        How many were averaged.
    """

    correlation: float
    share: float
    error: float
    images: int

    @property
    def is_large(self) -> bool:
        """Whether it is to be said."""
        certain = abs(self.share) > max(LEAST_SHARE, ERRORS * self.error)
        return certain or self.correlation > LEAST_CORRELATION


def measure_common_residual(
    noisy: Tensor, estimates: Tensor, halves: np.ndarray
) -> CommonResidual | None:
    """Measure what the mean residuals of two halves have in common.

    Parameters
    ----------
    noisy, estimates : Tensor
        `(m, box, box)` from `take_working`; they need no alignment: a ring or disk about the centre stays.
    halves : ndarray
        `(m,)` the half of each.

    Returns
    -------
    CommonResidual or None
        None where there are not two halves of at least `FEWEST` images.
    """
    parts = [torch.from_numpy(np.flatnonzero(halves == half)) for half in np.unique(halves)]
    if len(parts) != 2 or min(map(len, parts)) < FEWEST:
        return None
    box = noisy.shape[-1]
    inside, rings = disk_mask(box, box / 2 - 1), ring_index(box)
    counted = (rings >= LOWEST_RING) & (rings < box // 4)

    def transform_mean(images: Tensor, part: Tensor) -> Tensor:
        return torch.fft.rfft2(images[part].mean(0) * inside)[counted]

    def multiply(one: Tensor, other: Tensor) -> float:
        return float((one * other.conj()).real.sum())

    taken = [transform_mean(noisy - estimates, part) for part in parts]
    shown = [transform_mean(noisy, part) for part in parts]
    power = multiply(taken[0], taken[0]) * multiply(taken[1], taken[1])
    common = multiply(*shown)
    if power <= 0 or common <= 0:
        return None
    share = (multiply(taken[0], shown[1]) + multiply(taken[1], shown[0])) / (2 * common)
    # Noise of a Fourier pixel of one mean residual, half of it real, against the other half's mean image.
    noise = float((taken[0] - taken[1]).abs().square().mean()) / 2
    strength = multiply(shown[0], shown[0]) + multiply(shown[1], shown[1])
    error = (noise / 2 * strength) ** 0.5 / (2 * common)
    return CommonResidual(multiply(*taken) / power**0.5, share, error, len(noisy))


def state_residual(averaged: AveragedImages, halves: np.ndarray) -> dict[str, Any] | None:
    """State for the provenance what mean residuals have in common; None where that cannot be told.

    `halves` are those of all rows, `(n,)`.
    """
    found = measure_common_residual(averaged.noisy, averaged.estimates, halves[averaged.rows])
    if found is None:
        return None
    return {
        "correlation": found.correlation,
        "share": found.share,
        "share_error": found.error,
        "images": found.images,
        "said": word_residual(found),
    }


def word_residual(found: CommonResidual) -> str:
    """Say what was taken away besides noise; empty where there is nothing to say."""
    if not found.is_large:
        return ""
    what = "lost from" if found.share > 0 else "added to"
    return (
        "what was taken away is not noise alone: the mean residuals of the halves agree (correlation "
        f"{found.correlation:.2f}), and {abs(found.share):.0%} of what their mean images show about the centre was "
        f"{what} the estimates"
    )
