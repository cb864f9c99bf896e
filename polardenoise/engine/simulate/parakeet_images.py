"""Images that Parakeet simulated, as a particle set with its truth.

Every folder of a micrograph holds the configuration that was run (``config.yaml``) and what came of it: ``image.h5`` or
``image.mrc``, and where it was simulated ``truth_exit_wave.h5`` or ``.mrc``, the exit wave without ice. Poses, places
and the CTF are those of the configuration; `parakeet_files` reads all of these.

Counts `I` become `(background - I) / deviation`, both measured in the corners of the boxes of a micrograph: protein
bright, noise of variance 1. The truth is `2 background / deviation` times the phase of the exit wave, from that of the
corners: what the weak-phase approximation takes the CTF of.

`python -m polardenoise.engine.simulate.parakeet_images DIR -o OUT` writes ``particles.star|.mrcs`` and ``clean.star|.mrcs``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polardenoise.engine.imaging.polar_grid import disk_mask
from polardenoise.engine.particles.image_names import name_in_star
from polardenoise.engine.particles.mrc import StackWriter
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import replace_when_complete
from polardenoise.engine.simulate.parakeet_files import (
    ParakeetMicrograph,
    read_micrograph,
    read_parakeet_image,
)
from polardenoise.engine.simulate.particle_table import (
    SimulationTable,
    draw_halves,
    write_star,
)

#: Angstrom by which the defocus in a file may differ from that of the configuration beside it.
DEFOCUS_TOLERANCE = 1.0


def gather_particles(
    folders: Sequence[Path], output: Path, box: int, seed: int = 0
) -> dict[str, Any]:
    """Cut the particles out of simulated micrographs.

    Parameters
    ----------
    folders : sequence of Path
        Of the micrographs.
    output : Path
        Gets ``particles.star|.mrcs`` and, where every micrograph has its truth, ``clean.star|.mrcs``.
    box : int
        Pixels, even. A box has to lie inside its micrograph.
    seed : int
        Of the random halves.

    Returns
    -------
    dict
        The files, and how many particles and micrographs.

    Raises
    ------
    InputError
        Files that are missing, damaged, or not of the configuration beside them.
    """
    if not folders:
        raise InputError("no micrographs: give a folder that holds folders with config.yaml")
    if box < 8 or box % 2:
        raise InputError(f"--box {box}: give an even number of at least 8 pixels")
    micrographs = [read_micrograph(folder) for folder in folders]
    pixel_size = micrographs[0].pixel_size
    for micrograph in micrographs:
        if micrograph.pixel_size != pixel_size:
            raise InputError(
                f"{micrograph.image}: {micrograph.pixel_size:g} A/px, the first micrograph has"
                f" {pixel_size:g}; gather sets of one pixel size"
            )
    table = _tabulate(micrographs, seed)
    names = ["particles"]
    if all(micrograph.truth is not None for micrograph in micrographs):
        names.append("clean")
    with ExitStack() as outputs:
        stacks = {}
        for name in names:
            star = outputs.enter_context(replace_when_complete(output / f"{name}.star"))
            with star.open("w", encoding="utf-8") as file:
                stack = name_in_star(output / f"{name}.mrcs")
                write_star(file, table, stack, box, pixel_size, name == "particles")
            stacks[name] = outputs.enter_context(
                StackWriter(output / f"{name}.mrcs", len(table), box, pixel_size)
            )
        start = 0
        for micrograph in micrographs:
            counts = _cut(micrograph.image, micrograph, box)
            corners = counts[:, ~disk_mask(box, box / 2).numpy()]
            background, deviation = corners.mean(), corners.std()
            if not deviation > 0:
                raise InputError(f"{micrograph.image}: no noise in the corners of its particles")
            noisy = (background - counts) / deviation
            stacks["particles"].write(start, torch.from_numpy(noisy.astype(np.float32)))
            if "clean" in stacks and micrograph.truth is not None:
                clean = _phase(_cut(micrograph.truth, micrograph, box))
                clean = 2 * background / deviation * clean
                stacks["clean"].write(start, torch.from_numpy(clean.astype(np.float32)))
            start += len(counts)
    return {
        "particles": len(table),
        "micrographs": len(micrographs),
        "star": str(output / "particles.star"),
        "clean": str(output / "clean.star") if "clean" in names else None,
        "box": box,
        "pixel_size": pixel_size,
    }


def _tabulate(micrographs: Sequence[ParakeetMicrograph], seed: int) -> SimulationTable:
    """Put the particles of all micrographs into one table, in their order."""
    counts = [len(micrograph.angles) for micrograph in micrographs]
    micrograph_of_row = np.repeat(np.arange(len(micrographs)), counts)
    centres = np.concatenate([micrograph.centres for micrograph in micrographs])
    # Boxes are cut at whole pixels; the origin says where the particle lies in its box, with the sign turned.
    pixel_size = micrographs[0].pixel_size
    defocus = np.array([[*micrograph.defocus, 0.0] for micrograph in micrographs])
    return SimulationTable(
        angles=np.concatenate([micrograph.angles for micrograph in micrographs]).round(6),
        origins=((centres.round() - centres) * pixel_size).round(6),
        defocus=defocus[micrograph_of_row],
        random_subset=draw_halves(
            np.zeros(len(centres), dtype=np.int64), np.random.default_rng(seed)
        ),
        source=np.zeros(len(centres), dtype=np.int64),
        view=None,
        micrograph=micrograph_of_row,
        coordinates=centres.round().astype(np.int64),
        microscope=np.array([one.microscope for one in micrographs])[micrograph_of_row],
    )


def _cut(path: Path, micrograph: ParakeetMicrograph, box: int) -> np.ndarray:
    """Cut the boxes of the particles out of a file; `(m, box, box)`."""
    image, facts = read_parakeet_image(path)
    height, width = image.shape
    # An exit wave has a margin all around.
    margin = (width - micrograph.width) // 2
    if (width, height) != (micrograph.width + 2 * margin, micrograph.height + 2 * margin):
        raise InputError(
            f"{path}: {width} x {height} px, its config.yaml says {micrograph.width} x {micrograph.height};"
            " simulate it again"
        )
    if abs(facts["pixel_size"] / micrograph.pixel_size - 1) > 1e-3:
        raise InputError(
            f"{path}: {facts['pixel_size']:g} A/px, its config.yaml says {micrograph.pixel_size:g};"
            " simulate it again"
        )
    defocus = -facts.get("c_10", 0.0)
    if defocus and abs(defocus - micrograph.defocus[0]) > DEFOCUS_TOLERANCE:
        raise InputError(
            f"{path}: defocus {defocus:g} A, its config.yaml says {micrograph.defocus[0]:g}; simulate it again"
        )
    first = micrograph.centres.round().astype(int) - box // 2
    outside = (first < 0).any(1) | (first + box > [micrograph.width, micrograph.height]).any(1)
    if outside.any():
        raise InputError(
            f"{path}: the box of molecule {np.flatnonzero(outside)[0] + 1} reaches over the edge; give a smaller"
            " --box or place molecules further inside"
        )
    first = first + margin
    along = np.arange(box)
    return image[(first[:, 1, None] + along)[:, :, None], (first[:, 0, None] + along)[:, None, :]]


def _phase(waves: np.ndarray) -> np.ndarray:
    """Give the phases of exit waves `(m, N, N)`, from that of their corners, radians."""
    reference = waves[:, ~disk_mask(waves.shape[-1], waves.shape[-1] / 2).numpy()].mean()
    return np.angle(waves * np.conj(reference))


def main(argv: Sequence[str] | None = None) -> int:
    """Gather particles as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m polardenoise.engine.simulate.parakeet_images",
        description="Turn micrographs that Parakeet simulated into a particle set with its truth.",
    )
    parser.add_argument("folder", type=Path, help="holds a folder for each micrograph")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--box", type=int, default=64, help="pixels (64)")
    parser.add_argument("--seed", type=int, default=0, help="of the random halves (0)")
    arguments = parser.parse_args(argv)
    folders = sorted(path.parent for path in arguments.folder.glob("*/config.yaml"))
    try:
        if not folders:
            raise InputError(f"{arguments.folder}: no folder in it holds a config.yaml")
        summary = gather_particles(folders, arguments.output, arguments.box, arguments.seed)
    except InputError as error:
        print(f"parakeet_images: {error}", file=sys.stderr)
        return 2
    truth = f"truth {summary['clean']}" if summary["clean"] else "no truth was simulated"
    print(
        f"{summary['particles']} particles of {summary['micrographs']} micrographs:"
        f" {summary['star']}, {truth}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
