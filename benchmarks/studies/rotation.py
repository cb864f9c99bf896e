"""Whether a network's error depends on how what it sees is rotated.

    python -m benchmarks rotation MODEL ... -o benchmarks/results/honesty

For each model, on sets of 32 images at SNR 0.05 without CTF, of a phantom that no model is trained on: how far the
output for images turned by 90 degrees is from the turned output (same noise), and by how much the relative MSE of
the most elongated view changes when the molecule and all noise below Nyquist are turned by so many 128ths of a turn,
with its standard error over the sets. Each row is kept in `rotation/` and not computed again. Writes a table.

The molecule is rotated, not its image: a projection at another in-plane angle is exact. The noise of a rotated set is
white and as good as fresh, yet that of the set upright: noise in a disk of frequencies, drawn on a larger field and
turned with the molecule, and fresh noise in the corners of the transform, where there is nothing to turn into. What
then differs is what the network makes of the rotation; with independent noise the error of a set changes by some 7 %.

Sets show one elongated view, in-plane angles whole quarter turns apart, which a square grid cannot tell from one
another; all of a set are then turned by so many steps of the polar grid.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common.tables import write_table
from polardenoise.engine.evaluate.noise_images import turn_quarter
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.imaging.projections import (
    VolumeTransform,
    prepare_volume,
    take_projections,
)
from polardenoise.engine.imaging.rings import ring_index
from polardenoise.engine.imaging.rotation import rotate_images
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.networks.denoiser import Denoiser
from polardenoise.engine.runtime.files import write_json
from polardenoise.engine.simulate.sources import read_density

#: Steps of a turn: those of the polar grid.
STEPS = 128

MOLECULE, B_FACTOR = "phantom:10002", 150.0
SNR, IMAGES_PER_SET = 0.05, 32
#: 2.8, 14.1, 45 and 75.9 degrees.
ROTATIONS = (1, 5, 16, 27)


def measure_rotated_sets(
    model: Denoiser,
    transform: VolumeTransform,
    view: Tensor,
    steps: int,
    sets: int,
    images_per_set: int,
    snr: float,
    seed: int,
) -> np.ndarray:
    """Denoise sets of one view, turned by some steps, noise and all.

    Parameters
    ----------
    model : Denoiser
        On the CPU.
    transform : VolumeTransform
        Of the molecule, of the model's box.
    view : Tensor
        `(1, 3)` rot, tilt, psi in degrees; psi is replaced.
    steps : int
        Of `360 / STEPS` degrees.
    sets, images_per_set, snr
        How much to denoise, and how hard it is.
    seed : int
        Of the noise.

    Returns
    -------
    ndarray
        `(sets,)` relative MSE on the disk.
    """
    box = transform.box
    inside = disk_mask(box, box / 2 - 1)
    angles = view.repeat(images_per_set, 1)
    degrees = steps * 360.0 / STEPS
    angles[:, 2] = (torch.arange(images_per_set) % 4) * 90.0 + degrees
    clean = take_projections(transform, angles)
    clean = clean * (snr / clean.square().mean()).sqrt()
    errors = []
    for number in range(sets):
        noise = draw_turned_noise(images_per_set, box, degrees, [seed, number])
        with torch.inference_mode():
            estimates = model((clean + noise)[None])[0]
        residual = ((estimates - clean) * inside).square().sum()
        errors.append(float(residual / (clean * inside).square().sum()))
    return np.array(errors)


def draw_turned_noise(count: int, box: int, degrees: float, seed: list[int]) -> Tensor:
    """Draw white noise of variance 1, `(count, box, box)`, of which all below Nyquist turns with `degrees`."""
    generator = np.random.default_rng(seed)
    field = box + box // 2  # more than the diagonal of the box
    shape = (count, field, field)
    drawn = torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))
    turned = rotate_images(drawn, torch.full((count,), degrees))
    generator = np.random.default_rng([*seed, 1 + round(degrees * 1000)])
    drawn = torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))
    corners = ring_index(field) >= field // 2
    turned += torch.fft.irfft2(torch.fft.rfft2(drawn) * corners, s=(field, field))
    edge = field // 2 - box // 2
    return turned[..., edge : edge + box, edge : edge + box]


def compare_errors(rotated: np.ndarray, upright: np.ndarray) -> tuple[float, float]:
    """Give the change of the mean error relative to that of the upright sets, and its standard error."""
    change = (rotated - upright) / upright.mean()
    return float(change.mean()), float(change.std(ddof=1) / np.sqrt(len(change)))


def measure_quarter_turn(model: Denoiser, noisy: Tensor) -> float:
    """Tell how far the output for images turned by 90 degrees is from the turned output.

    Parameters
    ----------
    model : Denoiser
        On the CPU.
    noisy : Tensor
        `(images, N, N)` one set. Row and column 0, which have no counterpart at the other edge, are set to 0.

    Returns
    -------
    float
        Norm of the difference over that of the output, row and column 0 apart.
    """
    upright = noisy.clone()
    upright[..., 0, :], upright[..., :, 0] = 0, 0
    with torch.inference_mode():
        expected = turn_quarter(model(upright[None]))
        found = model(turn_quarter(upright)[None])
    found = found.clone()
    found[..., 0, :], found[..., :, 0] = 0, 0
    return float((found - expected).norm() / expected.norm())


def find_elongated_view(transform: VolumeTransform, generator: np.random.Generator) -> Tensor:
    """Find, among 100 random views, the one whose image is the most elongated, `(1, 3)` degrees.

    A mean over all views would hide a network that prefers a direction: each direction of the molecule would meet it.
    """
    views = draw_orientations(100, generator)
    images = take_projections(transform, views).clamp_min(0)
    box = transform.box
    offsets = torch.arange(box, dtype=images.dtype) - box // 2
    along_x = (images * offsets**2).sum((-2, -1))
    along_y = (images * offsets[:, None] ** 2).sum((-2, -1))
    crossed = (images * offsets * offsets[:, None]).sum((-2, -1))
    # The difference of the second moments along the principal axes over their sum.
    elongation = ((along_x - along_y).square() + 4 * crossed.square()).sqrt() / (along_x + along_y)
    return views[elongation.argmax()][None]


def draw_one_view_set(
    transform: VolumeTransform, count: int, snr: float, generator: np.random.Generator
) -> Tensor:
    """Draw `(count, N, N)` noisy images of one view at random in-plane angles, noise of variance 1."""
    angles = draw_orientations(1, generator).repeat(count, 1)
    angles[:, 2] = torch.from_numpy(generator.uniform(-180, 180, count))
    clean = take_projections(transform, angles)
    clean = clean * (snr / clean.square().mean()).sqrt()
    return clean + torch.from_numpy(generator.standard_normal(clean.shape, dtype=np.float32))


def main(words: Sequence[str]) -> None:
    """Measure what is not there yet and write the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks rotation", description=__doc__.splitlines()[0]
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="names or folders")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--sets", type=int, default=8, help="of each rotation (default: 8)")
    arguments = parser.parse_args(words)
    rows = []
    for model in arguments.models:
        path = arguments.output / "rotation" / f"{Path(model).name}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, measure(model, arguments.sets))
        rows.append({"model": Path(model).name, **json.loads(path.read_text())})
        write_table(rows, arguments.output, "rotation")


def measure(name: str, count: int) -> dict[str, Any]:
    """Measure one model on `count` sets of each rotation."""
    model, card = load_model(name)
    transform = prepare_volume(read_density(MOLECULE, card.sizes["box"], None, B_FACTOR).volume)
    generator = np.random.default_rng(0)
    view = find_elongated_view(transform, generator)
    quarter = measure_quarter_turn(
        model, draw_one_view_set(transform, IMAGES_PER_SET, SNR, generator)
    )
    errors = {
        steps: measure_rotated_sets(
            model, transform, view, steps, count, IMAGES_PER_SET, SNR, seed=1
        )
        for steps in (0, *ROTATIONS)
    }
    row: dict[str, Any] = {
        "sets": count,
        "90 degrees: change of the output": quarter,
        "relative MSE": float(errors[0].mean()),
    }
    for steps in ROTATIONS:
        change, uncertainty = compare_errors(errors[steps], errors[0])
        degrees = f"{steps * 360 / STEPS:.1f} degrees"
        row |= {
            f"{degrees}: change of the error": change,
            f"{degrees}: standard error": uncertainty,
        }
    return row
