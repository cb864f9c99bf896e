"""STAR files, kept as they were written.

A document remembers the lines of its file. Reading takes tokens out of the lines, writing replaces or appends tokens in
the rows asked for; every other byte (comments, spacing, "001", columns no program knows, other tables) passes through:
that is why this is our own code, as starfile and gemmi write a table anew.
Values stay text until a column is wanted as numbers, so that a million rows are read in seconds.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, cast

from polardenoise.counts import word_count
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.foreign_formats import refuse_binary
from polardenoise.engine.runtime.input_files import open_input

ROWS_AT_ONCE = 2_000
#: What files of particles stay far below; others would take minutes, or all memory, before anything is said of them.
MOST_LINES, LONGEST_LINE = 20_000_000, 2**22
MOST_TABLES, MOST_LABELS = 10_000, 200_000
#: How text is read and written so that line ends, and bytes that are not UTF-8, pass through unchanged.
AS_WRITTEN: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
# A quote opens a value only at its start and closes it only before white space: 3' is a plain token.
_TOKEN = r""""[^"]*"(?=\s|$)|'[^']*'(?=\s|$)|\S+"""
_TOKENS = re.compile(_TOKEN)
# White space, a quote or a label's mark at the start, and the words that STAR keeps for itself.
NEEDS_QUOTES = re.compile(r"""\s|^["'#_;$\[]|^(data_|loop_|save_|stop_|global_)""", re.IGNORECASE)
TOKENS_AND_SPACES = re.compile(rf"\s+|{_TOKEN}")


@dataclass(frozen=True)
class StarTable:
    """One table of a STAR file: a loop, or a block of single values (then one row).

    Attributes
    ----------
    path : Path
        The file, for messages.
    name : str
        What follows `data_`: "particles", "optics", "".
    labels : tuple[str, ...]
        Column names without the leading underscore, in the order of the file.
    label_lines, row_lines : Sequence[int]
        Where they stand in the document's lines, from 0. In a block of single values the row has the lines
        of its labels.
    rows : Sequence[str]
        Lines of the rows, line ends included. A block of single values has one made-up line.
    is_loop : bool
        False for a block of single values.
    """

    path: Path
    name: str
    labels: tuple[str, ...]
    label_lines: Sequence[int]
    row_lines: Sequence[int]
    rows: Sequence[str]
    is_loop: bool

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.rows)

    def column(self, label: str) -> list[str]:
        """Give the values of one column as text, quotes taken off; a `KeyError` if there is none such."""
        if label not in self.labels:
            raise KeyError(label)
        return [value for _, (values,) in self.column_chunks([label]) for value in values]

    def column_chunks(self, labels: Sequence[str]) -> Iterator[tuple[slice, list[list[str]]]]:
        """Give several columns in one pass over the rows, some rows at a time.

        Parameters
        ----------
        labels : Sequence[str]
            Columns of this table.

        Yields
        ------
        tuple[slice, list[list[str]]]
            Which rows these are, and one list of values for each label, quotes taken off.

        Raises
        ------
        InputError
            If a row has more or fewer values than the table has columns.
        """
        places = [self.labels.index(label) for label in labels]
        width = len(self.labels)
        remaining = iter(self.rows)
        start = 0
        while lines := list(islice(remaining, ROWS_AT_ONCE)):
            rows = [split_tokens(line) for line in lines]
            for number, row in enumerate(rows, start + 1):
                if len(row) != width:
                    raise InputError(
                        f"{self.path}: row {number} of table data_{self.name} has {word_count(len(row), 'value')}"
                        f" for {word_count(width, 'column')}; correct the row or the header"
                    )
            yield (
                slice(start, start + len(rows)),
                [[row[place] for row in rows] for place in places],
            )
            start += len(rows)


@dataclass(frozen=True)
class StarDocument:
    """A STAR file: its lines as they are, and the tables found in them.

    Attributes
    ----------
    path : Path
        The file.
    lines : list[str]
        Every line with its line end (LF or CRLF).
    tables : tuple[StarTable, ...]
        In the order of the file.
    """

    path: Path
    lines: list[str]
    tables: tuple[StarTable, ...]


