"""Reading ahead and writing behind: in order, bounded, and no error is lost."""

import threading
import time

import pytest

from polardenoise.engine.runtime.prefetch import reading_ahead, writing_behind


def test_pieces_come_in_order_and_no_more_than_asked_for_are_ahead():
    read = []

    def read_one(key):
        read.append(key)
        return key * key

    with reading_ahead(read_one, range(10), ahead=2) as pieces:
        for number, piece in enumerate(pieces):
            assert piece == number * number
            assert len(read) <= number + 4


def test_an_error_of_reading_comes_where_its_piece_would():
    def read_one(key):
        if key == 3:
            raise OSError("disk")
        return key

    with reading_ahead(read_one, range(10)) as pieces:
        assert [next(pieces) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(OSError, match="disk"):
            next(pieces)


def test_leaving_early_reads_no_more():
    read = []
    with reading_ahead(read.append, range(1000)) as pieces:
        next(pieces)
    count = len(read)
    assert count < 5
    time.sleep(0.05)
    assert len(read) == count
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reading")]


def test_all_is_written_in_order_before_the_block_ends():
    written = []

    def write(number):
        time.sleep(0.002)
        written.append(number)

    with writing_behind(write) as put:
        for number in range(20):
            put(number)
            assert len(written) >= number - 3
    assert written == list(range(20))


@pytest.mark.parametrize("failing", [0, 5, 9])
def test_an_error_of_writing_is_not_lost(failing):
    def write(number):
        if number == failing:
            raise OSError("full")

    def write_all():
        with writing_behind(write) as put:
            for number in range(10):
                put(number)

    with pytest.raises(OSError, match="full"):
        write_all()
