"""The loss of a training step, and the error of validation images."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf import apply_ctf
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.networks.denoiser import Denoiser
from polardenoise.engine.runtime.devices import mixed_precision
from polardenoise.engine.train.recipe import FLOOR_SNR
from polardenoise.engine.train.simulated_sets import TrainingBatch

#: From a network, a batch and the precision of the convolutions to the scalar that a step makes smaller.
Objective = Callable[[Denoiser, TrainingBatch, torch.dtype], Tensor]


def measure_objective(
    model: Denoiser, batch: TrainingBatch, precision: torch.dtype, floor_snr: float = FLOOR_SNR
) -> Tensor:
    """Denoise a batch and measure the loss; of several passes each counts twice as much as the one before."""
    ctf_rings = batch.average_ctf_rings()
    with mixed_precision(batch.noisy.device, precision):
        estimates = model.denoise_by_passes(batch.noisy, ctf_rings)
    losses = torch.stack([measure_loss(one.float(), batch, floor_snr) for one in estimates])
    shares = 2.0 ** torch.arange(len(losses), device=losses.device)
    return losses @ (shares / shares.sum())


def measure_loss(estimate: Tensor, batch: TrainingBatch, floor_snr: float = FLOOR_SNR) -> Tensor:
    """Average the losses of the CTF-free estimate and of the estimate as the microscope would have seen it.

    With a CTF nine tenths of a particle's energy lie where amplitude contrast alone carries them; the first loss would
    be about little else. The second is what `--ctf-output kept` is judged by. Without a CTF they are one.
    """
    seen = apply_ctf(estimate, batch.abs_ctf), apply_ctf(batch.clean, batch.abs_ctf)
    carried = relative_loss(*seen, floor_snr)
    return 0.5 * (relative_loss(estimate, batch.clean, floor_snr) + carried)


def relative_loss(estimate: Tensor, clean: Tensor, floor_snr: float = FLOOR_SNR) -> Tensor:
    """Mean over sets of the squared error on the disk of radius `N / 2 - 1`, relative to signal plus a little noise.

    Parameters
    ----------
    estimate, clean : Tensor
        `(sets, images, N, N)` in units of the noise.
    floor_snr : float
        SNR of the little noise.

    Returns
    -------
    Tensor
        Scalar. Relative to the set's energy, so that a high SNR does not outweigh a low one; with the floor, a small
        molecule in noise, whose relative error can be anything at first, does not drive the whole training either.
    """
    disk = disk_mask(clean.shape[-1], clean.shape[-1] / 2 - 1, clean.device)
    error = ((estimate - clean) * disk).square().sum((-3, -2, -1))
    energy = (clean * disk).square().sum((-3, -2, -1))
    floor = floor_snr * disk.sum() * clean.shape[-3]
    return (error / (energy + floor)).mean()


@torch.no_grad()
def measure_validation(model: Denoiser, validation: TrainingBatch, precision: torch.dtype) -> float:
    """Relative MSE of all validation images together."""
    model.eval()
    device = next(model.parameters()).device
    error = energy = 0.0
    disk = disk_mask(validation.clean.shape[-1], validation.clean.shape[-1] / 2 - 1, device)
    ctf_rings = validation.average_ctf_rings()
    for noisy, clean, rings in zip(validation.noisy, validation.clean, ctf_rings, strict=True):
        with mixed_precision(device, precision):
            estimate = model(noisy[None].to(device), rings[None].to(device))[0].float()
        error += float(((estimate - clean.to(device)) * disk).square().sum())
        energy += float((clean.to(device) * disk).square().sum())
    model.train()
    return error / energy if energy > 0 else math.nan
