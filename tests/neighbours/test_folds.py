"""Folds: a large half in parts that share no pixels."""

import numpy as np
import pytest

from polardenoise.engine.neighbours import folds
from polardenoise.engine.neighbours.folds import divide_into_folds
from polardenoise.engine.particles.micrograph_places import MicrographPlaces
from polardenoise.engine.particles.shared_pixels import join, share_nothing


@pytest.fixture(autouse=True)
def small_halves(monkeypatch):
    monkeypatch.setattr(folds, "SMALLEST_HALF", 40)


def lay_on_micrographs(micrograph):
    """Boxes far apart on micrographs of these numbers."""
    count = len(micrograph)
    centre = np.stack([1000.0 * np.arange(count), np.zeros(count)], 1)
    places = MicrographPlaces(np.asarray(micrograph), centre, np.full(count, 32.0), "")
    return join(np.arange(count), np.arange(count), places)


def test_a_large_half_has_even_folds_and_a_small_one_none():
    halves = np.repeat([1, 2], [60, 39])
    drawn = divide_into_folds(halves, share_nothing(99), 0)
    assert np.bincount(drawn[halves == 1]).tolist() == [0, 20, 20, 20]
    assert not drawn[halves == 2].any()
    other = divide_into_folds(halves, share_nothing(99), 1)
    assert (other != drawn).any()


def test_what_one_half_has_changes_nothing_in_the_other():
    first = divide_into_folds(np.repeat([1, 2], [60, 50]), share_nothing(110), 0)
    second = divide_into_folds(np.repeat([1, 2], [60, 90]), share_nothing(150), 0)
    assert np.array_equal(first[:60], second[:60])


def test_a_micrograph_is_in_one_fold():
    micrograph = np.random.default_rng(0).integers(0, 12, 200)
    halves = np.random.default_rng(1).integers(1, 3, 200)
    drawn = divide_into_folds(halves, lay_on_micrographs(micrograph), 0)
    for half in (1, 2):
        of_half = halves == half
        assert set(drawn[of_half]) == {1, 2, 3}
        for one in range(12):
            assert len(set(drawn[of_half & (micrograph == one)])) <= 1


@pytest.mark.parametrize("micrograph", [np.zeros(60, int), np.repeat([0, 1, 2], [50, 5, 5])])
def test_a_half_of_too_few_micrographs_is_not_divided(micrograph):
    assert not divide_into_folds(np.ones(60, int), lay_on_micrographs(micrograph), 0).any()


def test_rows_of_one_image_are_in_its_fold():
    image = np.arange(120) % 60
    places = MicrographPlaces(np.full(120, -1), np.zeros((120, 2)), np.zeros(120), "")
    drawn = divide_into_folds(np.ones(120, int), join(image, image, places), 0)
    assert np.array_equal(drawn[:60], drawn[60:])
    assert np.bincount(drawn).tolist() == [0, 40, 40, 40]


def test_the_folds_stand_in_a_ring():
    assert [folds.next_fold(fold) for fold in range(1, folds.FOLDS + 1)] == [2, 3, 1]
