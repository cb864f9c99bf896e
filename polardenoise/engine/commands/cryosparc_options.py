"""Options of commands that take cryoSPARC's data sets (.cs)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from polardenoise.engine.runtime.errors import InputError

if TYPE_CHECKING:  # what is heavy is imported when it is needed
    from polardenoise.engine.particles.cryosparc.fields import CryosparcFiles


def add_cryosparc_options(parser: argparse.ArgumentParser) -> None:
    """Declare what belongs to a .cs."""
    parser.add_argument(
        "--passthrough",
        type=Path,
        metavar="PASSTHROUGH.cs",
        help="of a .cs: the passthrough of the same job, for the fields that the job itself did not change (a .csg "
        "names it itself)",
    )
    parser.add_argument(
        "--project",
        type=Path,
        metavar="DIR",
        help="of a .cs: the cryoSPARC project's folder, where stacks are looked for (default: folders above the .cs)",
    )


def read_cryosparc_options(arguments: argparse.Namespace) -> CryosparcFiles:
    """Give what `add_cryosparc_options` declares."""
    from polardenoise.engine.particles.cryosparc.fields import CryosparcFiles

    return CryosparcFiles(arguments.passthrough, arguments.project)


def refuse_cryosparc_options(arguments: argparse.Namespace) -> None:
    """Refuse what belongs to a .cs where none is given."""
    for option in ("passthrough", "project"):
        if getattr(arguments, option) is not None:
            raise InputError(
                f"--{option}: is for a .cs of cryoSPARC; name the particles, or leave it out"
            )
