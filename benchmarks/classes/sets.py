"""Simulated sets in memory: what each box shows, seen through its CTF, and the noise; written as a particle set."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.common.study_sets import name_molecule
from polardenoise.engine.imaging.ctf import CtfParameters, apply_ctf, compute_ctf
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.projections import (
    VolumeTransform,
    prepare_volume,
    take_projections,
)
from polardenoise.engine.particles.image_names import name_in_star
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.simulate.particle_table import SimulationTable, draw_table, write_star
from polardenoise.engine.simulate.sources import read_density

BOX, B_FACTOR, PADDING = 64, 150.0, 3
#: Particles lie up to so many pixels off the centre, along x and along y.
MAX_SHIFT = 2.0


@dataclass(frozen=True)
class Molecule:
    """A molecule on the grid: `volume` `(N, N, N)`, its `transform`, and the pixel size in Angstrom."""

    name: str
    volume: Tensor
    transform: VolumeTransform
    pixel_size: float


@dataclass(frozen=True)
class KnownImages:
    """Images whose truth is known: `clean` `(n, N, N)`, without CTF, of a molecule at the poses of a table."""

    molecule: Molecule
    table: SimulationTable
    clean: Tensor


def read_molecule(source: str) -> Molecule:
    """Read a source of `simulate`; it fills 0.7 of the box."""
    density = read_density(source, BOX, None, B_FACTOR)
    transform = prepare_volume(density.volume, PADDING)
    return Molecule(name_molecule(source), density.volume, transform, density.pixel_size)


def draw_images(
    angles: np.ndarray, pixel_size: float, generator: np.random.Generator
) -> SimulationTable:
    """Draw shifts, CTFs and halves for images of known poses `(n, 3)`, degrees."""
    table = draw_table(len(angles), 1, 0, MAX_SHIFT * pixel_size, True, generator)
    return replace(table, angles=angles.round(6))


def project_images(molecule: Molecule, table: SimulationTable) -> Tensor:
    """Project the particles of a table, each where it lies in its box, without CTF: `(n, N, N)`."""
    images = take_projections(molecule.transform, torch.from_numpy(table.angles))
    return shift_images(images, torch.from_numpy(-table.origins / molecule.pixel_size))


def read_ctf(table: SimulationTable) -> CtfParameters:
    """Give the CTFs of all images of a table that has them."""
    parameters = table.ctf_parameters(slice(None))
    assert parameters is not None
    return parameters


def see_images(images: Tensor, table: SimulationTable, pixel_size: float) -> Tensor:
    """Give images `(n, N, N)` the CTFs of a table."""
    return apply_ctf(images, compute_ctf(read_ctf(table), pixel_size, images.shape[-1]))


def find_amplitude(seen: Tensor, snr: float) -> float:
    """Find what images `(n, N, N)`, CTF included, are to be multiplied by for an SNR in noise of variance 1."""
    return float((snr / seen.double().square().mean()).sqrt())


def add_noise(seen: Tensor, generator: np.random.Generator) -> Tensor:
    """Add white noise of variance 1."""
    return seen + torch.from_numpy(generator.standard_normal(seen.shape, dtype=np.float32))


def write_set(folder: Path, noisy: Tensor, table: SimulationTable, pixel_size: float) -> Path:
    """Write noisy images `(n, N, N)` and their table; gives the STAR file."""
    folder.mkdir(parents=True, exist_ok=True)
    star, stack = folder / "particles.star", folder / "particles.mrcs"
    write_stack(stack, noisy.numpy(), pixel_size)
    with star.open("w", encoding="utf-8") as file:
        write_star(file, table, name_in_star(stack), noisy.shape[-1], pixel_size, True)
    return star
