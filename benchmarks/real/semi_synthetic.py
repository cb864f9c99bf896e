"""Semi-synthetic particles: projections of test molecules on real empty boxes, with neighbours in the box.

Noise, ice and detector are real, and the truth is known exactly, of any molecule. An empty box is used twice: as it
is, and mirrored, in the other random half: no image finds its own noise in another, since halves never meet.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.common.command import run
from benchmarks.real.baselines import RADIAL, RAW, list_baselines
from benchmarks.real.denoised_sets import read_denoised
from benchmarks.real.score import DISK, score_images, take_means_out
from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.imaging.projections import prepare_volume
from polardenoise.engine.particles.mrc import read_volume, write_stack
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.star_writing import write_star
from polardenoise.engine.simulate.overlapping_particles import measure_radius, project_neighbours

#: Of a neighbour's centre, in diameters: twice the radius of the sphere that holds 0.8 of the molecule's mass.
NEAREST, FARTHEST = 1.0, 1.3
SNRS, SEED = (0.25, 0.05), 41


@dataclass(frozen=True)
class Molecule:
    """Images of a molecule, protein dark, and of another copy of it beside each.

    Attributes
    ----------
    star : Path
        The STAR file with their CTFs; its stack is to be written.
    particles, neighbours : Tensor
        `(n, N, N)`, with the CTF, without noise.
    pixel_size : float
        Angstrom.
    """

    star: Path
    particles: Tensor
    neighbours: Tensor
    pixel_size: float


def project_molecule(source: str, like: Path, count: int, folder: Path) -> Molecule:
    """Project a molecule at random orientations with the CTFs and the pixels of a real set, and neighbours of it."""
    run(
        "simulate", source, "-o", str(folder), "--like", str(like), "--particles", str(count),
        "--seed", str(SEED),
    )  # fmt: skip
    particles = read_particles(folder / "particles.star")
    volume = torch.from_numpy(read_volume(folder / "volume.mrc")[0])
    transform, pixel_size = prepare_volume(volume), float(particles.pixel_size[0])
    generator = np.random.default_rng(SEED)
    distance = 2 * measure_radius(volume) * generator.uniform(NEAREST, FARTHEST, count)
    direction = generator.uniform(0, 2 * np.pi, count)
    places = distance * np.stack([np.cos(direction), np.sin(direction)])
    seen, beside = (
        -project_neighbours(transform, angles, at, particles.ctf, pixel_size)
        for angles, at in (
            (torch.from_numpy(particles.angles), torch.zeros(count, 2, dtype=torch.float64)),
            (draw_orientations(count, generator), torch.from_numpy(places.T)),
        )
    )
    return Molecule(folder / "particles.star", seen, beside, pixel_size)


def put_into_halves(star: Path, boxes: int) -> None:
    """Put particles in boxes as they are into random half 1, those in the mirrored boxes after them into half 2."""
    particles = read_particles(star)
    halves = ["1"] * boxes + ["2"] * (len(particles) - boxes)
    write_star(particles.document, star, [(particles.table, {"rlnRandomSubset": halves})])


def spread_boxes(boxes: Tensor) -> Tensor:
    """Give `(2 n, N, N)` boxes of `(n, N, N)`: all as they are, then all mirrored, the means out."""
    twice = torch.cat([boxes, boxes.flip(-1)])
    return twice - twice.mean((1, 2), keepdim=True)


def add_noise(clean: Tensor, seen: Tensor, boxes: Tensor, snr: float) -> tuple[Tensor, Tensor]:
    """Add real noise at an SNR.

    Parameters
    ----------
    clean, seen : Tensor
        `(n, N, N)`: the particles alone, and with what else is in the box.
    boxes : Tensor
        `(n, N, N)` of noise; they keep their units.
    snr : float
        Mean square of the particles over that of the noise, on the disk, the means out.

    Returns
    -------
    tuple of Tensor
        Noisy images and truth, in units of the noise.
    """
    signal, noise = (take_means_out(images, DISK).square().sum() for images in (clean, boxes))
    strength = float((snr * noise / signal).sqrt())
    return strength * seen + boxes, strength * clean


def measure_molecule(
    source: str, name: str, like: Path, boxes: Tensor, methods: dict[str, str], folder: Path
) -> list[dict[str, str]]:
    """Measure every method on a molecule at each SNR, without and with neighbours: rows of the table."""
    noise = spread_boxes(boxes)
    molecule = project_molecule(source, like, len(noise), folder)
    put_into_halves(molecule.star, len(boxes))
    rows = []
    for snr in SNRS:
        for crowded in (False, True):
            seen = molecule.particles + (molecule.neighbours if crowded else 0)
            noisy, truth = add_noise(molecule.particles, seen, noise, snr)
            write_stack(folder / "particles.mrcs", noisy.numpy(), molecule.pixel_size)
            estimates = list_baselines(noisy, truth)
            estimates = {kind: estimates[kind] for kind in (RAW, RADIAL)}
            case = folder / f"{snr:g}_{crowded}"
            case.mkdir()
            for method, model in methods.items():
                estimates[method] = read_denoised(molecule.star, model, case)
            errors = {
                method: score_images(images, truth, [name] * len(truth)).relative_mse
                for method, images in estimates.items()
            }
            rows.append(
                {"molecule": name, "SNR": f"{snr:g}", "neighbours": "yes" if crowded else "no"}
                | {method: f"{error:.3f}" for method, error in errors.items()}
            )
            print(rows[-1], flush=True)
    return rows
