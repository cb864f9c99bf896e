"""The stacks that a data set of cryoSPARC names, relative to the folder of its project."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from polardenoise.engine.particles.cryosparc.fields import Fields, advise_passthrough, read_texts
from polardenoise.engine.particles.image_names import is_there, refuse_unquotable_stack
from polardenoise.engine.particles.star import quote_token
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.input_files import shorten

#: Folders above the data set in which its project may begin: `exports/groups/NAME` is the deepest place.
MOST_FOLDERS_UP = 4


def name_images(fields: Fields, project: Path | None) -> list[str]:
    """Name the images as RELION does, their stacks by full names."""
    texts, first, of_row = read_texts(fields, "blob/path")
    index = fields.numbers("blob/idx")
    stacks = [""] * len(texts)
    for stack in np.argsort(first).tolist():
        place = fields.place("blob/path", int(first[stack]))
        found = locate_stack(fields.path, texts[stack], place, project)
        refuse_unquotable_stack("blob/path", found)
        stacks[stack] = str(found)
    return [
        quote_token(f"{number + 1:06.0f}@{stacks[stack]}")
        for number, stack in zip(index.tolist(), of_row.tolist(), strict=True)
    ]


def locate_stack(path: Path, text: str, place: str, project: Path | None) -> Path:
    """Find a stack below the folder of the project: the one that is named, else the nearest above the data set."""
    name = text.removeprefix(">")
    if not name.strip("/"):
        raise InputError(f"{place} is empty; {advise_passthrough(path)}")
    folder = Path(os.path.abspath(path)).parent
    above = [project] if project is not None else [folder, *folder.parents[:MOST_FOLDERS_UP]]
    for candidate in (Path(os.path.abspath(parent)) / name for parent in [*above, Path()]):
        if is_there(candidate):
            return candidate
    where = f"below --project {project}" if project else f"below {folder} or a folder above it"
    raise InputError(
        f"{place} names {shorten(name)}, which is not {where}, nor below {Path.cwd()}; name the folder of the "
        "cryoSPARC project (it holds the jobs' folders J1, J2, ...) with --project DIR"
    )
