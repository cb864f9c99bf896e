"""The polar map: near-isometry, exact rotations, and an inverse that gives the image back."""

import math

import mrcfile
import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.imaging.polar_grid import (
    PolarGrid,
    build_forward_blocks,
    build_sampling_matrix,
    invert_blocks,
    solve_least_squares,
)
from polardenoise.engine.imaging.projections import prepare_volume, take_projections
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.simulate.sources import read_density
from tests.smooth_images import draw_smooth_images, relative_norm


@pytest.fixture(scope="module")
def grid():
    return PolarGrid(64, 32, 128).double()


@pytest.fixture(scope="module")
def exact_grid():
    """The grid in float64 throughout, for statements about the method and not about rounding."""
    return build_exact_grid(64, 32, 128)


def build_exact_grid(box, rings, angles):
    grid = PolarGrid(box, rings, angles)
    grid.forward_blocks = build_forward_blocks(box, rings, angles, 0.8)
    grid.inverse_blocks = invert_blocks(grid.forward_blocks, box, rings, angles, 1e-5)
    return grid


def relative_error_on_the_disk(grid, images):
    disk = disk_mask(64, 31)
    back = grid.to_images(grid.to_polar(images))
    return ((back - images)[:, disk] ** 2).sum(1) / (images[:, disk] ** 2).sum(1)


def test_the_inverse_gives_relions_ribosome_back(grid, shared_data):
    folder = shared_data / "particles" / "simulated" / "aspire_relion_projections"
    with mrcfile.open(folder / "rln_proj_64.mrcs") as file:
        images = torch.from_numpy(file.data.astype(np.float64))
    assert relative_error_on_the_disk(grid, images).max() < 5e-5


STRUCTURES = ("1wcm.pdb.gz", "9be6.cif.gz", "2cg9.pdb.gz")


@pytest.mark.parametrize(
    "source",
    ["phantom:10011", *(pytest.param(one, marks=pytest.mark.shared_data) for one in STRUCTURES)],
)
def test_the_inverse_gives_projections_back(grid, request, source):
    """At a B-factor of 150 A^2, single precision, every view by itself."""
    if not source.startswith("phantom"):
        source = str(request.getfixturevalue("shared_data") / "structures" / source)
    density = read_density(source, 64, None, 150.0)
    angles = draw_orientations(8, np.random.default_rng(0))
    images = take_projections(prepare_volume(density.volume), angles)
    assert relative_error_on_the_disk(PolarGrid(64, 32, 128), images).max() < 5e-5


def test_the_adjoint_is_far_worse_than_the_inverse(exact_grid):
    images, _ = draw_smooth_images(4, seed=1)
    disk = disk_mask(64, 31)

    def error(back):
        return float(((back - images)[:, disk] ** 2).sum() / (images[:, disk] ** 2).sum())

    polar = exact_grid.to_polar(images)
    matrix = build_sampling_matrix(64, 32, 128, 0.8)
    adjoint = (polar.flatten(1) @ matrix).unflatten(1, (64, 64))
    scale = (adjoint * images).sum() / (adjoint**2).sum()
    assert error(exact_grid.to_images(polar)) < 0.1 * error(scale * adjoint)


@pytest.mark.parametrize("steps", [1, 5, 32, 77])
def test_rotating_the_image_shifts_the_polar_image(exact_grid, steps):
    angle = 2 * math.pi * steps / 128
    images, rotated = draw_smooth_images(6, seed=2, rotation=angle)
    shifted = exact_grid.to_polar(images).roll(steps, -1)
    limit = 1e-12 if steps == 32 else 1e-3
    assert relative_norm(exact_grid.to_polar(rotated) - shifted, shifted) < limit


def test_quarter_turns_are_exact_in_single_precision():
    grid = PolarGrid(64, 32, 128)
    images = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    # A quarter turn about pixel (32, 32): counter-clockwise, +x to +y (rows grow with y).
    turned = torch.zeros_like(images)
    turned[:, 1:, 1:] = images[:, 1:, 1:].flip(-2).transpose(-1, -2)
    expected = grid.to_polar(images).roll(32, -1)
    assert relative_norm(grid.to_polar(turned) - expected, expected) < 1e-5
    back, back_turned = grid.to_images(expected), grid.to_images(grid.to_polar(images))
    inner = back_turned[:, 1:, 1:].flip(-2).transpose(-1, -2)
    assert relative_norm(back[:, 1:, 1:] - inner, inner) < 1e-5


