"""Write a STAR document with some columns replaced or appended, and nothing else touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.star import (
    TOKENS_AND_SPACES,
    StarDocument,
    StarTable,
    open_text,
    quote_token,
)
from polardenoise.engine.runtime.files import replace_when_complete
from polardenoise.engine.runtime.running_command import comment_maker

BYTE_ORDER_MARK = "\ufeff"


def write_star(
    document: StarDocument,
    path: Path | str,
    changes: Sequence[tuple[StarTable, dict[str, list[str]]]],
    what: str | None = None,
) -> None:
    """Write a document with some columns replaced or appended, atomically.

    Parameters
    ----------
    document : StarDocument
        What was read.
    path : Path | str
        The new file; may be the old one.
    changes : Sequence[tuple[StarTable, dict[str, list[str]]]]
        For tables of the document, label -> one value for each row. A column the table has is replaced token
        by token; a new one becomes the last. Values with white space are quoted.
    what : str, optional
        What the file is: a comment at its head says it, behind what made it. None: there is no such comment.

    Raises
    ------
    ValueError
        If a column has not as many values as its table rows.
    """
    for table, columns in changes:
        for label, values in columns.items():
            if len(values) != len(table):
                raise ValueError(
                    f"{label}: {len(values)} values for {len(table)} rows of data_{table.name}"
                )
    with replace_when_complete(path) as temporary, open_text(temporary, "w") as file:
        changed = _changed_lines(document, changes)
        file.writelines(changed if what is None else _commented_lines(changed, comment_maker(what)))


def _commented_lines(lines: Iterator[str], comment: str) -> Iterator[str]:
    """Put a comment before the lines of a document, behind its byte order mark and with its ends of lines."""
    first = next(lines, "")
    if first.startswith(BYTE_ORDER_MARK):
        yield BYTE_ORDER_MARK
        first = first.removeprefix(BYTE_ORDER_MARK)
    if first.rstrip("\r\n") != comment:
        yield comment + find_line_end(first)
    yield first
    yield from lines


def _changed_lines(
    document: StarDocument, changes: Sequence[tuple[StarTable, dict[str, list[str]]]]
) -> Iterator[str]:
    """Give the lines of a document with the changes made, in order."""
    position = 0
    lines = document.lines
    for table, columns in sorted(changes, key=lambda change: change[0].label_lines[0]):
        if not columns:
            continue
        first = table.label_lines[0]
        last = max(table.label_lines[-1], table.row_lines[-1] if len(table) else 0)
        yield from lines[position:first]
        if table.is_loop:
            yield from _changed_loop(lines, first, last, table, columns)
        else:
            yield from _changed_values(lines, first, last, table, columns)
        position = last + 1
    yield from lines[position:]


def _changed_loop(
    lines: list[str], first: int, last: int, table: StarTable, columns: dict[str, list[str]]
) -> Iterator[str]:
    """Change a loop, whose labels and rows stand on the lines `first` to `last`."""
    replaced = [(table.labels.index(k), v) for k, v in columns.items() if k in table.labels]
    appended = [(label, values) for label, values in columns.items() if label not in table.labels]
    last_label = table.label_lines[-1]
    row = 0
    for number in range(first, last + 1):
        line = lines[number]
        if row < len(table) and number == table.row_lines[row]:
            pieces = TOKENS_AND_SPACES.findall(line)
            lead = 1 if line[0].isspace() else 0
            for place, values in replaced:
                pieces[lead + 2 * place] = quote_token(values[row])
            if appended:
                end = len(pieces) - 1 if pieces[-1].isspace() else len(pieces)
                separator = "\t" if "\t" in line and " " not in line.rstrip() else " "
                pieces[end:end] = [separator + quote_token(values[row]) for _, values in appended]
            yield "".join(pieces)
            row += 1
            continue
        ended = line[-1:] in ("\n", "\r") or number != last_label
        yield line if ended else line + "\n"
        if number == last_label:
            numbered = "#" in line
            end_of_line = find_line_end(line)
            for count, (label, _) in enumerate(appended, len(table.labels) + 1):
                yield f"_{label}{f' #{count}' if numbered else ''} {end_of_line}"


def _changed_values(
    lines: list[str], first: int, last: int, table: StarTable, columns: dict[str, list[str]]
) -> Iterator[str]:
    """Change a block of single values."""
    label_of_line = dict(zip(table.label_lines, table.labels, strict=True))
    for number in range(first, last + 1):
        line = lines[number]
        label = label_of_line.get(number)
        if label in columns:
            pieces = TOKENS_AND_SPACES.findall(line)
            pieces[(1 if line[0].isspace() else 0) + 2] = quote_token(columns[label][0])
            line = "".join(pieces)
        appended = number == last and any(label not in table.labels for label in columns)
        yield line + "\n" if appended and line[-1:] not in ("\n", "\r") else line
    end_of_line = find_line_end(lines[last])
    for label, values in columns.items():
        if label not in table.labels:
            yield f"_{label} {quote_token(values[0])}{end_of_line}"


def find_line_end(line: str) -> str:
    """Give the end of a line as it is written, LF where it has none (the last one of a file)."""
    return line[len(line.rstrip("\r\n")) :] or "\n"


def write_particles(
    particles: ParticleSet,
    star_out: Path | str,
    image_names: list[str],
    new_columns: dict[str, list[str]],
    optics_columns: dict[str, list[str]],
    what: str | None = None,
) -> None:
    """Write the STAR file again with other images, and nothing else touched.

    Parameters
    ----------
    particles : ParticleSet
        The set as it was read.
    star_out : Path | str
        The new STAR file; appears when it is complete.
    image_names : list[str]
        `n` names, written as given into `rlnImageName`.
    new_columns : dict[str, list[str]]
        Label -> `n` values. A column the particle table has is replaced, a new one comes last.
    optics_columns : dict[str, list[str]]
        Label -> one value for each row of the optics table, replaced or appended there. Without an optics
        table they become particle columns, of one value for all or `n` values.
    what : str, optional
        What the file is, as for `write_star`.
    """
    of_particles = {"rlnImageName": image_names, **new_columns}
    changes = [(particles.table, of_particles)]
    if particles.optics is not None:
        changes.append((particles.optics, optics_columns))
    else:
        for label, values in optics_columns.items():
            of_particles[label] = values * len(particles) if len(values) == 1 else values
    write_star(particles.document, star_out, changes, what)