def read_star(path: Path | str) -> StarDocument:
    """Read a STAR file.

    Parameters
    ----------
    path : Path | str
        Any dialect of RELION (and of Scipion, Warp, pyem, ...): loops with or without `#n` behind the
        labels, single values, several blocks, comments, tabs, CRLF, quoted values. Blank lines inside a
        loop are passed over.

    Returns
    -------
    StarDocument
        With every table; rows are not looked into yet.

    Raises
    ------
    InputError
        If there is no such file, or it is not a STAR file.
    """
    path = Path(path)
    try:
        with open_input(path) as binary:
            head = binary.read(65536)
            if head.startswith(b"version https://git-lfs"):
                raise InputError(
                    f"{path}: a Git LFS pointer, not a STAR file; fetch the real file (git lfs pull)"
                )
            if b"\0" in head:
                refuse_binary(path, head)
            binary.seek(0)
            with io.TextIOWrapper(binary, **AS_WRITTEN) as file:
                lines = list(islice(file, MOST_LINES + 1))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the name of the STAR file") from error
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check the name and the rights"
        ) from error
    refuse_oversized(path, lines)
    return parse_star(path, lines)


def refuse_oversized(path: Path, lines: list[str]) -> None:
    """Refuse a file of more, or longer, lines than particle sets have."""
    if len(lines) > MOST_LINES:
        raise InputError(f"{path}: more than {MOST_LINES:,} lines; split the particles among files")
    if max(map(len, lines), default=0) > LONGEST_LINE:
        number = next(place for place, line in enumerate(lines, 1) if len(line) > LONGEST_LINE)
        raise InputError(
            f"{path}: line {number} has more than {LONGEST_LINE:,} characters; correct it"
        )


def parse_star(path: Path, lines: list[str]) -> StarDocument:
    """Find the tables in the lines of a STAR file; `path` is what messages name."""
    return StarDocument(path, lines, tuple(_find_tables(path, lines)))


