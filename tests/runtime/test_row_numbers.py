"""Wherever a person meets the number of a row it is said how rows are counted."""

import pytest

from polardenoise.engine.cli import main
from polardenoise.engine.runtime.row_numbers import say_how_rows_count


@pytest.mark.parametrize(
    ("message", "of_rows_option", "clause"),
    [
        ("a.star: row 3: junk", False, " (rows are counted from 1)"),
        ("24 blank (rows 3, 4 and 14 more)", True, " (rows are counted from 1; --rows counts from 0: row 3 is 2:3)"),
        ("a.star: row 2 of data_optics: junk", True, " (rows are counted from 1)"),
        ("--rows 5: give A:B, counted from 0; row 21 of a message is 20:21", True, ""),
        ("--rows 5: give A:B", True, ""),
        ("a.star: has 23 rows, but b.star has 24", True, ""),
    ],
)  # fmt: skip
def test_a_message_that_names_a_row_says_how_it_counts(message, of_rows_option, clause):
    assert say_how_rows_count(message, of_rows_option) == message + clause


def test_what_says_how_it_counts_does_not_say_it_twice(capsys):
    assert main(["denoise", "in.star", "-o", "out.star", "--rows", "5"]) == 2
    error = capsys.readouterr().err
    assert error.endswith("row 21 of a message is 20:21\n")


def test_the_help_of_denoise_says_how_both_count(capsys):
    with pytest.raises(SystemExit):
        main(["denoise", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "counted from 0, B not included" in said
    assert "messages and the report count rows from 1: their row 21 is 20:21 here" in said
    assert "rows in it are those of OUT.star, counted from 0" in said
