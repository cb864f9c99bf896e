"""Orientations of images by projections of a map: every image against every view of a grid, at every rotation.

The engine's own comparison of images with clean estimates (`rotational_matching.py`), with projections as the
estimates. As RELION does, it learns from the images how strong they are beside the projections and how much noise
there is on each ring, so that raw images (white noise) and denoised ones (weaker, little noise, most of it at low
frequency) are each compared by the likelihood that suits them. Particles are taken to be centred.
"""

import math

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf import compute_ctf, phase_flip
from polardenoise.engine.imaging.projections import prepare_volume, take_projections
from polardenoise.engine.imaging.ring_harmonics import FourierRings, build_fourier_rings
from polardenoise.engine.imaging.rings import average_rings
from polardenoise.engine.imaging.rotational_matching import (
    ROTATIONS,
    compute_image_harmonics,
    match_images,
    select_ctf_rings,
)
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.set_checks import common_pixel_size

#: Viewing directions of the grid, 6.4 degrees apart, and rounds of learning strength and noise.
VIEWS, ROUNDS = 1000, 2

#: Rings with less than this share of the strongest ring's energy in the map's projections are left out.
LEAST_TOLD = 1e-6


def find_orientations(particles: ParticleSet, rows: np.ndarray, reference: Tensor) -> Tensor:
    """Find the orientations of centred particles.

    Parameters
    ----------
    particles : ParticleSet
        Raw images or denoised ones with their CTF kept, or any without CTF.
    rows : ndarray
        `(m,)` rows to look at.
    reference : Tensor
        `(N, N, N)` the map, as sharp as it is to be believed.

    Returns
    -------
    Tensor
        `(m, 3)` rot, tilt, psi in degrees.
    """
    images = torch.from_numpy(read_images(particles, rows))
    rings = build_fourier_rings(particles.box)
    ctf_rings = torch.ones(len(rows), particles.box // 2)
    if particles.ctf is not None:
        index = torch.from_numpy(rows)
        ctf = compute_ctf(particles.ctf.select(index), common_pixel_size(particles), particles.box)
        ctf_rings = average_rings(ctf.abs())
        images = phase_flip(images, ctf)
    views = spread_views(VIEWS)
    estimates = rings.to_harmonics(take_projections(prepare_volume(reference), views))
    # Rings on which the map says next to nothing tell nothing.
    told = rings.ring_energies(estimates).sum(0)
    estimates = estimates * (told > LEAST_TOLD * told.max())
    strength, noise = None, torch.ones(rings.rings)
    for _ in range(ROUNDS):
        view, rotation = choose_best(images, ctf_rings, estimates, rings, strength, noise)
        shown = turn_estimates(estimates, view, rotation) * select_ctf_rings(ctf_rings, rings)
        strength, noise = learn_noise(rings.to_harmonics(images), shown, noise, rings)
    angles = views[view].clone()
    # The image is its view turned counter-clockwise by so many steps; psi turns clockwise.
    angles[:, 2] = -rotation.double() * 360 / ROTATIONS
    return angles


def low_pass(volume: Tensor, pixel_size: float, resolution: float) -> Tensor:
    """Take the detail finer than a resolution (Angstrom) out of a map `(N, N, N)`; a soft edge of a tenth about it."""
    along = torch.fft.fftfreq(volume.shape[-1], pixel_size)
    half = torch.fft.rfftfreq(volume.shape[-1], pixel_size)
    frequency = (along[:, None, None] ** 2 + along[:, None] ** 2 + half**2).sqrt()
    beyond = ((frequency * resolution - 0.9) / 0.2).clamp(0, 1)
    kept = 0.5 + 0.5 * torch.cos(torch.pi * beyond)
    return torch.fft.irfftn(torch.fft.rfftn(volume) * kept, s=volume.shape)


def spread_views(count: int) -> Tensor:
    """Spread viewing directions evenly over the sphere, on a spiral: `(count, 3)` rot, tilt in degrees and psi 0."""
    step = torch.arange(count, dtype=torch.float64)
    tilt = torch.rad2deg(torch.acos(1 - (2 * step + 1) / count))
    rot = torch.remainder(step * 180 * (3 - math.sqrt(5)), 360) - 180
    return torch.stack([rot, tilt, torch.zeros_like(rot)], 1)


def choose_best(
    images: Tensor,
    ctf_rings: Tensor,
    estimates: Tensor,
    rings: FourierRings,
    strength: float | None,
    noise: Tensor,
) -> tuple[Tensor, Tensor]:
    """Choose view and rotation of every image: `(m,)` rows of the estimates and `(m,)` steps counter-clockwise.

    `strength` scales the estimates; where it is not known yet, the best correlation is taken, which needs none. `noise`
    `(rings,)` is the deviation on each ring: whitened images are compared with estimates whitened alike.
    """
    white = torch.cat([torch.ones(1), 1 / noise, torch.zeros(ctf_rings.shape[1] - rings.rings - 1)])
    scale = 1.0 if strength is None else strength
    whitened = ctf_rings * white
    observed = compute_image_harmonics(images, whitened, rings) / noise
    matches = match_images(observed, whitened, scale * estimates, rings)
    score = matches.likelihood
    if strength is None:
        energy = select_ctf_rings(whitened, rings).square() @ rings.ring_energies(estimates).T
        score = (score + 0.5 * energy) / energy.sqrt()
    view = score.argmax(1)
    return view, matches.rotation.gather(1, view[:, None])[:, 0]


def turn_estimates(estimates: Tensor, view: Tensor, rotation: Tensor) -> Tensor:
    """Turn the chosen estimates `(2, modes, views, rings)` counter-clockwise: `(2, modes, images, rings)`."""
    chosen = torch.complex(*estimates[:, :, view])
    modes = torch.arange(len(chosen))[:, None]
    turning = torch.polar(torch.ones(1), -2 * math.pi / ROTATIONS * modes * rotation)
    return torch.view_as_real(chosen * turning[..., None]).movedim(-1, 0)


def learn_noise(
    seen: Tensor, shown: Tensor, noise: Tensor, rings: FourierRings
) -> tuple[float, Tensor]:
    """Learn from images beside what they are taken to show.

    Parameters
    ----------
    seen, shown : Tensor
        `(2, modes, m, rings)` images, and turned estimates with their CTF.
    noise : Tensor
        `(rings,)` deviation of the noise so far: quiet rings say more about the strength.
    rings : FourierRings
        Of both.

    Returns
    -------
    strength : float
        Scale of the images over the estimates.
    noise : Tensor
        `(rings,)` deviation of what is left, 1 for white noise of variance 1.
    """
    weights = rings.weights(seen.device)[None, :, None, None]
    together = ((seen * shown * weights).sum((0, 1, 2)) / noise.square()).sum()
    alone = ((shown.square() * weights).sum((0, 1, 2)) / noise.square()).sum()
    strength = float(together / alone)
    left = rings.ring_energies(seen - strength * shown).mean(0)
    noise = (left / rings.noise_energies()).sqrt()
    return strength, noise.clamp_min(1e-3 * noise.max())
