"""cryoSPARC's group files (.csg): which data set of a job holds each slot of its output."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.input_files import read_description, shorten

GROUP_ENDING = ".csg"
#: The key of the slots; each is a line, with its facts on deeper ones.
RESULTS = "results:"
SLOT = re.compile(r"(\s+)([\w.]+):\s*")
FACT = re.compile(r"(\s+)(metafile|num_items):\s*(\S.*?)\s*")
#: What a name begins with that counts from the folder of the group file.
BESIDE = ">"
CURE = "give the .csg of a job's particles, as cryoSPARC writes it"


def is_group(path: Path | str) -> bool:
    """Tell a group file by its name."""
    return Path(path).suffix.lower() == GROUP_ENDING


def read_group(path: Path) -> dict[str, Path]:
    """Read which data set holds each slot.

    Parameters
    ----------
    path : Path
        The group file: YAML as cryoSPARC writes it, a mapping of blocks without anchors or flow style.

    Returns
    -------
    dict of str to Path
        Slot (`blob`, `ctf`, ...) -> its `.cs`, beside the group file.

    Raises
    ------
    InputError
        If it cannot be read or names no data set.
    """
    lines = read_lines(path)
    slots: dict[str, Path] = {}
    for number, slot, fact in list_facts(lines):
        if fact[2] == "metafile":
            slots[slot] = path.parent / read_name(fact[3], f"{path}: line {number + 1}")
    if not slots:
        raise InputError(f"{path}: names no data set (metafile) of a slot; {CURE}")
    return slots


def read_lines(path: Path) -> list[str]:
    """Read the lines of a group file; an `InputError` if it cannot be read, or is no text."""
    try:
        return read_description(path, CURE).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text ({shorten(error)}); {CURE}") from error


def list_facts(lines: Sequence[str]) -> Iterator[tuple[int, str, re.Match[str]]]:
    """List what a group file says of its slots.

    Yields
    ------
    tuple
        The place of a line, from 0, the slot, and a match of `FACT`: the white space before it, its key, its value.
    """
    inside, depth, slot = False, 0, ""
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        if not line[0].isspace():
            inside, slot = line.rstrip() == RESULTS, ""
            continue
        if not inside:
            continue
        named = SLOT.fullmatch(line)
        fact = FACT.fullmatch(line)
        if named and (not slot or len(named[1]) <= depth):
            depth, slot = len(named[1]), named[2]
        elif fact and slot and len(fact[1]) > depth:
            yield number, slot, fact


def read_name(text: str, place: str) -> str:
    """Read the name of a data set, quoted as YAML does or not."""
    quote = text[0]
    if quote in "'\"":
        if len(text) < 2 or text[-1] != quote:
            raise InputError(f"{place}: metafile {shorten(text)} has no end; {CURE}")
        text = text[1:-1].replace("''", "'") if quote == "'" else text[1:-1]
    name = text.removeprefix(BESIDE)
    if not name:
        raise InputError(f"{place}: metafile names no data set; {CURE}")
    return name
