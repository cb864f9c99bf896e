"""Chunks of a set that grows, and the final ones when all of it has arrived."""

import numpy as np

from polardenoise.convert.chunks import Chunk, cut_final_ids, cut_ids, find_first_final
from polardenoise.tests import scipion_project  # noqa: F401  (sets the environment before pwem)


def number_chunks(*parts):
    """Make chunks of these ids."""
    return [Chunk(number, np.array(part)) for number, part in enumerate(parts, 1)]


def as_lists(parts):
    """Give ids as plain lists."""
    return [part.tolist() for part in parts]


IDS = np.arange(1, 11)


def test_a_set_that_was_there_at_once_is_cut_once():
    assert as_lists(cut_final_ids([], IDS, 20)) == [IDS.tolist()]
    chunks = number_chunks(*cut_ids(IDS, 4, True))
    assert cut_final_ids(chunks, IDS, 4) == []
    assert find_first_final(chunks) == 0


def test_a_set_that_came_in_batches_is_cut_once_more():
    chunks = number_chunks([1, 2, 3], [4, 5, 6])
    assert as_lists(cut_final_ids(chunks, IDS, 20)) == [IDS.tolist()]
    chunks += number_chunks([], [], IDS)[2:]
    assert find_first_final(chunks) == 2
    assert cut_final_ids(chunks, IDS, 20) == []


def test_batches_that_are_the_chunks_of_the_whole_set_stay():
    first, second, third = cut_ids(IDS, 4, True)
    assert as_lists(cut_final_ids(number_chunks(first), IDS, 4)) == as_lists([second, third])


def test_final_chunks_that_a_kill_cut_short_are_completed():
    parts = cut_ids(IDS, 5, True)
    chunks = number_chunks([1, 2], [3, 4], parts[0])
    assert find_first_final(chunks) == 2
    assert as_lists(cut_final_ids(chunks, IDS, 5)) == [parts[1].tolist()]