def test_energy_is_nearly_that_of_the_image(exact_grid):
    images, _ = draw_smooth_images(8, seed=3, widest_frequency=0.06)
    ratio = exact_grid.to_polar(images).square().sum() / images.square().sum()
    assert 0.9 < ratio < 1.001


def test_a_point_at_the_centre_is_the_same_at_every_angle(exact_grid):
    image = torch.zeros(64, 64, dtype=torch.float64)
    image[32, 32] = 1.0
    polar = exact_grid.to_polar(image)
    spread = (polar - polar[:, :32].repeat(1, 4)).abs().max()
    assert spread < 1e-14  # quarter turns
    assert polar[0].std() / polar[0].mean() < 1e-2
    assert polar[8:].abs().max() < 1e-6 * polar.abs().max()


def test_the_first_angle_points_along_x(exact_grid):
    image = torch.zeros(64, 64, dtype=torch.float64)
    image[32, 52] = 1.0  # 20 px along +x
    ring, angle = divmod(int(exact_grid.to_polar(image).argmax()), 128)
    assert angle == 0
    assert abs((ring + 0.5) * 31.5 / 32 - 20) < 0.8
    image = torch.zeros(64, 64, dtype=torch.float64)
    image[52, 32] = 1.0  # 20 px along +y, a quarter turn
    assert int(exact_grid.to_polar(image).argmax()) % 128 == 32


@pytest.mark.parametrize(("box", "rings", "angles"), [(16, 8, 32), (24, 10, 36), (6, 3, 4)])
def test_parity_by_parity_it_is_the_dense_map_and_its_inverse(box, rings, angles):
    """Row by row: the images that are one pixel, and the samples that are one sample."""
    grid = build_exact_grid(box, rings, angles)
    forward = build_sampling_matrix(box, rings, angles, 0.8)
    pixels = torch.eye(box * box, dtype=torch.float64).unflatten(1, (box, box))
    assert (grid.to_polar(pixels).flatten(1).T - forward).abs().max() < 1e-14
    inverse = solve_least_squares(forward, box, 1e-5)
    samples = torch.eye(rings * angles, dtype=torch.float64).unflatten(1, (rings, angles))
    fast = grid.to_images(samples).flatten(1).T
    assert (fast - inverse).abs().max() < 1e-10 * inverse.abs().max()


def test_any_number_of_images_is_mapped():
    grid = PolarGrid(16, 8, 32)
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    polar = grid.to_polar(images)
    assert polar.shape == (2, 3, 8, 32)
    assert torch.allclose(grid.to_polar(images[1, 2]), polar[1, 2], atol=1e-5)
    assert grid.to_images(polar[:0]).shape == (0, 3, 16, 16)


@pytest.mark.parametrize(("box", "angles"), [(63, 128), (128, 128), (64, 126)])
def test_grids_that_cannot_be_are_refused(box, angles):
    with pytest.raises(ValueError, match="polar grid"):
        PolarGrid(box, 32, angles)


def test_a_grid_that_was_first_built_in_inference_mode_can_be_trained_through():
    """Matrices are kept for the process: a network that denoises first must not spoil one that learns after it."""
    size = {"box": 16, "rings": 5, "angles": 12}  # of no other test
    with torch.inference_mode():
        PolarGrid(**size)
        build_fourier_rings(14)
    images = torch.randn(2, 16, 16, requires_grad=True)
    grid = PolarGrid(**size)
    grid.to_images(grid.to_polar(images)).square().sum().backward()
    assert images.grad.abs().max() > 0
    small = torch.randn(2, 14, 14, requires_grad=True)
    build_fourier_rings(14).to_harmonics(small).square().sum().backward()
    assert small.grad.abs().max() > 0
