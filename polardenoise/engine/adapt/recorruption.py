"""Recorrupted images: of one noisy image two of independent noises, one to denoise and one to judge by.

A whitened image `y = A x + n` has noise of variance 1. With `z` drawn from the same noise,

    u = y + t z,        v = y - z / t

have noises that are not correlated, and independent where noise is normal: `E (n + t z)(n - z / t) = 1 - 1 = 0`. So for
whatever is made of `u`, of all images of a half together, search and attention included,

    |A f(u) - v|^2 = |A f(u) - A x|^2 + a constant

in the mean: the error to the truth, without a truth (Pang et al., CVPR 2021, "Recorrupted-to-recorrupted"). Real noise
is not white: `z` has the spectrum that was measured in the corners of the half's own images.

Where there are particles of the other movie frames, these are `v`, and the particles themselves `u`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.denoise.preparation import SETS, load_sets, open_preparation
from polardenoise.engine.imaging.background import Background, measure_background, normalise
from polardenoise.engine.imaging.ctf import phase_flip
from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.preprocessing import compute_working_ctf, resample
from polardenoise.engine.particles.shared_pixels import SharedPixels

#: `t`: how much noise is added to what is denoised. Smaller ones make `v` noisier, larger ones `u`.
STRENGTH = 0.5
#: Clusters of a half that are learned from, drawn at random: a thousand images each tell a thousand numbers.
MOST_CLUSTERS = 2


@dataclass(frozen=True)
class ClusterImages:
    """The images of a cluster of one half, as the network takes them.

    Attributes
    ----------
    half : int
        Theirs.
    rows : ndarray
        `(n,)` of the particle set.
    images : Tensor
        `(n, box, box)` noise of variance 1, protein bright.
    ctf_rings : Tensor
        `(n, box // 2)`.
    ring_power : Tensor
        `(box // 2,)` of the noise of the half, 1 on average; 1 where images were whitened.
    shared : SharedPixels
        Which of them share pixels.
    other : Tensor or None
        `(n, box, box)` the same particles from the other frames, in the same units.
    left_power : Tensor or None
        The power by which `denoise` compares such images: that of noise that is coloured and left so.
    """

    half: int
    rows: np.ndarray
    images: Tensor
    ctf_rings: Tensor
    ring_power: Tensor
    shared: SharedPixels
    other: Tensor | None = None
    left_power: Tensor | None = None

    def draw_noise(self, seed: int) -> Tensor:
        """Draw noise of the half's spectrum, `(n, box, box)` of variance 1; a seed and the half fix it."""
        return filter_by_rings(self.draw_white_noise(seed), self.ring_power.sqrt()[None])

    def draw_white_noise(self, seed: int) -> Tensor:
        """Draw white noise, as `draw_noise`."""
        generator = np.random.default_rng([seed, 12, self.half, int(self.rows[0])])
        return torch.from_numpy(generator.standard_normal(self.images.shape, dtype=np.float32))


@dataclass(frozen=True)
class NoisyPair:
    """Two images each, of independent noise.

    Attributes
    ----------
    seen : Tensor
        `(n, box, box)` what is denoised, brought to noise of variance 1.
    scale : float
        What its estimates are multiplied by to be in the units of `target`.
    target : Tensor
        `(n, box, box)` what estimates, seen through their CTFs, are held against.
    """

    seen: Tensor
    scale: float
    target: Tensor


def recorrupt(cluster: ClusterImages, seed: int) -> NoisyPair:
    """Make two images of independent noise of each; from half frames they are there already."""
    if cluster.other is not None:
        return NoisyPair(cluster.images, 1.0, cluster.other)
    noise = cluster.draw_noise(seed)
    scale = math.sqrt(1 + STRENGTH**2)
    seen = (cluster.images + STRENGTH * noise) / scale
    return NoisyPair(seen, scale, cluster.images - noise / STRENGTH)


def read_clusters(
    job: Job, folder: Path, half_frames: ParticleSet | None
) -> dict[int, list[ClusterImages]]:
    """Read of each half the images that are learned from, from a run that was prepared."""
    with open_preparation(job, folder) as preparation:
        clusters: dict[int, list[ClusterImages]] = {}
        left = preparation.colours.list_left()
        for rows in choose_clusters(job, folder):
            half = int(job.halves[rows[0]])
            images, ctf_rings = preparation.scratch.read_with_ctf_rings(rows)
            colour = preparation.colours.of_halves[half]
            ring_power = torch.ones(job.handling.box // 2)
            if not colour.is_whitened:
                ring_power = colour.ring_power.float()
            other = None
            if half_frames is not None:
                other = read_other_frames(job, half_frames, rows, preparation.units)
            shared = job.shared.select(job.shared.image_of_row[rows])
            clusters.setdefault(half, []).append(
                ClusterImages(
                    half, rows, images, ctf_rings, ring_power, shared, other, left.get(half)
                )
            )
        return clusters


def choose_clusters(job: Job, folder: Path) -> list[np.ndarray]:
    """Choose the rows of at most `MOST_CLUSTERS` clusters of each half, at random by the seed and the half."""
    sets = load_sets(folder / SETS, job.shared.first_row)
    chosen = []
    for half in np.unique(job.halves).tolist():
        own = [one.rows[: one.kept] for one in sets if job.halves[one.rows[0]] == half]
        generator = np.random.default_rng([job.plan.seed, 13, half])
        order = generator.permutation(len(own))[:MOST_CLUSTERS]
        chosen += [own[place] for place in sorted(order.tolist())]
    return chosen


def read_other_frames(job: Job, other: ParticleSet, rows: np.ndarray, units: Tensor) -> Tensor:
    """Read rows of the other frames as the particles themselves are prepared, in the units of these, protein bright."""
    images = resample(torch.from_numpy(read_images(other, rows)), job.handling.box)
    if job.handling.ctf_state == "raw":
        ctf = compute_working_ctf(job.particles, rows, job.handling, images.device)
        images = phase_flip(images, ctf)
    own = units[torch.from_numpy(rows)][:, None, None]
    return normalise(images, Background(measure_background(images).mean, own))
