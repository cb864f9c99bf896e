"""Gates: what an adapted model has to show of images it was not learned from, and of noise, before a half gets it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.adapt.draws import NetworkSettings, denoise_cluster, measure_losses
from polardenoise.engine.adapt.recorruption import ClusterImages, NoisyPair
from polardenoise.engine.denoise.noise.guard import measure_energy
from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.rings import sum_rings
from polardenoise.engine.networks.polar_transformer import PolarTransformer

#: Standard errors by which the loss of images that were held out has to fall.
LEAST_ERRORS = 2.0
#: Share of a particle's energy that white noise may come out with. (Noise as coloured as that of real images comes out
#: with more of any model: 5 % of a particle's at SNR 0.25; it may come out with no more than before.)
MOST_NOISE = 0.01
#: Share by which the residuals outside the particles may change on a ring of frequencies.
MOST_CHANGE = 0.05
#: Rings below are the offset of the background.
LOWEST_RING = 2
#: Nothing is divided by less.
LEAST_ENERGY = 1e-12
#: Share of the energy of the mean square estimate within the radius that is taken for the particle's.
INSIDE = 0.95


@dataclass(frozen=True)
class Behaviour:
    """What a model makes of a half.

    Attributes
    ----------
    losses : Tensor
        `(m,)` of the images that were held out.
    noise, own_noise : float
        Mean energy of estimates of white noise, and of noise of the half's spectrum, per pixel, in its variances.
    particles : float
        The same of estimates of particles.
    residual : Tensor
        `(box // 2,)` power of the residuals outside the particles, by ring.
    """

    losses: Tensor
    noise: float
    own_noise: float
    particles: float
    residual: Tensor


@dataclass(frozen=True)
class Verdict:
    """Figures of the gates, and why the model is refused.

    Attributes
    ----------
    gain : float
        By how much the loss of images held out has fallen, in variances of the noise per pixel.
    gain_error : float
        Its standard error.
    error_share : float
        The gain over the model's own error before, as far as the loss tells it; 0.1: a tenth less error.
    noise_before, noise_after : float
        Energy of denoised white noise over that of denoised particles.
    own_noise_before, own_noise_after : float
        The same of noise of the half's spectrum.
    particle_energy : float
        Energy of denoised particles over what it was before; times this, the two `after` are shares of what it was.
    residual_change : float
        Largest change of the residuals' power outside the particles on a ring, as a share.
    refusals : tuple of str
        Empty where the model is taken.
    """

    gain: float
    gain_error: float
    error_share: float
    noise_before: float
    noise_after: float
    own_noise_before: float
    own_noise_after: float
    particle_energy: float
    residual_change: float
    refusals: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Give the figures as plain data for JSON."""
        return asdict(self)


