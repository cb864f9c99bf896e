"""Tables of a benchmark: the same rows as CSV, for machines, and as an rst list table, for the README."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from polardenoise.engine.runtime.files import write_text_atomically

Row = Mapping[str, str | int | float | None]


def write_table(rows: Sequence[Row], folder: Path, name: str) -> None:
    """Write `name.csv` and `name.rst`.

    Parameters
    ----------
    rows : sequence of mappings
        All with the same columns, in the same order. Numbers are rounded to four digits, None is an empty cell.
    folder : Path
        Made if need be.
    name : str
        Without an ending.
    """
    columns = list(rows[0])
    cells = [[format_cell(row[column]) for column in columns] for row in rows]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *cells])
    write_text_atomically(folder / f"{name}.csv", text.getvalue())
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for line in [columns, *cells]:
        lines += [
            f"   {'* -' if place == 0 else '  -'} {cell}".rstrip()
            for place, cell in enumerate(line)
        ]
    write_text_atomically(folder / f"{name}.rst", "\n".join(lines) + "\n")


def format_cell(value: str | int | float | None) -> str:
    """Write a number with four significant digits, and no exponent where it can be helped."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)
