"""Class averages: the view that raw images show, weighted by their CTF, and each image placed more finely."""

import pytest
import torch

from polardenoise.engine.classes.averages import (
    add_to_sums,
    average_sums,
    begin_sums,
    find_crossings,
    find_noise_to_signal,
    finish_sums,
    measure_resolutions,
    split_parts,
)
from polardenoise.engine.classes.placement import Placement, place_images
from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotation import turn_images
from tests.imaging.test_rotational_matching import draw_ctf_rings
from tests.smooth_images import draw_smooth_images, relative_norm

BOX, COUNT = 32, 240
AXIS = torch.arange(BOX) - BOX // 2
AROUND = (-(AXIS[:, None] ** 2 + AXIS**2) / (2 * 5.0**2)).exp()
DISK = torch.hypot(AXIS[:, None].float(), AXIS[None].float()) <= BOX / 2 - 1


@pytest.fixture(scope="module")
def grid():
    return PolarGrid(BOX, 16, 64)


@pytest.fixture(scope="module")
def views():
    views = AROUND * draw_smooth_images(2, 0, BOX)[0].float()
    return views / views.square().mean((1, 2), keepdim=True).sqrt()


def draw_images(views, grid, snr, ctf_rings, seed=0):
    """Images of the views in turn, anywhere about the centre; and where they lie."""
    generator = torch.Generator().manual_seed(seed)
    degrees = 360 * torch.rand(COUNT, generator=generator)
    displacements = torch.randn(COUNT, 2, generator=generator)
    number = torch.arange(COUNT) % 2
    clean = shift_images(turn_images(views[number], degrees, grid), displacements)
    noise = torch.randn(clean.shape, generator=generator)
    images = snr**0.5 * filter_by_rings(clean, ctf_rings) + noise
    return images, number, Placement(degrees, displacements)


def sum_images(images, ctf_rings, number, placement, grid):
    sums = begin_sums(2, grid, images.device)
    part = torch.arange(len(images)) // 2 % 2
    placed = placement.degrees, placement.displacements
    add_to_sums(sums, images, ctf_rings, 2 * number + part, *placed, grid)
    return finish_sums(sums, grid)


def distance(averages, views, snr):
    return float(relative_norm(DISK * (averages - snr**0.5 * views), snr**0.5 * views))


@pytest.mark.parametrize("with_ctf", [False, True])
def test_averages_are_the_views_without_ctf(grid, views, with_ctf):
    ctf_rings = torch.ones(COUNT, BOX // 2)
    if with_ctf:
        ctf_rings = 0.2 + 0.8 * draw_ctf_rings(COUNT)
    images, number, placement = draw_images(views, grid, 0.5, ctf_rings)
    sums = sum_images(images, ctf_rings, number, placement, grid)
    expected = ctf_rings[number == 1].square().sum(0)
    assert torch.allclose(sums.weights[1].sum(0), expected, rtol=1e-4)
    averages = average_sums(sums, find_noise_to_signal(sums))
    assert distance(averages, views, 0.5) < 0.2
    # Wiener's filter is better than none, and leaving the CTF out of the weights is worse.
    unweighted = average_sums(sums, torch.full((BOX // 2,), 1e-6))
    assert distance(averages, views, 0.5) < distance(unweighted, views, 0.5)


def test_images_are_placed_as_they_lie(grid, views):
    """Begun some degrees and a pixel off, images find where they lie, and averages become those of the truth."""
    ctf_rings = torch.ones(COUNT, BOX // 2)
    images, number, truth = draw_images(views, grid, 1.0, ctf_rings)
    generator = torch.Generator().manual_seed(1)
    begun = Placement(
        truth.degrees + 2.5 * torch.randn(COUNT, generator=generator), 0 * truth.displacements
    )
    current, errors = begun, []
    for _ in range(3):
        sums = sum_images(images, ctf_rings, number, current, grid)
        constant = find_noise_to_signal(sums)
        errors.append(distance(average_sums(sums, constant), views, 1.0))
        current = place_images(
            images, ctf_rings, number, current, sums, constant, grid, build_fourier_rings(BOX)
        )
    off = (current.displacements - truth.displacements).square().mean().sqrt()
    assert off < 0.5 * truth.displacements.square().mean().sqrt()
    assert errors[2] < 0.6 * errors[0]


def test_an_image_does_not_find_itself_in_its_average(grid, views):
    """Of noise alone, an image in its own average would lie where it was put; left out, it may lie anywhere."""
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(6, BOX, BOX, generator=generator)
    ctf_rings, number = torch.ones(6, BOX // 2), torch.zeros(6, dtype=torch.int64)
    put = Placement(360 * torch.rand(6, generator=generator), torch.zeros(6, 2))
    sums = sum_images(noise, ctf_rings, number, put, grid)
    constant = torch.full((BOX // 2,), 1.0)
    found = place_images(
        noise, ctf_rings, number, put, sums, constant, grid, build_fourier_rings(BOX)
    )
    moved = (found.degrees - put.degrees + 180) % 360 - 180
    assert (moved.abs() > 5).float().mean() > 0.6


def test_resolution_is_where_parts_cease_to_agree(grid, views):
    ctf_rings = torch.ones(COUNT, BOX // 2)
    finer = []
    for snr in (0.05, 2.0):
        images, number, placement = draw_images(views, grid, snr, ctf_rings)
        sums = sum_images(images, ctf_rings, number, placement, grid)
        finer.append(measure_resolutions(*split_parts(sums), 3.0))
    assert (finer[1] < finer[0]).all()
    assert ((finer[1] >= 6.0) & (finer[0] <= 96.0)).all()  # Nyquist, and the field of view
    curves = torch.tensor([[1.0, 0.9, 0.5, 0.1, 0.0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]])
    ring = 2 + (0.5 - 0.143) / (0.5 - 0.1)
    expected = torch.tensor([100 / ring, 25.0, 100.0])
    assert torch.allclose(find_crossings(curves, 100.0), expected, rtol=1e-4)
