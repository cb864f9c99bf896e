"""What denoising has taken away, as a map: the residuals put together at the poses that the particles have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polardenoise.counts import word_count
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.imaging.backprojection import drop_low_shells, reconstruct_map
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.fsc import fourier_shell_correlation
from polardenoise.engine.particles.preprocessing import compute_working_ctf
from polardenoise.engine.report.html import Section, make_picture, make_threes
from polardenoise.engine.runtime.progress import Progress

#: Fewer particles of a half than this make no map.
FEWEST = 4
#: So much of what the particles have in common in the residual stands at the top of the page, too. Simulated particles
#: at SNR 0.05, 150 of a half, leave a third.
LARGE_SHARE = 0.25


@dataclass(frozen=True)
class ResidualMap:
    """Maps of some particles, before, after, and of what was taken from them.

    Attributes
    ----------
    noisy, denoised, residual : Tensor
        `(N, N, N)`, means of the maps of both halves.
    left : float
        How much of what the halves' noisy maps have in common is in the residual: 0 if only noise was taken away, 1 if
        the estimates hold nothing of it.
    correlation : ndarray
        `(N // 2 + 1,)` Fourier shell correlation of the halves' maps of the residual.
    """

    noisy: Tensor
    denoised: Tensor
    residual: Tensor
    left: float
    correlation: np.ndarray


def reconstruct_residual(
    noisy: Tensor, estimates: Tensor, transfer: Tensor, angles: Tensor, halves: np.ndarray
) -> ResidualMap | None:
    """Reconstruct particles, their estimates and the difference.

    Parameters
    ----------
    noisy, estimates : Tensor
        `(n, N, N)`, the molecule in the centre, with the CTFs `transfer`, `(n, N, N // 2 + 1)`.
    angles : Tensor
        `(n, 3)` rot, tilt, psi in degrees.
    halves : ndarray
        `(n,)` the half of each particle.

    Returns
    -------
    ResidualMap or None
        None where there are not two halves of at least `FEWEST` particles.
    """
    parts = [torch.from_numpy(np.flatnonzero(halves == half)) for half in np.unique(halves)]
    if len(parts) != 2 or min(len(part) for part in parts) < FEWEST:
        return None
    with Progress("maps of the report", 4, "maps") as progress:

        def reconstruct(images: Tensor, part: Tensor) -> Tensor:
            volume = reconstruct_map(images[part], transfer[part], angles[part])
            progress.advance(1)
            return volume

        before, after = (
            [reconstruct(images, part) for part in parts] for images in (noisy, estimates)
        )
    # A reconstruction is linear in its images.
    residual = [one - other for one, other in zip(before, after, strict=True)]
    first, second = (drop_low_shells(volume) for volume in before)
    taken = [drop_low_shells(volume) for volume in residual]
    # Noise of one half knows nothing of the other's: what is common to both is structure.
    common = 2 * (first * second).sum()
    left = ((taken[0] * second).sum() + (taken[1] * first).sum()) / common
    return ResidualMap(
        noisy=torch.stack(before).mean(0),
        denoised=torch.stack(after).mean(0),
        residual=torch.stack(residual).mean(0),
        left=float(left),
        correlation=fourier_shell_correlation(*residual),
    )


def find_residual_map(
    job: Job, rows: np.ndarray, noisy: Tensor, estimates: Tensor
) -> ResidualMap | None:
    """Make the maps of particles that have poses.

    Parameters
    ----------
    job : Job
        Of the run.
    rows : ndarray
        `(m,)` of the particles, from 0.
    noisy, estimates : Tensor
        `(m, box, box)` of them from `residual.take_working`.

    Returns
    -------
    ResidualMap or None
        None where the particles have no poses, or too few are in a half.
    """
    particles, box = job.particles, job.handling.box
    if not particles.has_poses or particles.angles is None or not np.any(particles.angles):
        return None
    pixel_size = particles.pixel_size[rows, None] * particles.box / box
    shifts = torch.from_numpy(particles.origins[rows] / pixel_size).float()
    transfer = torch.ones(len(rows), box, box // 2 + 1)
    if job.handling.ctf_state != "none":
        transfer = compute_working_ctf(particles, rows, job.handling, noisy.device).abs()
    return reconstruct_residual(
        shift_images(noisy, shifts),
        shift_images(estimates, shifts),
        transfer,
        torch.from_numpy(particles.angles[rows]),
        job.halves[rows],
    )


def doubt_residual_map(found: ResidualMap) -> list[str]:
    """Word that much of the particles is in the residual; as the `warnings` of a summary."""
    if found.left < LARGE_SHARE:
        return []
    return [
        f"{found.left:.0%} of what the particles have in common is not in the estimates, which are careful where the "
        "noise is strong (see What was taken away, as a map)"
    ]


def show_residual_map(found: ResidualMap, count: int) -> Section:
    """Show central slices of the maps of some particles."""
    box = found.noisy.shape[0]
    middle = box // 2
    white = float(found.noisy[middle].abs().max())
    panels = [
        make_picture(f"map_{name}", volume[middle].numpy(), f"map of {text}", (-white, white))
        for name, volume, text in (
            ("noisy", found.noisy, "the noisy images"),
            ("denoised", found.denoised, "the estimates"),
            ("residual", found.residual, "the residual"),
        )
    ]
    highest = float(found.correlation[4 : middle + 1].max())
    return Section(
        "What was taken away, as a map",
        f"Central slices, in common greys, of maps of {word_count(count, 'particle')} (at random; in the "
        f"network's box of {box} px, symmetry c1) at the poses that the STAR file gives them. The residual, noisy less "
        "estimate, should hold noise: structure in its map is signal that the estimates lack. Of what the noisy half "
        f"maps have in common, {found.left:.0%} is in the residual; its half maps correlate by up to {highest:.2f} "
        "from shell 4. Both are large where few particles were denoised together or the noise is strong: the estimates "
        "are then careful, not wrong. A map is made from the raw particles, which lack nothing.",
        make_threes(panels),
    )
