"""The null test: a model's answer to noise, found by the very pipeline that particles go through.

A learned prior can paint a molecule into noise, and one prior applied to both halves correlates their errors. What is
asked of the model is in `noise_measures`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from polardenoise.counts import word_count
from polardenoise.engine.denoise.options import DenoisePlan
from polardenoise.engine.denoise.pipeline import denoise_particles
from polardenoise.engine.evaluate.noise_bars import IMAGES
from polardenoise.engine.evaluate.noise_images import (
    Conditions,
    draw_conditions,
    read_conditions,
    write_conditions,
)
from polardenoise.engine.evaluate.noise_measures import NullTest, examine_denoiser
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import ParticleSet, read_particles
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import temporary_folder
from polardenoise.engine.simulate.sources import read_density

#: Above the seeds that any model is trained on.
REFERENCE = "phantom:10001"
B_FACTOR = 150.0


def measure_null(
    model: str,
    particles: ParticleSet | None = None,
    count: int = IMAGES,
    seed: int = 0,
    device: str = "auto",
    group_by: str = "neighbours",
) -> NullTest:
    """Test a model on pure noise.

    Parameters
    ----------
    model : str
        A shipped name or a folder.
    particles : ParticleSet, optional
        Noise like that of this set: its CTFs and its field of view. By default CTFs at 300 kV are drawn.
    count : int
        Images; odd numbers are rounded down.
    seed : int
        Of the noise, the poses and the sets.
    device : str
        As for `denoise`.
    group_by : str
        As for `denoise`: how images are put together.

    Returns
    -------
    NullTest
        Its summary has energies and curves. `curves` maps "poses/images" to the correlation by shell of the half maps,
        without the halves' mean images, and `curves_with_mean` to that with them; `mean_fsc` averages them to half of
        Nyquist, `mean_fsc_upper` above, `highest_fsc` is their highest from shell 4. `amplitude` is how much of the
        reference the maps hold, 1 as its particles at SNR 0.02 would. `bars` says what is asked for and whether it is
        met. Of denoised images the curves tell consistency, never resolution.

    Raises
    ------
    InputError
        If the model or the set cannot be used, or fewer than 16 images are asked for.
    """
    if count < 16:
        raise InputError(f"--images {count}: give at least 16")
    print(f"null test of {model}: {word_count(count - count % 2, 'image')}", flush=True)
    box = load_model(model)[1].sizes["box"]
    generator = np.random.default_rng([seed, 3])
    reference = read_density(REFERENCE, box, None, B_FACTOR)
    conditions = draw_conditions(box, reference.pixel_size, count, generator)
    if particles is not None:
        conditions = read_conditions(particles, box, count, generator)

    def denoise(images: Tensor, conditions: Conditions) -> Tensor:
        return denoise_images(images, conditions, model, seed, device, group_by)

    test = examine_denoiser(denoise, conditions, reference, generator)
    facts = {
        "model": model,
        "like": None if particles is None else str(particles.star_path),
        "group_by": group_by,
        "seed": seed,
    }
    return NullTest(facts | test.summary, test.slices)


def denoise_images(
    images: Tensor, conditions: Conditions, model: str, seed: int, device: str, group_by: str
) -> Tensor:
    """Denoise images by the very pipeline that particles go through, halves apart.

    Parameters
    ----------
    images : Tensor
        `(n, N, N)`, raw.
    conditions, model, seed, device, group_by
        As for `measure_null`.

    Returns
    -------
    Tensor
        `(n, N, N)` CTF-free estimates.
    """
    with temporary_folder("noise") as folder:
        write_stack(folder / "images.mrcs", images, conditions.pixel_size)
        write_conditions(folder / "images.star", folder / "images.mrcs", conditions)
        plan = DenoisePlan(
            particles=folder / "images.star",
            output=folder / "denoised.star",
            model=model,
            seed=seed,
            device=device,
            group_by=group_by,
            contrast="bright",
            tells_contrast=False,
            ctf_output="kept" if conditions.ctf is None else "corrected",
        )
        denoise_particles(plan)
        denoised = read_particles(folder / "denoised.star")
        return torch.from_numpy(read_images(denoised, np.arange(len(denoised))).copy())
