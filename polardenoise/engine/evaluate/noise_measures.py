"""What is asked of anything that denoises, once it has been given images in which there is nothing but noise.

How much energy comes out, beside what comes out of particles of the same noise; how far two half maps of noise at
random poses agree; how far they agree, and how much of the reference they show, once the noise has been aligned to a
reference ("Einstein from noise", which raw noise shows too: Henderson, PNAS 110, 18037, 2013); and what is left in the
residual, raw minus denoised, of noise and of particles. The mean image of a half is no evidence of a molecule, but
every pose carries it into the map: the curves are computed without it, and with it beside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.evaluate.noise_bars import (
    ALIKE,
    POSE_DRAWS,
    judge,
    list_warnings,
    word_checks,
)
from polardenoise.engine.evaluate.noise_images import Conditions, draw_alike
from polardenoise.engine.evaluate.reference_alignment import align_to_reference
from polardenoise.engine.imaging.ctf import apply_ctf
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.imaging.fsc import fourier_shell_correlation
from polardenoise.engine.imaging.projections import (
    VolumeTransform,
    prepare_volume,
    take_projections,
)
from polardenoise.engine.imaging.rings import ring_power
from polardenoise.engine.reconstruct.half_maps import (
    highest_correlation,
    mean_correlation,
    measure_amplitude,
    reconstruct_noise,
    subtract_means,
)
from polardenoise.engine.runtime.progress import Progress
from polardenoise.engine.simulate.sources import Density

SNR = 0.02

#: Denoises images with the CTFs of the conditions into CTF-free estimates, `(n, N, N)` both, halves apart.
Denoise = Callable[[Tensor, Conditions], Tensor]

#: Images `(n, N, N)` and their Euler angles `(n, 3)`, by "poses/images".
Posed = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class NullTest:
    """What came of a null test.

    Attributes
    ----------
    summary : dict
        As `measure_null` says.
    slices : dict
        Central slices `(N, N)` of maps, normal to z, by "poses/images"; "reference" is that of the molecule.
    """

    summary: dict[str, Any]
    slices: dict[str, np.ndarray]


def examine_denoiser(
    denoise: Denoise, conditions: Conditions, reference: Density, generator: np.random.Generator
) -> NullTest:
    """Test whatever denoises images on pure noise.

    Parameters
    ----------
    denoise : callable
        See `Denoise`.
    conditions : Conditions
        Of the images.
    reference : Density
        What noise is aligned to, and what the particles show that it is compared with.
    generator : numpy.random.Generator
        Draws noise and poses.

    Returns
    -------
    NullTest
        As `measure_null`.
    """
    images = make_images(denoise, conditions, reference, generator)
    box, transfer = conditions.box, images.transfer
    noise, particles = pose_images(images, generator)
    other_poses = [draw_orientations(conditions.count, generator) for _ in range(POSE_DRAWS - 1)]
    pairs = 2 * len(noise) + len(particles) + 2 * len(other_poses)
    with Progress("half maps", pairs, "pairs") as progress:

        def reconstruct(shown: Tensor, angles: Tensor) -> list[Tensor]:
            both = reconstruct_noise(shown, transfer, angles)
            progress.advance(1)
            return both

        with_mean = {
            name: reconstruct(shown, angles)
            for name, (shown, angles) in (noise | particles).items()
        }
        without = {name: subtract_means(shown, transfer) for name, (shown, _) in noise.items()}
        halves = with_mean | {
            name: reconstruct(without[name], angles) for name, (_, angles) in noise.items()
        }
        curves = {name: fourier_shell_correlation(*both) for name, both in halves.items()}
        for name in ("random/raw", "random/denoised"):
            others = [
                fourier_shell_correlation(*reconstruct(without[name], drawn))
                for drawn in other_poses
            ]
            curves[name] = np.mean([curves[name], *others], axis=0)
    curves_with_mean = {name: fourier_shell_correlation(*with_mean[name]) for name in noise}
    volumes = {name: (one + other) / 2 for name, (one, other) in halves.items()}
    summary = {
        "images": conditions.count,
        "box": box,
        "pixel_size": conditions.pixel_size,
        "ctf": conditions.ctf is not None,
        **measure_energy(images),
        **state_curves(curves, curves_with_mean),
        "amplitude": {
            name: measure_amplitude(one, images.molecule) for name, one in volumes.items()
        },
        "power_to_noise": measure_power(images),
    }
    bars = judge(summary)
    slices = {name: volume[box // 2].numpy() for name, volume in volumes.items()}
    slices["reference"] = images.molecule[box // 2].numpy()
    judged = {
        "bars": bars,
        "checks": word_checks(bars),
        "warnings": list_warnings(bars, conditions.count),
    }
    return NullTest(summary | judged, slices)


@dataclass(frozen=True)
class NoiseImages:
    """Noise, and particles of the same noise, before and after.

    Attributes
    ----------
    transform : Tensor
        Of the reference, see `prepare_volume`; `molecule` is its volume at the scale of the particles.
    poses : Tensor
        `(n, 3)` of the particles, degrees.
    transfer : Tensor
        `(n, N, N // 2 + 1)` the CTFs, or 1.
    seen : Tensor
        `(n, N, N)` the particles without noise.
    raw, noisy : Tensor
        `(n, N, N)` noise, and particles with other noise.
    estimates, denoised : Tensor
        `(n, N, N)` of the noise: without and with the CTF.
    denoised_particles : Tensor
        `(n, N, N)` of the particles, with the CTF.
    """

    transform: VolumeTransform
    molecule: Tensor
    poses: Tensor
    transfer: Tensor
    seen: Tensor
    raw: Tensor
    noisy: Tensor
    estimates: Tensor
    denoised: Tensor
    denoised_particles: Tensor


def make_images(
    denoise: Denoise, conditions: Conditions, reference: Density, generator: np.random.Generator
) -> NoiseImages:
    """Draw noise and particles, and denoise both; parameters as of `examine_denoiser`."""
    box, count, transfer = conditions.box, conditions.count, conditions.compute_transfer()
    transform = prepare_volume(reference.volume)
    poses = draw_orientations(count, generator)
    seen = apply_ctf(take_projections(transform, poses), transfer)
    scale = (SNR / seen.square().mean()).sqrt()
    seen, molecule = seen * scale, reference.volume * scale
    raw = torch.from_numpy(generator.standard_normal((count, box, box), dtype=np.float32))
    noisy = seen + torch.from_numpy(generator.standard_normal(raw.shape, dtype=np.float32))
    print("pure noise, first:", flush=True)
    estimates = denoise(raw, conditions)
    print("particles in such noise, to compare with:", flush=True)
    denoised_particles = denoise(noisy, conditions)
    return NoiseImages(
        transform=transform,
        molecule=molecule,
        poses=poses,
        transfer=transfer,
        seen=seen,
        raw=raw,
        noisy=noisy,
        estimates=estimates,
        denoised=apply_ctf(estimates, transfer),
        denoised_particles=apply_ctf(denoised_particles, transfer),
    )


def pose_images(images: NoiseImages, generator: np.random.Generator) -> tuple[Posed, Posed]:
    """Give noise, at random poses and aligned to the reference, and particles at their poses, by "poses/images"."""
    alike = apply_ctf(draw_alike(images.estimates, generator), images.transfer)
    seed = int(generator.integers(2**31))  # all are aligned to the same views
    kinds = {"raw": images.raw, "denoised": images.denoised, "alike": alike}
    with Progress("align noise to a reference", sum(map(len, kinds.values()))) as progress:
        aligned = {
            name: align_to_reference(
                shown,
                images.transfer,
                images.transform,
                np.random.default_rng(seed),
                progress.advance,
            )
            for name, shown in kinds.items()
        }
    noise = {
        "random/raw": (images.raw, images.poses),
        "random/denoised": (images.denoised, images.poses),
        "random/residual": (images.raw - images.denoised, images.poses),
        "aligned/raw": (images.raw, aligned["raw"]),
        "aligned/denoised": (images.denoised, aligned["denoised"]),
        f"aligned/{ALIKE}": (alike, aligned["alike"]),
        "aligned on denoised/raw": (images.raw, aligned["denoised"]),
    }
    particles = {
        "true/noisy particles": (images.noisy, images.poses),
        "true/denoised particles": (images.denoised_particles, images.poses),
        "true/residual of particles": (images.noisy - images.denoised_particles, images.poses),
    }
    return noise, particles


def measure_energy(images: NoiseImages) -> dict[str, Any]:
    """Measure the mean squared pixels in the disk, of noise and of particles, before and after."""
    inside = disk_mask(images.raw.shape[-1], images.raw.shape[-1] / 2 - 1)
    energy = {
        name: float((shown * inside).square().mean())
        for name, shown in (
            ("noise", images.raw),
            ("noise_denoised", images.denoised),
            ("particle", images.seen),
            ("particle_denoised", images.denoised_particles),
        )
    }
    return {
        "energy": energy,
        "energy_to_particle": energy["noise_denoised"] / energy["particle"],
        "energy_to_denoised_particle": energy["noise_denoised"] / energy["particle_denoised"],
        "energy_to_noise": energy["noise_denoised"] / energy["noise"],
    }


def measure_power(images: NoiseImages) -> dict[str, np.ndarray]:
    """Measure the power by ring, `(N // 2,)`, of denoised noise and of residuals, over that of the noise."""
    inside = disk_mask(images.raw.shape[-1], images.raw.shape[-1] / 2 - 1)
    noise = ring_power(images.raw, inside).mean(0)
    return {
        name: (ring_power(shown, inside).mean(0) / noise).numpy()
        for name, shown in (
            ("noise denoised", images.denoised),
            ("residual of noise", images.raw - images.denoised),
            ("residual of particles", images.noisy - images.denoised_particles),
        )
    }


def state_curves(
    curves: dict[str, np.ndarray], curves_with_mean: dict[str, np.ndarray]
) -> dict[str, Any]:
    """State the correlations of half maps by shell, without and with the mean images of the halves."""
    return {
        "mean_fsc": {name: mean_correlation(curve) for name, curve in curves.items()},
        "mean_fsc_upper": {
            name: float(curve[len(curve) // 2 + 1 :].mean()) for name, curve in curves.items()
        },
        "highest_fsc": {name: highest_correlation(curve) for name, curve in curves.items()},
        "fsc_of_denoised_means": "consistency, not resolution",
        "curves": curves,
        "curves_with_mean": curves_with_mean,
        "mean_fsc_with_mean": {
            name: mean_correlation(curve) for name, curve in curves_with_mean.items()
        },
    }
