"""Tables of a benchmark: all digits as CSV, for machines; the same rows with two digits as an rst list table, to read.

python -m benchmarks.common.tables FILE.csv...        (writes the rst of tables that are there)
"""

import argparse
import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.common.places import REPOSITORY
from polardenoise.engine.runtime.files import write_text_atomically

Row = Mapping[str, str | int | float | None]
#: A number with decimals, as a cell of its own.
DECIMAL = re.compile(r"-?\d*\.\d+(e[+-]?\d+)?")
SPREAD = re.compile(r"(-?\d*\.\d+) ± (\d*\.\d+)")


def write_table(rows: Sequence[Row], folder: Path, name: str) -> None:
    """Write `name.csv` and `name.rst`.

    Parameters
    ----------
    rows : sequence of mappings
        All with the same columns, in the same order. None is an empty cell. Numbers are rounded to four digits in the
        CSV and to two in the rst; whole ones stay.
    folder : Path
        Made if need be.
    name : str
        Without an ending.
    """
    columns = list(rows[0])
    cells = [[format_cell(row[column]) for column in columns] for row in rows]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *cells])
    path = folder / f"{name}.csv"
    write_text_atomically(path, text.getvalue())
    write_list_table(path, columns, cells)


def write_list_table(source: Path, columns: list[str], cells: list[list[str]]) -> None:
    """Write the rst beside a CSV: two digits, and above them where all are."""
    path = source.resolve()
    inside = path.is_relative_to(REPOSITORY)
    named = path.relative_to(REPOSITORY) if inside else Path(path.name)
    lines = [f".. list-table:: All digits: ``{named}``", "   :header-rows: 1", ""]
    for line in [columns, *(list(map(round_cell, row)) for row in cells)]:
        lines += [
            f"   {'* -' if place == 0 else '  -'} {cell}".rstrip()
            for place, cell in enumerate(line)
        ]
    write_text_atomically(source.with_suffix(".rst"), "\n".join(lines) + "\n")


def format_cell(value: str | int | float | None) -> str:
    """Write a number with four significant digits, and no exponent where it can be helped."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def round_cell(cell: str) -> str:
    """Round a cell that is a number with decimals to two digits, all whole ones kept; others stay as they are.

    Of a value with its spread (`0.1613 ± 0.0018`), what has more than two decimals is rounded: to two digits, and one.
    """
    value_and_spread = SPREAD.fullmatch(cell)
    if value_and_spread:
        value, spread = value_and_spread.groups()
        value = value if has_few_decimals(value) else round_cell(value)
        return f"{value} ± {spread if has_few_decimals(spread) else f'{float(spread):.1g}'}"
    if not DECIMAL.fullmatch(cell):
        return cell
    value = float(cell)
    if abs(value) >= 9.95:
        return f"{value:.0f}"
    # `#` keeps zeros at the end: 0.40 is known to two digits, too.
    return f"{value:#.2g}" if value else "0"


def has_few_decimals(number: str) -> bool:
    """Tell whether a number has no more than two decimals."""
    return len(number.partition(".")[2]) <= 2


def main() -> None:
    """Write the rst of tables again, from their CSV."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.common.tables", description=__doc__)
    parser.add_argument("tables", type=Path, nargs="+", metavar="FILE.csv")
    for path in parser.parse_args().tables:
        with path.open(newline="") as file:
            columns, *cells = csv.reader(file)
        write_list_table(path, columns, cells)


if __name__ == "__main__":
    main()
