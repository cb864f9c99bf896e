"""Options of commands that take cryoSPARC's data sets (.cs), and the .cs that joins denoised images to a project."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what is heavy is imported when it is needed
    from polardenoise.engine.particles.cryosparc.fields import CryosparcFiles


def add_cryosparc_options(parser: argparse.ArgumentParser) -> None:
    """Declare what belongs to a .cs."""
    parser.add_argument(
        "--passthrough",
        type=Path,
        metavar="PASSTHROUGH.cs",
        help="of a .cs: the passthrough of the same job, for the fields that the job itself did not change",
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


def name_data_set(particles: Path, output: Path) -> Path | None:
    """Name the .cs beside the STAR file of a denoised set; None where the particles are not cryoSPARC's."""
    from polardenoise.engine.particles.cryosparc.fields import ENDING, is_cryosparc

    return output.with_suffix(ENDING) if is_cryosparc(particles) else None


def write_data_set(
    path: Path, particles: Path, files: CryosparcFiles, summary: Mapping[str, Any]
) -> None:
    """Write the .cs of a denoised set, which names its images by the uids of the particles.

    Parameters
    ----------
    path : Path
        The new .cs.
    particles : Path
        The .cs that was denoised.
    files : CryosparcFiles
        What belongs to it.
    summary : mapping
        Of the run.
    """
    import numpy as np

    from polardenoise.engine.particles.cryosparc.as_star import UID_LABEL
    from polardenoise.engine.particles.cryosparc.fields import read_fields
    from polardenoise.engine.particles.cryosparc.new_images import write_images_slot
    from polardenoise.engine.particles.particle_set import read_particles

    denoised = read_particles(path.with_suffix(".star"))
    write_images_slot(
        path,
        read_fields(particles, files.passthrough),
        uids=np.array(denoised.column(UID_LABEL), dtype=np.uint64),
        stack=denoised.stacks[0],
        index=denoised.index_in_stack,
        box=denoised.box,
        bright=summary["contrast"] == "bright",
    )
