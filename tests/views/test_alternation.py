"""Alternation: two folds make one volume, better than the estimates that it begins with."""

import pytest
import torch

from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.views import alternation
from polardenoise.engine.views.alternation import FoldImages, count_placed, make_volume
from tests.views.volumes import BOX, make_blobs, make_images, measure_unexplained

GRID = PolarGrid(BOX, 16, 64)


@pytest.fixture(autouse=True)
def few_views(monkeypatch):
    monkeypatch.setattr(alternation, "VIEWS", 300)
    monkeypatch.setattr(alternation, "FIRST_IMAGES", 300)
    monkeypatch.setattr(alternation, "PLACED_AT_ONCE", 200)


def open_images(images, displacements=None):
    def read(some):
        own = images[some]
        return own, torch.ones(len(own), BOX // 2)

    return FoldImages(len(images), read, displacements)


def test_the_volume_of_two_folds_explains_other_images_better_than_estimates_do():
    volume = make_blobs()
    first, clean, _ = make_images(volume, 700, 0.3, seed=1)
    second, _, _ = make_images(volume, 600, 0.3, seed=2)
    generator = torch.Generator().manual_seed(3)
    estimates = clean[:250] + 0.15 * torch.randn(250, BOX, BOX, generator=generator)
    others = make_images(volume, 80, 1.0, seed=4)[1]
    placed = []
    found = make_volume(
        open_images(first), open_images(second), estimates, GRID, generator, placed.append
    )
    assert sum(placed) == count_placed(700, 600) == 300 + 700 + 300 + 600
    floor = measure_unexplained(volume, others)
    assert measure_unexplained(found, others) < floor + 0.03


def test_images_off_the_centre_are_moved():
    volume = make_blobs()
    first, _, _ = make_images(volume, 500, 0.5, seed=1)
    second, clean, _ = make_images(volume, 500, 0.5, seed=2)
    generator = torch.Generator().manual_seed(3)
    moved = torch.randn(2, 500, 2, generator=generator)
    folds = [
        open_images(shift_images(images, own), torch.zeros(500, 2))
        for images, own in zip((first, second), moved, strict=True)
    ]
    make_volume(folds[0], folds[1], clean[:250], GRID, generator, lambda _: None)
    for fold, own in zip(folds, moved, strict=True):
        left = fold.displacements - own
        # What is left is mostly that the volume as a whole may lie off its centre.
        assert left.square().mean() < 0.6 * own.square().mean()
