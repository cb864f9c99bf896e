"""Sets are gathered into batches of one half and one size."""

import numpy as np

from polardenoise.engine.denoise.batches import gather_batches
from polardenoise.engine.neighbours.grouping import ImageSet


def make_sets(sizes, first_row):
    sets = []
    for size in sizes:
        sets.append(ImageSet(np.arange(first_row, first_row + size), size))
        first_row += size
    return sets


def rows_of(batches, halves, half):
    return [
        [one.rows.tolist() for one in batch]
        for batch in batches
        if halves[batch[0].rows[0]] == half
    ]


def test_batches_hold_one_half_and_one_size_and_every_set_once():
    halves = np.repeat([1, 2], 40)
    sets = make_sets([8, 8, 8, 8, 5, 3], 0) + make_sets([8, 8, 8, 8, 8], 40)
    batches = list(gather_batches(sets, halves, 20))
    for batch in batches:
        assert len({len(one.rows) for one in batch}) == 1
        assert len(set(halves[np.concatenate([one.rows for one in batch])])) == 1
        assert sum(len(one.rows) for one in batch) <= 20
    gathered = np.concatenate([one.rows for batch in batches for one in batch])
    assert np.array_equal(np.sort(gathered), np.arange(80))


def test_the_sets_of_one_half_do_not_change_the_batches_of_the_other():
    halves = np.repeat([1, 2], 40)
    own = make_sets([8, 8, 8, 8, 8], 0)
    few, many = make_sets([20, 20], 40), make_sets([8, 8, 8, 8, 8], 40)
    mixed = [one for pair in zip(many, own, strict=True) for one in pair]
    expected = rows_of(gather_batches(own, halves, 16), halves, 1)
    for sets in (own + few, few + own, own + many, mixed):
        assert rows_of(gather_batches(sets, halves, 16), halves, 1) == expected


def test_a_set_larger_than_the_batch_is_a_batch():
    sets = make_sets([30, 30], 0)
    assert [len(batch) for batch in gather_batches(sets, np.ones(60), 10)] == [1, 1]
