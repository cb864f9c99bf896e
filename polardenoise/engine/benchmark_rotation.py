"""How much a network's error changes when what it sees is rotated.

The molecule is rotated, not its image: a projection at another in-plane angle is exact. The noise of a rotated set is
white and as good as fresh, yet that of the set upright: noise in a disk of frequencies, drawn on a larger field and
turned with the molecule, and fresh noise in the corners of the transform, where there is nothing to turn into. What
then differs is what the network makes of the rotation; with independent noise the error of a set changes by some 7 %.

Sets show one elongated view, in-plane angles whole quarter turns apart, which a square grid cannot tell from one
another; all of a set are then turned by so many steps of the polar grid.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.models import Denoiser
from polardenoise.engine.null_surrogates import turn_quarter
from polardenoise.engine.orientations import draw_orientations
from polardenoise.engine.plane_rotation import rotate_images
from polardenoise.engine.polar import disk_mask
from polardenoise.engine.projections import VolumeTransform, take_projections
from polardenoise.engine.radial_filter import ring_index

#: Steps of a turn: those of the polar grid.
STEPS = 128


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
