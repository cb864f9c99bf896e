"""Energy of denoised noise: what a model's card states, and `denoise.noise.guard` judges by."""

import numpy as np
import torch

from polardenoise.engine.denoise.adapted_halves import DEFAULT_SET_SIZE
from polardenoise.engine.denoise.noise.guard import measure_energy
from polardenoise.engine.evaluate.noise_images import Conditions, draw_conditions
from polardenoise.engine.imaging.background import measure_background, normalise
from polardenoise.engine.imaging.rings import average_rings
from polardenoise.engine.neighbours.centred_denoising import denoise_centred_cluster
from polardenoise.engine.neighbours.clusters import LARGEST_CLUSTER
from polardenoise.engine.neighbours.search import count_passes
from polardenoise.engine.networks.polar_transformer import PolarTransformer
from polardenoise.engine.runtime.devices import choose_precision, mixed_precision
from polardenoise.engine.runtime.progress import Progress

#: Share of the noise images whose energy is above what is measured.
EXCEPTIONS = 0.01

#: The least energy that is stated: of a network that makes nothing of noise, and nothing is divided by zero.
LEAST_ENERGY = 1e-9

#: Angstrom, of the CTFs.
PIXEL_SIZE = 3.5


def measure_noise_energy(
    model: PolarTransformer, images: int = LARGEST_CLUSTER, seed: int = 0
) -> dict[str, float]:
    """Measure with how much energy white noise comes out of a joint model, among its neighbours.

    The more images are searched, the more alike is the noise that is found, and the more of it comes out: hence a full
    cluster.

    That takes as long as denoising so many images, minutes on a busy processor: a bar shows how far it is.

    Parameters
    ----------
    model : PolarTransformer
        On its device, or another joint network.
    images : int
        How many, without and with CTFs each.
    seed : int
        Of the noise and the CTFs.

    Returns
    -------
    dict
        "none" and "ctf": what one in a hundred images without and with a CTF exceeds, per pixel, in variances of the
        noise.
    """
    box = model.config.box
    device = next(model.parameters()).device
    generator = np.random.default_rng([seed, 6])
    precision = choose_precision(device)
    energies = {}
    with Progress("pure noise", 2 * images) as progress:
        for name in ("none", "ctf"):
            conditions = draw_conditions(box, PIXEL_SIZE, images, generator)
            if name == "none":
                conditions = Conditions(box, PIXEL_SIZE, None, images)
            shape = (images, box, box)
            noise = torch.from_numpy(generator.standard_normal(shape, dtype=np.float32)).to(device)
            noise = normalise(noise, measure_background(noise))  # by its corners, as `denoise` does
            ctf_rings = average_rings(conditions.compute_transfer().abs()).to(device)
            with (
                progress.watching(images, count_passes(model)),
                torch.inference_mode(),
                mixed_precision(device, precision),
            ):
                cluster = denoise_centred_cluster(model, noise, ctf_rings, DEFAULT_SET_SIZE, seed)
                estimates = cluster.undo_recentring()
            progress.advance(images)
            energy = measure_energy(estimates, ctf_rings)
            energies[name] = max(float(energy.quantile(1 - EXCEPTIONS)), LEAST_ENERGY)
    return energies
