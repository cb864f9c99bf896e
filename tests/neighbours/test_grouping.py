"""Sets: every row kept once, halves and groups never mixed."""

import numpy as np
import pytest

from polardenoise.engine.denoise.batches import gather_batches
from polardenoise.engine.neighbours.grouping import draw_halves, form_sets


@pytest.mark.parametrize("images_per_set", [1, 7, 16, 1000])
def test_every_row_is_kept_once_and_nothing_is_mixed(images_per_set):
    generator = np.random.default_rng(0)
    halves = generator.integers(1, 3, 301)
    groups = generator.choice(["001", "2", "10"], 301)
    sets = form_sets(halves, groups, images_per_set, seed=3)
    kept = np.concatenate([one.rows[: one.kept] for one in sets])
    assert np.array_equal(np.sort(kept), np.arange(301))
    for one in sets:
        assert len(np.unique(halves[one.rows])) == 1
        assert len(np.unique(groups[one.rows])) == 1
        assert len(np.unique(one.rows)) == len(one.rows)
        members = ((halves == halves[one.rows[0]]) & (groups == groups[one.rows[0]])).sum()
        assert len(one.rows) == min(images_per_set, members)  # the last one is filled up


def test_sets_are_drawn_by_the_seed():
    halves, groups = np.ones(50, dtype=int), np.zeros(50)
    first, again, other = (form_sets(halves, groups, 10, seed)[0].rows for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_drawn_halves_are_of_equal_size_and_repeatable():
    halves = draw_halves(np.arange(101), seed=5)
    assert sorted(np.bincount(halves)[1:]) == [50, 51]
    assert np.array_equal(halves, draw_halves(np.arange(101), seed=5))
    assert not np.array_equal(halves, draw_halves(np.arange(101), seed=6))


@pytest.mark.parametrize("limit", [1, 16, 33, 10_000])
def test_batches_hold_whole_sets_of_one_size(limit):
    halves = np.ones(100, dtype=int)
    sets = form_sets(halves, np.arange(100) // 45, 16, seed=0)  # groups of 45, 45 and 10
    batches = list(gather_batches(sets, halves, limit))
    assert sum(len(batch) for batch in batches) == len(sets)
    for batch in batches:
        assert len({len(one.rows) for one in batch}) == 1
        assert len(batch) == 1 or len(batch) * len(batch[0].rows) <= limit