def observe(
    model: PolarTransformer,
    clusters: list[ClusterImages],
    pairs: list[NoisyPair],
    held_out: list[np.ndarray],
    noise: tuple[list[ClusterImages], list[ClusterImages]],
    computing: NetworkSettings,
) -> Behaviour:
    """See what a model makes of the images of a half, and of as many of pure noise.

    Parameters
    ----------
    model : PolarTransformer
        Numbers, and K in `computing`, as they would be used.
    clusters, pairs, held_out : list
        The half's images, recorrupted, and the places of those that judge; the others are their company.
    noise : tuple
        Images without a particle: white noise, and noise of the half's spectrum.
    computing : NetworkSettings
        How networks are run.
    """
    losses, energies, residual = [], [], torch.zeros(pairs[0].seen.shape[-1] // 2)
    for cluster, pair, places in zip(clusters, pairs, held_out, strict=True):
        estimates = denoise_cluster(model, pair.seen, cluster, computing).undo_recentring().cpu()
        some = torch.from_numpy(places)
        losses.append(
            measure_losses(pair.scale * estimates[some], cluster.ctf_rings[some], pair.target[some])
        )
        energies.append(measure_energy(estimates, cluster.ctf_rings))
        residual += sum_residual_power(pair.seen, estimates, cluster.ctf_rings)
    white, coloured = (measure_noise(model, kind, computing) for kind in noise)
    return Behaviour(
        losses=torch.cat(losses),
        noise=white,
        own_noise=coloured,
        particles=float(torch.cat(energies).mean()),
        residual=residual,
    )


def measure_noise(
    model: PolarTransformer, noise: list[ClusterImages], computing: NetworkSettings
) -> float:
    """Measure with what mean energy images without a particle come out."""
    energies = []
    for empty in noise:
        estimates = denoise_cluster(model, empty.images, empty, computing).undo_recentring().cpu()
        energies.append(measure_energy(estimates, empty.ctf_rings))
    return float(torch.cat(energies).mean())


def sum_residual_power(images: Tensor, estimates: Tensor, ctf_rings: Tensor) -> Tensor:
    """Sum the power of the residuals of images by ring, `(box // 2,)`, where the particles are not.

    Outside the smallest disk that holds `INSIDE` of the estimates' energy, or in the outer tenth where that is all.
    """
    box = images.shape[-1]
    seen = filter_by_rings(estimates, ctf_rings)
    window = disk_mask(box, box / 2 - 1).float() - disk_mask(box, find_radius(seen)).float()
    residuals = torch.fft.rfft2((images - seen) * window)
    return sum_rings(residuals, residuals)[: box // 2]


def find_radius(estimates: Tensor) -> float:
    """Find the radius of the disk that holds `INSIDE` of the energy of all estimates, pixels; it leaves a rim free."""
    box = estimates.shape[-1]
    energy = estimates.square().mean(0)
    radii = torch.arange(2, round(0.45 * box))
    within = torch.stack([(energy * disk_mask(box, float(one))).sum() for one in radii])
    enough = torch.nonzero(within >= INSIDE * energy.sum()).flatten()
    return float(radii[int(enough[0]) if len(enough) else -1])


def judge(before: Behaviour, after: Behaviour, constant: float) -> Verdict:
    """Compare what two models make of the same images.

    Parameters
    ----------
    before, after : Behaviour
        Of the model as it was, and as it is adapted.
    constant : float
        What the noise of the targets adds to every loss, per pixel.
    """
    gains = before.losses - after.losses
    gain = float(gains.mean())
    error = float(gains.std() / len(gains) ** 0.5) if len(gains) > 1 else float("inf")
    own_error = float(before.losses.mean()) - constant
    old_energy, new_energy = (max(one.particles, LEAST_ENERGY) for one in (before, after))
    counted = slice(LOWEST_RING, None)
    change = float((after.residual[counted] / before.residual[counted] - 1).abs().max())
    refusals = []
    if not gain > LEAST_ERRORS * error:
        refusals.append(
            f"the loss of the images held out falls by {gain:.2g}, with a standard error of {error:.2g}"
        )
    if after.noise > MOST_NOISE * new_energy:
        share = after.noise / new_energy
        refusals.append(f"white noise comes out with {share:.1%} of a particle's energy")
    for what, old, new in (
        ("white noise", before.noise, after.noise),
        ("noise like its own", before.own_noise, after.own_noise),
    ):
        if new > old:
            was, now = word_shares(old / old_energy, new / old_energy)
            refusals.append(
                f"more of {what} comes out than before: {was} before, {now} now, of the energy that a particle had "
                "before"
            )
    if not change <= MOST_CHANGE:
        refusals.append(f"residuals outside the particles change by {change:.0%} on a ring")
    return Verdict(
        gain=gain,
        gain_error=error,
        error_share=gain / own_error if own_error > 0 else 0.0,
        noise_before=before.noise / old_energy,
        noise_after=after.noise / new_energy,
        own_noise_before=before.own_noise / old_energy,
        own_noise_after=after.own_noise / new_energy,
        particle_energy=new_energy / old_energy,
        residual_change=change,
        refusals=tuple(refusals),
    )


def word_shares(one: float, other: float) -> tuple[str, str]:
    """Word two shares that differ in percent, with as many digits as show that they do, two at least."""
    for digits in range(2, 17):
        words = tuple(f"{100 * share:#.{digits}g}" for share in (one, other))
        if words[0] != words[1]:
            break
    return f"{words[0]}%", f"{words[1]}%"
