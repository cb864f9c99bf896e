"""Micrographs of Parakeet, a multislice simulator: configurations for it, and its images as a particle set.

Parakeet (Parkhurst et al. 2021, Open Biol. 11, 210160; python-parakeet) needs CUDA and is no requirement: it is run
where a GPU is, between the two. Names and conventions are those of its version 0.6.8 (commit 8c368a0): atoms are moved
to their mean, turned by the rotation vector `orientation` and put at `position`; RELION's Euler angles are those of the
inverse rotation; `c_10` is minus the defocus, Angstrom, at the height of the sample's centre. Counts `I` become
`(background - I) / deviation`, both of the corners of a micrograph's boxes: protein bright, noise of variance 1. The
truth is `2 background / deviation` times the phase of the exit wave without ice, by the weak-phase approximation.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.particles.image_names import name_in_star, refuse_unquotable_stack
from polardenoise.engine.particles.mrc import StackWriter
from polardenoise.engine.particles.star import open_text
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.file_kinds import TRUTH_LABEL
from polardenoise.engine.runtime.file_list import FileList
from polardenoise.engine.runtime.files import Outputs, write_text_atomically
from polardenoise.engine.simulate import particle_table as table
from polardenoise.engine.simulate.options import SimulationPlan
from polardenoise.engine.simulate.parakeet.files import (
    find_images,
    read_configuration,
    read_image,
)
from polardenoise.engine.simulate.plan import check_plan
from polardenoise.engine.simulate.sources import read_atoms

#: Particles along the side of a micrograph, one box apart; Angstrom of ice; pixel size and dose where none is given.
SIDE, THICKNESS, PIXEL_SIZE, DOSE = 8, 300.0, 4.0, 40.0
#: Angstrom by which the defocus in a file may differ from that of the configuration beside it.
DEFOCUS_TOLERANCE = 1.0
#: Pixels that a wave may have around its image; Parakeet has 100 where nothing else is said.
LARGEST_MARGIN = 2048
RUN = """#!/bin/sh -e
# Simulate one micrograph with Parakeet, on a GPU; from polardenoise simulate --parakeet.
cd "$(dirname "$0")"
parakeet.sample.new -c config.yaml -s sample.h5
parakeet.sample.add_molecules -c config.yaml -s sample.h5
parakeet.simulate.exit_wave -c config.yaml -s sample.h5 -e exit_wave.h5
parakeet.simulate.optics -c config.yaml -e exit_wave.h5 -o optics.h5
parakeet.simulate.image -c config.yaml -o optics.h5 -i image.h5
parakeet.simulate.exit_wave -c truth.yaml -s sample.h5 -e truth_exit_wave.h5
"""


@dataclass(frozen=True)
class Micrograph:
    """Images and what made them: `(m, 2)` x, y in pixels, `(m, 3)` rot, tilt, psi; voltage, Cs, contrast, phase."""

    image: Path
    truth: Path | None
    pixel_size: float
    size: tuple[int, int]
    defocus: float
    centres: np.ndarray
    angles: np.ndarray
    microscope: tuple[float, float, float, float]


def write_configurations(
    plan: SimulationPlan, folder: Path, files: FileList | None = None
) -> list[Path]:
    """Write ``micrograph_00001``, ... with ``config.yaml`` (JSON, which is YAML), ``truth.yaml``, ``run.sh``.

    Options that cannot be used, or a molecule that does not fit, are an `InputError`.
    """
    check_plan(plan)
    room = min(plan.box * (plan.pixel_size or PIXEL_SIZE), THICKNESS)
    if (width := 2 * read_atoms(Path(plan.sources[0])).radius()) > room:
        raise InputError(
            f"{plan.sources[0]}: the molecule, {width:.0f} A wide, does not fit {room:.0f} A"
        )
    for_poses, for_defocus = np.random.default_rng(plan.seed).spawn(2)
    angles = draw_orientations(plan.particles, for_poses).numpy()
    vectors = Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_rotvec()
    starts = range(0, plan.particles, SIDE**2)
    folders = [folder / f"micrograph_{number:05d}" for number in range(1, len(starts) + 1)]
    files = FileList() if files is None else files
    for name in ("config.yaml", "truth.yaml", "run.sh"):
        for place in folders:
            files.write("--parakeet", place / name, "configuration")
    files.check()
    files.probe()
    for place, start in zip(folders, starts, strict=True):
        defocus = for_defocus.uniform(*table.DEFOCUS_RANGE)
        shown = describe_micrograph(plan, vectors[start : start + SIDE**2], defocus)
        for name, ice in (("config", True), ("truth", False)):
            text = json.dumps(shown | {"simulation": {"ice": ice}}, indent=1)
            write_text_atomically(place / f"{name}.yaml", text)
        write_text_atomically(place / "run.sh", RUN)
        (place / "run.sh").chmod(0o755)
    return folders


def describe_micrograph(plan: SimulationPlan, turns: np.ndarray, defocus: float) -> dict[str, Any]:
    """Describe a micrograph, defocus in Angstrom, as Parakeet's configuration: plain numbers, texts and lists.

    `turns` are `(m, 3)` rotation vectors, radians, from the molecule's coordinates to the micrograph's.
    """
    pixel_size, pixels = plan.pixel_size or PIXEL_SIZE, SIDE * plan.box
    width = _round(pixels * pixel_size)
    places = (np.arange(len(turns))[:, None] // [1, SIDE]) % SIDE
    positions = (places * plan.box + plan.box // 2) * pixel_size
    poses = [
        {"position": [_round(x), _round(y), THICKNESS / 2], "orientation": list(map(_round, turn))}
        for (x, y), turn in zip(positions, turns, strict=True)
    ]
    lengths = [width, width, THICKNESS]
    cuboid = dict(zip(("length_x", "length_y", "length_z"), lengths, strict=True))
    molecule = {"filename": str(Path(plan.sources[0]).resolve()), "instances": poses}
    beam = {"energy": table.VOLTAGE, "electrons_per_angstrom": _round(plan.dose or DOSE)}
    lens = {"c_10": _round(-defocus), "c_30": table.SPHERICAL_ABERRATION}
    detector = {"nx": pixels, "ny": pixels, "pixel_size": _round(pixel_size), "dqe": True}
    return {
        "sample": {
            "shape": {"type": "cuboid", "cuboid": cuboid},
            "box": lengths,
            "centre": [_round(length / 2) for length in lengths],
            "molecules": {"local": [molecule]},
        },
        "microscope": {"beam": beam, "lens": lens, "detector": detector},
        "scan": {"mode": "still", "num_images": 1},
    }


def gather_particles(
    folder: Path, output: Path, box: int, seed: int, files: FileList | None = None
) -> tuple[int, int, bool]:
    """Cut particles of `box` pixels out of all micrographs of a folder; `seed` draws their halves.

    Writes ``particles.star|.mrcs`` and, where every micrograph has its truth, ``clean.star|.mrcs`` into `output`.
    Returns how many particles and micrographs there are, and whether there is a truth. Files that are missing, damaged,
    or not of the configuration beside them, are an `InputError`.
    """
    check_plan(SimulationPlan((str(folder),), box, seed=seed))
    micrographs = [read_micrograph(path) for path in sorted(folder.glob("*/config.yaml"))]
    if len({one.pixel_size for one in micrographs}) != 1:
        raise InputError(f"{folder}: its micrographs differ in pixel size; gather sets of one")
    pixel_size, particles = micrographs[0].pixel_size, tabulate(micrographs, seed)
    with_truth = all(one.truth for one in micrographs)
    paths = [output / f"{name}.mrcs" for name in ("particles", "clean")[: 1 + with_truth]]
    files = FileList() if files is None else files
    for path in paths:
        refuse_unquotable_stack("-o", path)
        files.write("-o", path.with_suffix(".star"), "star")
        files.write("-o", path, "mrc", size=4 * len(particles) * box**2)
    files.check()
    files.probe()
    with Outputs() as outputs, ExitStack() as opened:
        stacks = {}
        for path in paths:
            noisy = path.stem == "particles"
            label = None if noisy else TRUTH_LABEL
            writer = StackWriter(path, len(particles), box, pixel_size, outputs, label)
            stacks[path.stem] = opened.enter_context(writer)
            with open_text(outputs.lend(path.with_suffix(".star")), "w") as file:
                table.write_star(file, particles, name_in_star(path), box, pixel_size, noisy)
        start, corners = 0, ~disk_mask(box, box / 2).numpy()
        for one in micrographs:
            for name, pixels in make_images(one, box, corners, with_truth).items():
                stacks[name].write(start, torch.from_numpy(pixels))
            start += len(one.angles)
    return len(particles), len(micrographs), with_truth


@np.errstate(all="ignore")  # numbers that overflow are told in one line
def make_images(
    one: Micrograph, box: int, corners: np.ndarray, with_truth: bool
) -> dict[str, np.ndarray]:
    """Make the particles of a micrograph, and the truth where that is wanted; `(m, box, box)` float32 each."""
    counts = cut_boxes(one.image, one, box)
    background, deviation = counts[:, corners].mean(), counts[:, corners].std()
    if not deviation > 0:
        raise InputError(
            f"{one.image}: no noise in the corners of its particles; simulate it again"
        )
    images = {"particles": (background - counts) / deviation}
    if with_truth and one.truth:
        waves = cut_boxes(one.truth, one, box)
        phase = np.angle(waves * np.conj(waves[:, corners].mean()))
        images["clean"] = 2 * background / deviation * phase
    images = {name: pixels.astype(np.float32) for name, pixels in images.items()}
    if not all(np.isfinite(pixels).all() for pixels in images.values()):
        raise InputError(f"{one.image}: its pixels are too large; simulate it again")
    return images


def read_micrograph(path: Path) -> Micrograph:
    """Read what a configuration knows of its micrograph, and find its images; `InputError` where that fails."""
    image, truth = find_images(path.parent)
    if image is None:
        raise InputError(f"{path.parent}: holds neither image.h5 nor image.mrc; run its run.sh")
    made_with = read_configuration(path)
    poses = made_with.sample.molecules.local[0].instances
    lens, detector = made_with.microscope.lens, made_with.microscope.detector
    places = np.array([pose.position[:2] for pose in poses], dtype=float)
    vectors = np.array([pose.orientation for pose in poses], dtype=float)
    angles = Rotation.from_rotvec(vectors).inv().as_euler("ZYZ", degrees=True)
    centres = (places - np.array(detector.origin)) / detector.pixel_size
    optics = (made_with.microscope.beam.energy, lens.c_30, table.AMPLITUDE_CONTRAST, 0.0)
    size = (detector.nx, detector.ny)
    return Micrograph(image, truth, detector.pixel_size, size, -lens.c_10, centres, angles, optics)


def tabulate(micrographs: list[Micrograph], seed: int) -> table.SimulationTable:
    """Put the particles of all micrographs into one table, in their order."""
    of_row = np.repeat(np.arange(len(micrographs)), [len(one.angles) for one in micrographs])
    centres = np.concatenate([one.centres for one in micrographs])
    source = np.zeros(len(centres), dtype=np.int64)
    # Boxes are cut at whole pixels; the origin says where the particle lies in its box, with the sign turned.
    origins = ((centres.round() - centres) * micrographs[0].pixel_size).round(6)
    angles = np.concatenate([one.angles for one in micrographs]).round(6)
    focus = np.array([[one.defocus, one.defocus, 0.0] for one in micrographs])[of_row]
    optics = np.array([one.microscope for one in micrographs])[of_row]
    halves, places = (
        table.draw_halves(source, np.random.default_rng(seed)),
        centres.round().astype(int),
    )
    return table.SimulationTable(
        angles, origins, focus, halves, source, None, of_row, places, optics
    )


def cut_boxes(path: Path, one: Micrograph, box: int) -> np.ndarray:
    """Cut the boxes of the particles out of a file; `(m, box, box)`, complex of a wave."""
    wave = path == one.truth
    first = one.centres.round().astype(int) - box // 2
    outside = np.flatnonzero(((first < 0) | (first + box > one.size)).any(1))

    def check(shape: tuple[int, int], pixel_size: float, defocus: float) -> None:
        margin = (shape[1] - one.size[0]) // 2 if wave else 0  # a wave has a margin all around
        wanted = tuple(length + 2 * margin for length in one.size)
        fits = (
            shape[::-1] == wanted
            and 0 <= margin <= LARGEST_MARGIN
            and abs(pixel_size / one.pixel_size - 1) <= 1e-3
            and (defocus == 0 or abs(defocus - one.defocus) <= DEFOCUS_TOLERANCE)
        )
        if not fits:
            raise InputError(
                f"{path}: {shape[::-1]} px, {pixel_size:g} A/px, defocus {defocus:g} A, but its config.yaml says"
                f" {one.size}, {one.pixel_size:g}, {one.defocus:g}; simulate it again"
            )
        if outside.size:
            raise InputError(
                f"{path}: the box of molecule {outside[0] + 1} reaches over the edge; lower --box, or simulate it"
                " again"
            )

    image = read_image(path, wave, check)
    margin = (image.shape[1] - one.size[0]) // 2
    columns, rows = (first[:, axis, None] + margin + np.arange(box) for axis in (0, 1))
    boxes = image[rows[:, :, None], columns[:, None, :]]
    return boxes.astype(np.complex128 if wave else np.float64)


def _round(value: float) -> float:
    """Round to four decimals: no exponents, which YAML 1.1 reads as text; a rotation is good to 0.006 degrees."""
    return round(float(value), 4)