def write_loop(name: str, columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Write a table, label -> a token for each row, as the lines of a STAR file.

    Examples
    --------
    >>> lines = write_loop("particles", {"rlnImageName": ["1@a.mrcs", "2@a.mrcs"]})
    >>> print("".join(lines), end="")
    data_particles
    <BLANKLINE>
    loop_
    _rlnImageName #1
    1@a.mrcs
    2@a.mrcs
    >>> (table,) = parse_star(Path("a.star"), lines).tables
    >>> table.labels, table.column("rlnImageName")
    (('rlnImageName',), ['1@a.mrcs', '2@a.mrcs'])
    """
    lines = [f"data_{name}", "", "loop_"]
    lines += [f"_{label} #{number}" for number, label in enumerate(columns, 1)]
    lines += [" ".join(row) for row in zip(*columns.values(), strict=True)]
    return [line + "\n" for line in lines]


def keep_rows(
    document: StarDocument, table: StarTable, rows: slice | Sequence[int]
) -> StarDocument:
    """Give a document with some rows of one of its tables, a loop, and all else as it is."""
    kept = (
        table.row_lines[rows] if isinstance(rows, slice) else [table.row_lines[row] for row in rows]
    )
    dropped = set(table.row_lines) - set(kept)
    lines = [line for number, line in enumerate(document.lines) if number not in dropped]
    return parse_star(document.path, lines)


def open_text(path: Path, mode: str) -> TextIO:
    """Open a STAR file so that line ends, and bytes that are not UTF-8, pass through unchanged."""
    return cast(TextIO, path.open(mode, **AS_WRITTEN))


def split_tokens(line: str) -> list[str]:
    """Split a line into its values, quotes taken off."""
    if '"' in line or "'" in line:
        return [_unquote(token) for token in _TOKENS.findall(line)]
    return line.split()


def _unquote(token: str) -> str:
    if len(token) >= 2 and token[0] in "\"'" and token[-1] == token[0]:
        return token[1:-1]
    return token


def quote_token(value: str) -> str:
    """Quote a value that would not be read back as one token; see `is_quotable`."""
    if value and not NEEDS_QUOTES.search(value):
        return value
    return f'"{value}"' if '"' not in value else f"'{value}'"


def is_quotable(value: str) -> bool:
    """Tell whether a STAR file can hold a value: one line, and no white space beside both kinds of quotes."""
    if "\n" in value or "\r" in value:
        return False
    return split_tokens(quote_token(value)) == [value]


def _find_tables(path: Path, lines: list[str]) -> Iterator[StarTable]:
    """Walk through the lines, giving each table when its end is reached."""
    name: str | None = None
    labels: list[str] = []
    label_lines: list[int] = []
    row_lines: list[int] = []
    rows: list[str] = []
    values: list[str] = []
    in_loop = False
    tables = 0

    def add_label(word: str, number: int) -> None:
        if len(labels) == MOST_LABELS:
            raise InputError(
                f"{path}: line {number + 1}: a table of more than {MOST_LABELS:,} columns; give the particles' .star"
            )
        labels.append(word[1:])
        label_lines.append(number)

    def finish() -> Iterator[StarTable]:
        if name is not None and labels:
            if len(set(labels)) < len(labels):
                repeated = min(label for label, count in Counter(labels).items() if count > 1)
                raise InputError(
                    f"{path}: column _{repeated} comes twice in table data_{name}; remove one"
                )
            table_rows = rows if in_loop else [" ".join(map(quote_token, values)) + "\n"]
            table_row_lines = row_lines if in_loop else label_lines
            yield StarTable(
                path, name, tuple(labels), label_lines, table_row_lines, table_rows, in_loop
            )

    for number, line in enumerate(lines):
        if in_loop and labels and line[0] not in "#_dDlL\r\n" and not line.isspace():
            # By far the most frequent case, kept short. (White space may stand before a label.)
            if line[0].isspace() and not rows and line.lstrip()[0] == "_":
                add_label(line.split()[0], number)
            elif not (line[0].isspace() and line.lstrip()[0] == "#"):
                row_lines.append(number)
                rows.append(line)
            continue
        words = line.lstrip("\ufeff").split()
        if not words or words[0].startswith("#"):
            continue
        alone = len(words) == 1 or words[1].startswith("#")
        keyword = words[0].lower()
        starts_block = alone and keyword.startswith("data_")
        if starts_block and in_loop and len(labels) == 1 and _is_value(keyword, lines, number):
            row_lines.append(number)
            rows.append(line)
        elif starts_block or (alone and keyword == "loop_"):
            if name is None and not starts_block:
                continue  # as RELION does, pass over what stands before the first block
            yield from finish()
            tables += 1
            if tables > MOST_TABLES:
                raise InputError(
                    f"{path}: more than {MOST_TABLES:,} tables; give the particles' .star"
                )
            labels, label_lines, row_lines, rows, values = [], [], [], [], []
            in_loop = not starts_block
            name = words[0][len("data_") :] if starts_block else name
        elif name is None:
            continue
        elif words[0].startswith("_") and not rows:
            add_label(words[0], number)
            if not in_loop:
                tokens = split_tokens(line)
                values.append(tokens[1] if len(tokens) > 1 else "")
        elif in_loop and labels:
            row_lines.append(number)
            rows.append(line)
    if name is None:
        raise InputError(
            f"{path}: not a STAR file, no data_ block opens it; give the particles' .star"
        )
    yield from finish()


def _is_value(word: str, lines: list[str], number: int) -> bool:
    """Tell whether a `data_...` in a loop of one column is a value rather than the start of a block.

    A block goes on with labels, or with a loop of them. Where another such word follows, or nothing, the name of a file
    is told by its dot, its folder or its `@`.
    """
    following = (lines[other].split() for other in range(number + 1, len(lines)))
    follows = next((words[0].lower() for words in following if words and words[0][0] != "#"), "")
    if follows == "loop_" or follows.startswith("_"):
        return False
    return bool(follows and not follows.startswith("data_")) or any(k in word for k in "./@")
