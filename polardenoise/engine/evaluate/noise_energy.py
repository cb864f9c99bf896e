"""With how much energy pure noise comes out of a model: what its card says, and `noise_guard` judges by."""

import numpy as np
import torch

from polardenoise.engine.denoise.noise_guard import measure_energy
from polardenoise.engine.evaluate.noise_images import Conditions, draw_conditions
from polardenoise.engine.imaging.rings import average_rings
from polardenoise.engine.neighbours.centred_denoising import denoise_centred_cell
from polardenoise.engine.neighbours.clusters import LARGEST_CELL
from polardenoise.engine.networks.registry import Denoiser, PolarTransformer
from polardenoise.engine.runtime.devices import choose_precision

#: Share of the noise images whose energy is above what is measured.
EXCEPTIONS = 0.01

#: Angstrom, of the CTFs.
PIXEL_SIZE = 3.5


def measure_noise_energy(
    model: Denoiser, images_per_set: int = 32, images: int = LARGEST_CELL, seed: int = 0
) -> dict[str, float]:
    """Measure with how much energy white noise comes out of a model, among its neighbours.

    The more images are searched, the more alike is the noise that is found, and the more of it comes out: hence a full
    cell.

    Parameters
    ----------
    model : Denoiser
        On its device.
    images_per_set : int
        K of the neighbours.
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
    for name in ("none", "ctf"):
        conditions = draw_conditions(box, PIXEL_SIZE, images, generator)
        if name == "none":
            conditions = Conditions(box, PIXEL_SIZE, None, images)
        shape = (images, box, box)
        noise = torch.from_numpy(generator.standard_normal(shape, dtype=np.float32)).to(device)
        profiles = average_rings(conditions.compute_transfer().abs()).to(device)
        lower = precision != torch.float32
        with torch.inference_mode(), torch.autocast(device.type, precision, enabled=lower):
            if isinstance(model, PolarTransformer):
                cell = denoise_centred_cell(model, noise, profiles, images_per_set, seed)
                estimates = cell.put_back()
            else:
                estimates = model(noise[None], profiles[None])[0].float()
        energy = measure_energy(estimates, profiles)
        energies[name] = float(energy.quantile(1 - EXCEPTIONS))
    return energies
