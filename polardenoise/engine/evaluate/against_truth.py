"""How close denoised images come to the truth: relative error and ring correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf import apply_ctf, compute_ctf
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.frc import fourier_ring_correlation
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.set_checks import (
    CTF_FREE_STATES,
    check_match,
)
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.progress import Progress

BYTES_READ_AT_ONCE = 8 * 2**20


@dataclass(frozen=True)
class Comparison:
    """Sums over the images compared so far; two of them add up.

    Parameters
    ----------
    residual, estimate_power, truth_power, product : float
        `sum |e - t|^2`, `sum |e|^2`, `sum |t|^2` and `sum e t` over the pixels of the disk.
    ring_correlation : Tensor
        `(N // 2 + 1,)` float64: the images' Fourier ring correlations, summed.
    count : int
        Images.
    """

    residual: float
    estimate_power: float
    truth_power: float
    product: float
    ring_correlation: Tensor
    count: int

    def __add__(self, other: Comparison) -> Comparison:
        """Join the sums over two lots of images."""
        return Comparison(
            self.residual + other.residual,
            self.estimate_power + other.estimate_power,
            self.truth_power + other.truth_power,
            self.product + other.product,
            self.ring_correlation + other.ring_correlation,
            self.count + other.count,
        )

    def relative_mse(self) -> float:
        """Give `sum |e - t|^2 / sum |t|^2`."""
        return self.residual / self.truth_power

    def relative_mse_scaled(self) -> float:
        """Give the relative error after the one global scale that makes it smallest."""
        if self.estimate_power == 0:
            return 1.0
        explained = self.product**2 / (self.estimate_power * self.truth_power)
        return max(1.0 - explained, 0.0)

    def mean_ring_correlation(self) -> np.ndarray:
        """Give the mean over images of the ring correlation, `(N // 2 + 1,)`."""
        return (self.ring_correlation / self.count).cpu().numpy()


def compare_images(estimate: Tensor, truth: Tensor, radius: float | None = None) -> Comparison:
    """Compare images with their truth on a disk about the centre.

    Parameters
    ----------
    estimate, truth : Tensor
        `(n, N, N)` in the same order and units.
    radius : float | None
        Of the disk, pixels; without one `N / 2 - 1`. A disk that cuts through the molecule puts the same edge into
        both images, which raises the ring correlation.

    Returns
    -------
    Comparison
        Of these images.
    """
    estimate, truth = (cut_out_disk(images, radius) for images in (estimate, truth))
    return Comparison(
        float((estimate - truth).square().sum()),
        float(estimate.square().sum()),
        float(truth.square().sum()),
        float((estimate * truth).sum()),
        fourier_ring_correlation(estimate, truth).sum(0),
        len(truth),
    )


def relative_mse(estimate: Tensor, truth: Tensor) -> float:
    """Give the squared error relative to the truth's power, on the disk of radius `N / 2 - 1`.

    Parameters
    ----------
    estimate, truth : Tensor
        `(n, N, N)` in the same order and units.

    Returns
    -------
    float
        `sum |estimate - truth|^2 / sum |truth|^2`: sums over all images, so that strong ones weigh more.
    """
    estimate, truth = (cut_out_disk(images) for images in (estimate, truth))
    return float((estimate - truth).square().sum() / truth.square().sum())


def cut_out_disk(images: Tensor, radius: float | None = None) -> Tensor:
    """Set `(n, N, N)` images to 0 outside a disk of `radius` pixels, without one `N / 2 - 1`; float64."""
    box = images.shape[-1]
    mask = disk_mask(box, box / 2 - 1 if radius is None else radius, images.device)
    return images.to(torch.float64) * mask


def compare_particles(
    particles: ParticleSet, truth: ParticleSet, stage: str, radius: float | None = None
) -> Comparison:
    """Compare a particle set with its truth, row by row, in the CTF state of the set.

    Parameters
    ----------
    particles : ParticleSet
        Denoised or noisy images.
    truth : ParticleSet
        Their truth in the same order, as a rule free of the CTF: it is then multiplied by each particle's own
        CTF (raw images) or its absolute value (phase-flipped ones) first.
    stage : str
        Name of the progress lines.
    radius : float | None
        Of the disk that is compared, pixels, as for `compare_images`.

    Returns
    -------
    Comparison
        Over all particles; memory does not depend on their number.

    Raises
    ------
    InputError
        If the sets do not match, or the truth has nothing in it.
    """
    check_match(particles, truth)
    kind = _transfer_for_truth(particles, truth)
    box, count = particles.box, len(particles)
    at_once = max(BYTES_READ_AT_ONCE // (8 * box * box), 1)
    total: Comparison | None = None
    with Progress(stage, count) as progress:
        for start in range(0, count, at_once):
            rows = np.arange(start, min(start + at_once, count))
            target = truth_as_observed(particles, truth, rows, kind)
            images = torch.from_numpy(read_images(particles, rows))
            part = compare_images(images, target, radius)
            total = part if total is None else total + part
            progress.advance(len(rows))
    if total is None or total.truth_power == 0:
        raise InputError(f"{truth.star_path}: the truth is zero everywhere on the disk")
    return total


def truth_as_observed(
    particles: ParticleSet, truth: ParticleSet, rows: np.ndarray, kind: str | None = None
) -> Tensor:
    """Read truth images and give them the CTF that the particles' images carry.

    Parameters
    ----------
    particles, truth : ParticleSet
        As for `compare_particles`.
    rows : ndarray
        `(m,)`, from 0.
    kind : str | None
        What to multiply by, where it is known already.

    Returns
    -------
    Tensor
        `(m, N, N)` float32.
    """
    images = torch.from_numpy(read_images(truth, rows))
    kind = _transfer_for_truth(particles, truth) if kind is None else kind
    if kind == "nothing":
        return images
    assert particles.ctf is not None
    index = torch.from_numpy(rows)
    pixel_size = torch.from_numpy(particles.pixel_size[rows])
    transfer = compute_ctf(particles.ctf.select(index), pixel_size, particles.box)
    if kind == "absolute":
        transfer = transfer.abs()
    elif kind == "sign":
        transfer = torch.where(transfer < 0, -1.0, 1.0)
    return apply_ctf(images, transfer)


def _transfer_for_truth(particles: ParticleSet, truth: ParticleSet) -> str:
    """Name what the truth's transforms are multiplied by: `nothing`, `signed`, `absolute` or `sign`."""
    state, truth_state = particles.ctf_state, truth.ctf_state
    if truth_state in CTF_FREE_STATES:
        return {"raw": "signed", "flipped": "absolute"}.get(state, "nothing")
    if state in CTF_FREE_STATES:
        raise InputError(
            f"{truth.star_path}: the truth carries its CTF ({truth_state}), the images of "
            f"{particles.star_path} do not ({state}); give a truth without CTF (no defocus columns)"
        )
    return "nothing" if state == truth_state else "sign"
