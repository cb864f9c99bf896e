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

from polardenoise.engine.evaluate.noise_images import Conditions, draw_alike
from polardenoise.engine.evaluate.reference_alignment import align_to_reference
from polardenoise.engine.imaging.ctf import apply_ctf
from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.imaging.fsc import fourier_shell_correlation
from polardenoise.engine.imaging.polar_grid import disk_mask
from polardenoise.engine.imaging.projections import prepare_volume, take_projections
from polardenoise.engine.imaging.rings import ring_power
from polardenoise.engine.reconstruct.half_maps import (
    correlate_halves,
    highest_correlation,
    mean_correlation,
    measure_amplitude,
    reconstruct_noise,
    subtract_means,
)
from polardenoise.engine.simulate.sources import Density

SNR = 0.02

#: Name of the images of `noise_images.draw_alike`.
ALIKE = "Gaussian of the same covariance"

#: What noise may give: energy beside a particle's, and a highest correlation so far above that of raw noise.
MOST_ENERGY = 0.02
MOST_EXCESS = 0.05

#: Draws of random poses that the correlation at random poses is a mean over. Denoised noise has few degrees of freedom:
#: the correlation of one draw comes out 0.1 above or below 0 in shells 4 to 7 by chance, that of raw noise 0.04.
POSE_DRAWS = 5

#: Denoises images with the CTFs of the conditions into CTF-free estimates, `(n, N, N)` both, halves apart.
Denoise = Callable[[Tensor, Conditions], Tensor]


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
    box, count, transfer = conditions.box, conditions.count, conditions.compute_transfer()
    transform = prepare_volume(reference.volume)
    poses = draw_orientations(count, generator)
    seen = apply_ctf(take_projections(transform, poses), transfer)
    scale = (SNR / seen.square().mean()).sqrt()
    seen, molecule = seen * scale, reference.volume * scale
    raw = torch.from_numpy(generator.standard_normal((count, box, box), dtype=np.float32))
    noisy = seen + torch.from_numpy(generator.standard_normal(raw.shape, dtype=np.float32))
    estimates = denoise(raw, conditions)
    denoised = apply_ctf(estimates, transfer)
    denoised_particles = apply_ctf(denoise(noisy, conditions), transfer)
    alike = apply_ctf(draw_alike(estimates, generator), transfer)
    seed = int(generator.integers(2**31))  # all are aligned to the same views
    aligned = {
        name: align_to_reference(images, transfer, transform, np.random.default_rng(seed))
        for name, images in (("raw", raw), ("denoised", denoised), ("alike", alike))
    }
    other_poses = [draw_orientations(count, generator) for _ in range(POSE_DRAWS - 1)]
    noise = {
        "random/raw": (raw, poses),
        "random/denoised": (denoised, poses),
        "random/residual": (raw - denoised, poses),
        "aligned/raw": (raw, aligned["raw"]),
        "aligned/denoised": (denoised, aligned["denoised"]),
        f"aligned/{ALIKE}": (alike, aligned["alike"]),
        "aligned on denoised/raw": (raw, aligned["denoised"]),
    }
    particles = {
        "true/noisy particles": (noisy, poses),
        "true/denoised particles": (denoised_particles, poses),
        "true/residual of particles": (noisy - denoised_particles, poses),
    }
    with_mean = {
        name: reconstruct_noise(images, transfer, angles)
        for name, (images, angles) in (noise | particles).items()
    }
    without = {name: subtract_means(images, transfer) for name, (images, _) in noise.items()}
    halves = with_mean | {
        name: reconstruct_noise(without[name], transfer, angles)
        for name, (_, angles) in noise.items()
    }
    curves = {name: fourier_shell_correlation(*both) for name, both in halves.items()}
    for name in ("random/raw", "random/denoised"):
        others = [correlate_halves(without[name], transfer, drawn) for drawn in other_poses]
        curves[name] = np.mean([curves[name], *others], axis=0)
    volumes = {name: (one + other) / 2 for name, (one, other) in halves.items()}
    curves_with_mean = {name: fourier_shell_correlation(*with_mean[name]) for name in noise}
    slices = {name: volume[box // 2].numpy() for name, volume in volumes.items()}
    slices["reference"] = molecule[box // 2].numpy()
    inside = disk_mask(box, box / 2 - 1)
    noise_power = ring_power(raw, inside).mean(0)
    energy = {
        name: float((images * inside).square().mean())
        for name, images in (
            ("noise", raw),
            ("noise_denoised", denoised),
            ("particle", seen),
            ("particle_denoised", denoised_particles),
        )
    }
    summary = {
        "images": count,
        "box": box,
        "pixel_size": conditions.pixel_size,
        "ctf": conditions.ctf is not None,
        "energy": energy,
        "energy_to_particle": energy["noise_denoised"] / energy["particle"],
        "energy_to_denoised_particle": energy["noise_denoised"] / energy["particle_denoised"],
        "energy_to_noise": energy["noise_denoised"] / energy["noise"],
        "mean_fsc": {name: mean_correlation(curve) for name, curve in curves.items()},
        "mean_fsc_upper": {
            name: float(curve[len(curve) // 2 + 1 :].mean()) for name, curve in curves.items()
        },
        "highest_fsc": {name: highest_correlation(curve) for name, curve in curves.items()},
        "amplitude": {name: measure_amplitude(one, molecule) for name, one in volumes.items()},
        "fsc_of_denoised_means": "consistency, not resolution",
        "curves": curves,
        "curves_with_mean": curves_with_mean,
        "mean_fsc_with_mean": {
            name: mean_correlation(curve) for name, curve in curves_with_mean.items()
        },
        "power_to_noise": {
            name: (ring_power(images, inside).mean(0) / noise_power).numpy()
            for name, images in (
                ("noise denoised", denoised),
                ("residual of noise", raw - denoised),
                ("residual of particles", noisy - denoised_particles),
            )
        },
    }
    bars = judge(summary)
    return NullTest(summary | {"bars": bars, "checks": word_checks(bars)}, slices)


def judge(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Hold a summary against what is asked of a model: name of the bar to `value`, `limit` and `met`."""
    highest, amplitude = summary["highest_fsc"], summary["amplitude"]
    aligned = highest["aligned/denoised"]
    bars = {
        "energy, of a particle's": (summary["energy_to_particle"], MOST_ENERGY),
        "highest FSC at random poses, against raw": (
            highest["random/denoised"],
            highest["random/raw"] + MOST_EXCESS,
        ),
        "highest FSC aligned, against raw": (aligned, highest["aligned/raw"] + MOST_EXCESS),
        f"highest FSC aligned, against {ALIKE}": (
            aligned,
            highest[f"aligned/{ALIKE}"] + MOST_EXCESS,
        ),
        "highest FSC of raw aligned on denoised, against raw": (
            highest["aligned on denoised/raw"],
            highest["aligned/raw"] + MOST_EXCESS,
        ),
        "reference in the map aligned, against raw": (
            amplitude["aligned/denoised"],
            amplitude["aligned/raw"],
        ),
    }
    return {
        name: {"value": value, "limit": limit, "met": value <= limit}
        for name, (value, limit) in bars.items()
    }


def word_checks(bars: dict[str, dict[str, Any]]) -> str:
    """Put into one line how many checks a model passed, and which it did not."""
    missed = [name for name, bar in bars.items() if not bar["met"]]
    said = f"passed {len(bars) - len(missed)} of {len(bars)} checks"
    return f"{said}; missed: {'; '.join(missed)}" if missed else said
