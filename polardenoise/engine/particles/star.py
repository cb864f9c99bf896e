"""STAR files, kept as they were written.

A document remembers the lines of its file. Reading takes tokens out of the lines, writing replaces or appends tokens in
the rows asked for; every other byte (comments, spacing, "001", columns no program knows, other tables) passes through.
Values stay text until a column is wanted as numbers, so that a million rows are read in seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO, cast

from polardenoise.engine.runtime.errors import InputError

ROWS_AT_ONCE = 2_000
# A quote opens a value only at its start and closes it only before white space: 3' is a plain token.
_TOKEN = r""""[^"]*"(?=\s|$)|'[^']*'(?=\s|$)|\S+"""
_TOKENS = re.compile(_TOKEN)
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
                        f"{self.path}: row {number} of table data_{self.name} has {len(row)} values for"
                        f" {width} columns; correct the row or the header"
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
        with path.open("rb") as binary:
            head = binary.read(65536)
        if head.startswith(b"version https://git-lfs"):
            raise InputError(
                f"{path}: a Git LFS pointer, not a STAR file; fetch the real file (git lfs pull)"
            )
        if b"\0" in head:
            raise InputError(f"{path}: a binary file, not a STAR file; give the particles' .star")
        with open_text(path, "r") as file:
            lines = file.readlines()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the name of the STAR file") from error
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check the name and the rights"
        ) from error
    return StarDocument(path, lines, tuple(_find_tables(path, lines)))


def keep_rows(document: StarDocument, table: StarTable, rows: slice) -> StarDocument:
    """Give a document with some rows of one of its tables, a loop, and all else as it is."""
    dropped = set(table.row_lines) - set(table.row_lines[rows])
    lines = [line for number, line in enumerate(document.lines) if number not in dropped]
    return StarDocument(document.path, lines, tuple(_find_tables(document.path, lines)))


def open_text(path: Path, mode: str) -> TextIO:
    """Open a STAR file so that line ends, and bytes that are not UTF-8, pass through unchanged."""
    return cast(TextIO, path.open(mode, encoding="utf-8", errors="surrogateescape", newline=""))


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
    """Quote a value that would not be read back as one token."""
    if value and not re.search(r"\s", value) and value[0] not in "\"'#_":
        return value
    return f'"{value}"' if '"' not in value else f"'{value}'"


def _find_tables(path: Path, lines: list[str]) -> Iterator[StarTable]:
    """Walk through the lines, giving each table when its end is reached."""
    name: str | None = None
    labels: list[str] = []
    label_lines: list[int] = []
    row_lines: list[int] = []
    rows: list[str] = []
    values: list[str] = []
    in_loop = False

    def finish() -> Iterator[StarTable]:
        if name is not None and labels:
            repeated = {label for label in labels if labels.count(label) > 1}
            if repeated:
                raise InputError(
                    f"{path}: column _{min(repeated)} comes twice in table data_{name}; remove one"
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
                labels.append(line.split()[0][1:])
                label_lines.append(number)
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
        if starts_block or (alone and keyword == "loop_"):
            if name is None and not starts_block:
                continue  # as RELION does, pass over what stands before the first block
            yield from finish()
            labels, label_lines, row_lines, rows, values = [], [], [], [], []
            in_loop = not starts_block
            name = words[0][len("data_") :] if starts_block else name
        elif name is None:
            continue
        elif words[0].startswith("_") and not rows:
            labels.append(words[0][1:])
            label_lines.append(number)
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
