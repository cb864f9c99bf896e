"""A new group file (.csg): the slots of a set whose tables have other names and fewer rows now."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from polardenoise.engine.particles.cryosparc.groups import (
    BESIDE,
    list_facts,
    read_group,
    read_lines,
)

#: Slots that several classes have each, and what they hold.
SLOT_OF_CLASS = re.compile(r"alignments_class_\d+")
#: cryoSPARC's version whose layout a group file follows that is made up.
VERSION = "v4.4.1"


def rewrite_group(
    path: Path, comment: str, names: Mapping[Path, str], counts: Mapping[Path, int]
) -> str:
    """Give the text of a group file with other data sets, and all else as it is.

    Parameters
    ----------
    path : Path
        The group file.
    comment : str
        Its new first line.
    names, counts : mapping
        Of each data set that it names: the new name, beside the new group file, and how many rows it has.

    Raises
    ------
    InputError
        As `read_group`.
    """
    slots, lines = read_group(path), read_lines(path)
    for number, slot, fact in list_facts(lines):
        indent, key, _ = fact.groups()
        if slot in slots:
            told = quote_name(names[slots[slot]]) if key == "metafile" else counts[slots[slot]]
            lines[number] = f"{indent}{key}: {told}"
    kept = lines[1:] if lines[0] == comment else lines
    return "\n".join([comment, *kept]) + "\n"


def compose_group(
    comment: str, slots: Mapping[str, Path], names: Mapping[Path, str], counts: Mapping[Path, int]
) -> str:
    """Make up the text of a group file, `slots` saying which data set has each one; else as `rewrite_group`."""
    lines = [
        comment,
        f"created: {datetime.now():%Y-%m-%d %H:%M:%S.%f}",
        "group:",
        "  description: Particles that were selected",
        "  name: particles",
        "  title: Selected particles",
        "  type: particle",
        "results:",
    ]
    for slot, path in sorted(slots.items()):
        kind = "alignments3D" if SLOT_OF_CLASS.fullmatch(slot) else slot
        lines += [
            f"  {slot}:",
            f"    metafile: {quote_name(names[path])}",
            f"    num_items: {counts[path]}",
            f"    type: particle.{kind}",
        ]
    return "\n".join([*lines, f"version: {VERSION}"]) + "\n"


def quote_name(name: str) -> str:
    """Quote the name of a data set as YAML does, marked as lying beside the group file."""
    doubled = name.replace("'", "''")
    return f"'{BESIDE}{doubled}'"
