"""How rows are counted: from 1 wherever a person is told of one, from 0 in `--rows` and in arrays."""

from __future__ import annotations

import re

#: A row with its number, or several; not the option.
ROW = re.compile(r"(?<!-)\brows? (\d+)\b")
#: Of another table than that of the particles, which `--rows` knows nothing of.
OTHER_TABLE = re.compile(r"\bdata_optics\b")

#: Of a message that says already how it counts.
SAYS_HOW = "counted from"

#: For a page that names rows.
HOW_ROWS_COUNT = (
    "Rows are counted from 1, in the whole file; --rows, and the arrays of --matches, count from 0."
)


def say_how_rows_count(message: str, of_rows_option: bool = False) -> str:
    """Give a message with a clause behind it that says how rows are counted, where it names one.

    Parameters
    ----------
    message : str
        One line.
    of_rows_option : bool
        Whether the command has `--rows`, whose numbers start at 0: then the row is named as it takes it, too.

    Examples
    --------
    >>> say_how_rows_count("a.star: row 21: pixels are not finite", of_rows_option=True)
    'a.star: row 21: pixels are not finite (rows are counted from 1; --rows counts from 0: row 21 is 20:21)'
    >>> say_how_rows_count("a.star: has 21 rows")
    'a.star: has 21 rows'
    """
    found = ROW.search(message)
    if found is None or SAYS_HOW in message:
        return message
    clause = "rows are counted from 1"
    number = int(found[1])
    if of_rows_option and number > 0 and not OTHER_TABLE.search(message):
        clause += f"; --rows counts from 0: row {number} is {number - 1}:{number}"
    return f"{message} ({clause})"
