"""Twins: classes of the two halves that show the same view, however it is turned and wherever it lies."""

import numpy as np
import pytest
import torch

from polardenoise.engine.classes import twins
from polardenoise.engine.classes.averages import ClassSums
from polardenoise.engine.classes.twins import find_twins, lay_images_onto, lay_sums
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotation import turn_images
from tests.smooth_images import draw_smooth_images, relative_norm

BOX = 32
AXIS = torch.arange(BOX) - BOX // 2
#: Keeps what is shown off the edge, where turning and moving would cut it.
AROUND = (-(AXIS[:, None] ** 2 + AXIS**2) / (2 * 5.0**2)).exp()


@pytest.fixture(scope="module")
def grid():
    return PolarGrid(BOX, 16, 64)


@pytest.fixture(scope="module")
def views():
    return AROUND * draw_smooth_images(4, 0, BOX)[0].float()


@pytest.mark.parametrize("at_once", [1, 2, 256])
def test_twins_show_the_same_and_are_each_others_only(monkeypatch, grid, views, at_once):
    monkeypatch.setattr(twins, "CLASSES_AT_ONCE", at_once)
    degrees = torch.tensor([0.0, 37.5, 187.5, -60.0, 123.75])
    first = turn_images(views[[0, 1, 2, 2, 3]], degrees, grid)
    second = 2 * views[[2, 0, 1]]  # twice as strong; that does not matter
    found = find_twins(first, second, build_fourier_rings(BOX), grid)
    pairs = dict(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert len(pairs) == 3
    assert pairs[0] == 1
    assert pairs[1] == 2
    assert pairs.get(2, pairs.get(3)) == 0  # view 2 is seen twice: one of the two has no twin
    assert found.correlation.min() > 0.95


def test_fine_detail_tells_twins_that_are_coarsely_alike(grid, views):
    """Two views of one coarse shape; what is coarse and wrong in one half's average is so in the other view's too."""
    shape = 8 * (-(AXIS[:, None] ** 2 + 1.4 * AXIS**2) / (2 * 3.5**2)).exp()
    coarse = [shape + tilt * AXIS / 30 * shape for tilt in (1.0, -1.0)]
    # Rings of a few pixels' width: next to nothing beside the shape.
    detail = [0.15 * (one - AROUND * one.mean()) for one in views[:2]]
    first = torch.stack([coarse[0] + detail[0], coarse[1] + detail[1]])
    second = torch.stack([coarse[1] + detail[0], coarse[0] + detail[1]])
    rings = build_fourier_rings(BOX)
    harmonics = rings.to_harmonics(first), rings.to_harmonics(second)
    plain = twins.correlate_averages(*harmonics, rings)
    assert plain[0, 1] > plain[0, 0]  # as they are, each is more like the other view
    found = find_twins(first, second, rings, grid)
    assert found.second[found.first.argsort()].tolist() == [0, 1]


def test_the_second_laid_onto_the_first_is_the_first(grid, views):
    turned = turn_images(views[:3], torch.tensor([20.0, 100.0, -47.0]), grid)
    shifts = torch.tensor([[0.4, -0.5], [0.5, 0.0], [-0.6, 0.3]])
    first = shift_images(turned, shifts)
    found = find_twins(first, views[:3], build_fourier_rings(BOX), grid)
    assert found.first.tolist() == found.second.tolist() == [0, 1, 2]
    laid = shift_images(turn_images(views[:3], found.degrees, grid), found.shifts)
    for one in range(3):
        assert relative_norm(laid[one] - first[one], first[one]) < 0.15
    weights = torch.arange(3.0)[:, None, None].expand(3, 2, BOX // 2)
    sums = ClassSums(torch.stack([views[:3], -views[:3]], 1), weights)
    moved = lay_sums(sums, found, grid)
    assert torch.allclose(moved.images, torch.stack([laid, -laid], 1), atol=1e-5)
    assert torch.equal(moved.weights, weights)


def test_images_of_a_twin_lie_in_the_average_that_is_shown(grid, views):
    """Placed in its own class or, by way of the twin, in the other one, an image is the same image."""
    generator = np.random.default_rng(0)
    turn, shift = generator.uniform(-180, 180, 4), generator.uniform(-2, 2, (4, 2))
    degrees, displacements = generator.uniform(-180, 180, 4), generator.uniform(-2, 2, (4, 2))

    def place(images, by, to):
        turned = turn_images(images, torch.from_numpy(by).float(), grid)
        return shift_images(turned, torch.from_numpy(to).float())

    image = place(views, degrees, displacements)
    shown = place(views, turn, shift)
    laid = lay_images_onto(degrees, displacements, turn, shift)
    again = place(shown, *laid)
    for one in range(4):
        assert relative_norm(again[one] - image[one], image[one]) < 0.1
    assert np.abs(laid[0]).max() <= 180


def test_classes_of_empty_images_are_twins_of_one_another_only(grid, views):
    rings = build_fourier_rings(BOX)
    noise = 0.01 * torch.randn(2, BOX, BOX, generator=torch.Generator().manual_seed(0))
    first, second = torch.cat([views[:2], noise[:1]]), torch.cat([views[:1], noise[1:]])
    found = find_twins(first, second, rings, grid, (True, True))
    assert [found.first.tolist(), found.second.tolist()] == [[0, 2], [0, 1]]
    found = find_twins(first, second[:1], rings, grid, (True, False))
    assert [found.first.tolist(), found.second.tolist()] == [[0], [0]]
