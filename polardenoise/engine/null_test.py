"""The null test: what a model makes of images in which there is nothing but noise.

A learned prior can paint a molecule into noise, and one prior applied to both halves correlates their errors. So pure
noise is denoised as `denoise` denoises particles, and three questions are asked: how much energy comes out, beside
what comes out of particles of the same noise; how far two half maps of noise at random poses agree; and how far they
agree once the noise has been aligned to a reference ("Einstein from noise", which raw noise shows too: Henderson, PNAS
110, 18037, 2013). The mean image of a half is no evidence of a molecule, but every pose carries it into the map: the
curves are computed without it, and with it beside.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.backprojection import (
    begin_backprojection,
    insert_slices,
    solve_backprojection,
)
from polardenoise.engine.checkpoint import load_model
from polardenoise.engine.ctf import CtfParameters, apply_ctf, compute_ctf, phase_flip
from polardenoise.engine.denoise import denoise_particles
from polardenoise.engine.denoise_plan import DenoisePlan
from polardenoise.engine.errors import InputError
from polardenoise.engine.fsc import fourier_shell_correlation
from polardenoise.engine.molecules import read_density
from polardenoise.engine.orientations import draw_orientations, matrices_from_angles
from polardenoise.engine.particles import read_images, read_particles
from polardenoise.engine.polar import PolarGrid, disk_mask
from polardenoise.engine.projections import VolumeTransform, prepare_volume, take_projections
from polardenoise.engine.simulation_table import draw_table
from polardenoise.engine.stacks import write_stack

#: Above the seeds that any model is trained on.
REFERENCE = "phantom:10001"
SNR = 0.02
B_FACTOR = 150.0
IMAGES = 400
#: Viewing directions of the reference that noise is aligned to, and the in-plane steps of a turn.
VIEWS, STEPS = 100, 96
IMAGES_ALIGNED_AT_ONCE = 64
#: Shells that the summary's numbers are means over: below the first a shell has too few voxels to say anything.
FIRST_SHELL = 3


@dataclass(frozen=True)
class Conditions:
    """What the noise images carry besides noise: their CTFs, as a microscope would give them.

    Attributes
    ----------
    box : int
        Pixels, the model's own.
    pixel_size : float
        Angstrom.
    ctf : CtfParameters or None
        Of each image; None for images without a CTF.
    count : int
        Images, even.
    """

    box: int
    pixel_size: float
    ctf: CtfParameters | None
    count: int

    def compute_transfer(self) -> Tensor:
        """Give the CTFs, `(count, box, box // 2 + 1)`; ones without a CTF."""
        if self.ctf is None:
            return torch.ones(self.count, self.box, self.box // 2 + 1)
        return compute_ctf(self.ctf, self.pixel_size, self.box)


def measure_null(
    model: str,
    particles: Path | None = None,
    count: int = IMAGES,
    seed: int = 0,
    device: str = "auto",
    group_by: str = "neighbours",
) -> dict[str, Any]:
    """Test a model on pure noise.

    Parameters
    ----------
    model : str
        A shipped name or a folder.
    particles : Path, optional
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
    dict
        Energies and curves; `curves` maps "poses/images" to the correlation by shell, without the halves' mean images,
        and `curves_with_mean` to that with them; `mean_fsc` averages them to half of Nyquist, `mean_fsc_upper` above.
        Of denoised images they tell consistency, never resolution.

    Raises
    ------
    InputError
        If the model or the set cannot be used, or fewer than 16 images are asked for.
    """
    if count < 16:
        raise InputError(f"--images {count}: give at least 16")
    box = load_model(model)[1].sizes["box"]
    generator = np.random.default_rng([seed, 3])
    reference = read_density(REFERENCE, box, None, B_FACTOR)
    transform = prepare_volume(reference.volume)
    conditions = draw_conditions(box, reference.pixel_size, count, generator)
    if particles is not None:
        conditions = read_conditions(particles, box, count, generator)
    transfer = conditions.compute_transfer()
    count = conditions.count
    poses = draw_orientations(count, generator)
    seen = apply_ctf(take_projections(transform, poses), transfer)
    seen = seen * (SNR / seen.square().mean()).sqrt()
    raw = torch.from_numpy(generator.standard_normal((count, box, box), dtype=np.float32))
    particle_noise = torch.from_numpy(generator.standard_normal(raw.shape, dtype=np.float32))

    def denoise(images: Tensor) -> Tensor:
        return denoise_images(images, conditions, model, seed, device, group_by)

    denoised, denoised_particles = denoise(raw), denoise(seen + particle_noise)
    disk = disk_mask(box, box / 2 - 1)
    energy = {
        name: float((images * disk).square().mean())
        for name, images in (
            ("noise", raw),
            ("noise_denoised", denoised),
            ("particle", seen),
            ("particle_denoised", denoised_particles),
        )
    }
    raw_poses = align_to_reference(raw, transfer, transform, generator)
    denoised_poses = align_to_reference(denoised, transfer, transform, generator)
    maps = {
        "random/raw": (raw, poses),
        "random/denoised": (denoised, poses),
        "aligned/raw": (raw, raw_poses),
        "aligned/denoised": (denoised, denoised_poses),
        "aligned on denoised/raw": (raw, denoised_poses),
    }
    curves, with_mean = {}, {}
    for name, (images, angles) in maps.items():
        curves[name] = correlate_halves(subtract_means(images), transfer, angles)
        with_mean[name] = correlate_halves(images, transfer, angles)
    return {
        "model": model,
        "images": count,
        "box": box,
        "pixel_size": conditions.pixel_size,
        "like": None if particles is None else str(particles),
        "ctf": conditions.ctf is not None,
        "group_by": group_by,
        "seed": seed,
        "energy": energy,
        "energy_to_particle": energy["noise_denoised"] / energy["particle"],
        "energy_to_denoised_particle": energy["noise_denoised"] / energy["particle_denoised"],
        "energy_to_noise": energy["noise_denoised"] / energy["noise"],
        "mean_fsc": {name: mean_correlation(curve) for name, curve in curves.items()},
        "mean_fsc_upper": {
            name: float(curve[len(curve) // 2 + 1 :].mean()) for name, curve in curves.items()
        },
        "mean_fsc_with_mean": {name: mean_correlation(curve) for name, curve in with_mean.items()},
        "fsc_of_denoised_means": "consistency, not resolution",
        "curves": curves,
        "curves_with_mean": with_mean,
    }


def draw_conditions(
    box: int, pixel_size: float, count: int, generator: np.random.Generator
) -> Conditions:
    """Draw CTFs as `simulate` does, for an even number of images."""
    count -= count % 2
    table = draw_table(count, 1, 0, 0.0, True, generator)
    return Conditions(box, pixel_size, table.ctf_parameters(slice(None)), count)


def read_conditions(
    star_path: Path, box: int, count: int, generator: np.random.Generator
) -> Conditions:
    """Take field of view and CTFs of a particle set; its pixels are not read.

    Raises
    ------
    InputError
        If the set cannot be read.
    """
    particles = read_particles(star_path)
    count -= count % 2
    pixel_size = float(np.median(particles.pixel_size)) * particles.box / box
    carries = particles.ctf is not None and particles.ctf_state in ("raw", "flipped")
    rows = torch.from_numpy(generator.integers(len(particles), size=count))
    ctf = particles.ctf.select(rows) if carries and particles.ctf is not None else None
    return Conditions(box, pixel_size, ctf, count)


def split_count(count: int) -> tuple[slice, slice]:
    """Give the images of the two halves: the first and the second half of the stack."""
    return slice(0, count // 2), slice(count // 2, count)


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
        `(n, N, N)` with each image's CTF kept.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
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
        )
        denoise_particles(plan)
        denoised = read_particles(folder / "denoised.star")
        return torch.from_numpy(read_images(denoised, np.arange(len(denoised))).copy())


def write_conditions(path: Path, stack: Path, conditions: Conditions) -> None:
    """Write the STAR file of the images: halves, pixel size, and optics where there is a CTF."""
    labels = ["rlnImageName", "rlnRandomSubset", "rlnPixelSize"]
    columns: list[Sequence[Any]] = []
    if conditions.ctf is not None:
        ctf = conditions.ctf
        named = {
            "rlnDefocusU": ctf.defocus_u,
            "rlnDefocusV": ctf.defocus_v,
            "rlnDefocusAngle": ctf.defocus_angle,
            "rlnVoltage": ctf.voltage,
            "rlnSphericalAberration": ctf.spherical_aberration,
            "rlnAmplitudeContrast": ctf.amplitude_contrast,
            "rlnPhaseShift": ctf.phase_shift,
        }
        labels += named
        columns = [values.tolist() for values in named.values()]
    lines = ["", "data_", "", "loop_", *(f"_{label} #{n}" for n, label in enumerate(labels, 1))]
    first = split_count(conditions.count)[0]
    for row in range(conditions.count):
        half = 1 if row < first.stop else 2
        numbers = [f"{column[row]:.6f}" for column in columns]
        lines.append(
            " ".join(
                [f"{row + 1:06d}@{stack}", str(half), f"{conditions.pixel_size:.6f}", *numbers]
            )
        )
    path.write_text("\n".join([*lines, ""]))


def align_to_reference(
    images: Tensor, transfer: Tensor, transform: VolumeTransform, generator: np.random.Generator
) -> Tensor:
    """Give every image the view and in-plane rotation of a reference that it correlates best with.

    Parameters
    ----------
    images : Tensor
        `(n, N, N)`.
    transfer : Tensor
        `(n, N, N // 2 + 1)` their CTFs; phases are flipped first.
    transform : VolumeTransform
        Of the reference.
    generator : numpy.random.Generator
        Draws the views.

    Returns
    -------
    Tensor
        `(n, 3)` rot, tilt, psi in degrees.
    """
    box = images.shape[-1]
    grid = PolarGrid(box, box // 2, STEPS)
    views = draw_orientations(VIEWS, generator)
    views[:, 2] = 0
    references = grid.to_polar(take_projections(transform, views))
    references = references / references.square().sum((-2, -1), keepdim=True).sqrt()
    references = torch.fft.rfft(references)  # (views, rings, frequencies)
    angles = torch.empty(len(images), 3, dtype=torch.float64)
    for start in range(0, len(images), IMAGES_ALIGNED_AT_ONCE):
        rows = slice(start, start + IMAGES_ALIGNED_AT_ONCE)
        polar = torch.fft.rfft(grid.to_polar(phase_flip(images[rows], transfer[rows])))
        product = torch.einsum("nkf,vkf->nvf", polar, references.conj())
        best = torch.fft.irfft(product, n=STEPS).flatten(1).argmax(1)
        angles[rows] = views[best // STEPS]
        # The image is its view turned counter-clockwise by so many steps; psi turns clockwise.
        angles[rows, 2] = -(best % STEPS).double() * 360 / STEPS
    return angles


def subtract_means(images: Tensor) -> Tensor:
    """Take the mean image of each half out of its images, `(n, N, N)`."""
    halves = [images[half] for half in split_count(len(images))]
    return torch.cat([half - half.mean(0) for half in halves])


def correlate_halves(images: Tensor, transfer: Tensor, angles: Tensor) -> np.ndarray:
    """Reconstruct both halves with their CTFs and correlate the maps.

    Parameters
    ----------
    images : Tensor
        `(n, N, N)`; the first half of them is one half.
    transfer : Tensor
        `(n, N, N // 2 + 1)`.
    angles : Tensor
        `(n, 3)` degrees.

    Returns
    -------
    ndarray
        `(N // 2 + 1,)` Fourier shell correlation.
    """
    matrices = matrices_from_angles(angles).float()
    slices = torch.fft.rfft2(torch.fft.ifftshift(images, dim=(-2, -1)))
    maps = []
    for half in split_count(len(images)):
        sums = begin_backprojection(images.shape[-1])
        insert_slices(sums, slices[half] * transfer[half], transfer[half] ** 2, matrices[half])
        maps.append(solve_backprojection(sums))
    return fourier_shell_correlation(*maps)


def mean_correlation(curve: np.ndarray) -> float:
    """Average a curve over the shells from `FIRST_SHELL` to half of Nyquist."""
    return float(curve[FIRST_SHELL : (len(curve) - 1) // 2 + 1].mean())
