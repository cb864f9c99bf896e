"""ASPIRE's class averages of a set, in an environment of its own, with the radial filter that the truth gives."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.classes.sets import KnownImages
from benchmarks.common.timing import run_python
from benchmarks.speed.aspire import ASPIRE_SCRIPT
from polardenoise.engine.imaging.ctf import compute_ctf, phase_flip
from polardenoise.engine.imaging.rings import best_radial_filter
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles

#: Images that are averaged: as many as a class of 2,000 particles in 50 has.
NEIGHBOURS = 40


def average_neighbours(star: Path, python: str) -> Tensor:
    """Average each image, phases flipped, with its nearest neighbours, `(n, N, N)`."""
    particles = read_particles(star)
    assert particles.ctf is not None
    images = torch.from_numpy(read_images(particles, slice(None)))
    pixel_size = float(particles.pixel_size[0])
    flipped = phase_flip(images, compute_ctf(particles.ctf, pixel_size, particles.box))
    folder = star.parent.absolute()
    stack, averages = folder / "flipped.mrcs", folder / "averages.npy"
    write_stack(stack, flipped.numpy(), pixel_size)
    words = [str(ASPIRE_SCRIPT.absolute()), str(stack), str(averages)]
    run_python([*words, "--neighbours", str(NEIGHBOURS)], python, folder)
    return torch.from_numpy(np.load(averages))


def filter_with_truth(averages: Tensor, known: KnownImages) -> Tensor:
    """Give averages the radial filter that brings them closest to the truth, without CTF.

    They carry the |CTF| of their images, mixed: the filter makes up for what all have lost.
    """
    return best_radial_filter(averages, known.clean)
