"""Sets of random and of known views, denoised and classed: errors of averages, and agreement with the views."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.classes import aspire, relion
from benchmarks.classes.averages import (
    measure_error,
    measure_viewing_angle,
    read_averages,
    read_placed_images,
)
from benchmarks.classes.sets import (
    KnownImages,
    Molecule,
    add_noise,
    draw_images,
    find_amplitude,
    project_images,
    read_molecule,
    see_images,
    write_set,
)
from benchmarks.classes.views import choose_views, find_symmetry, look_along
from benchmarks.common.command import run
from benchmarks.common.tables import Row
from benchmarks.common.timing import read_processor_seconds
from polardenoise.engine.evaluate.against_truth import compare_images
from polardenoise.engine.evaluate.matches_against_truth import adjusted_rand_index
from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.runtime.arrays import read_arrays
from polardenoise.engine.simulate.overlapping_particles import measure_radius

#: Views lie so many degrees apart, at least.
APART = 25.0
#: Particles of random views.
SNR = 0.05


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes
    ----------
    particles, class_count, views : int
        Of each set; classes that are asked for in each half, where views are random; views of a set.
    model : str
        That denoises.
    relion_iterations : int
        Of `relion_refine` beside it; 0: it is not run.
    aspire_python : str or None
        Interpreter with ASPIRE, to be run beside it.
    seed : int
        Fixes all that is drawn.
    """

    particles: int = 2000
    class_count: int = 50
    views: int = 20
    model: str = "base"
    relion_iterations: int = 0
    aspire_python: str | None = None
    seed: int = 5


@dataclass
class Spent:
    """What a piece of work took: `seconds` by the clock, and seconds of processors."""

    seconds: float = 0.0
    processor: float = 0.0


@contextmanager
def watch_time() -> Iterator[Spent]:
    """Fill in what is spent until the block ends."""
    spent, start, processor = Spent(), time.perf_counter(), read_processor_seconds()
    yield spent
    spent.seconds = time.perf_counter() - start
    spent.processor = read_processor_seconds() - processor


def denoise_set(star: Path, plan: Plan, *words: str) -> Path:
    """Denoise a set with its matches, `out.npz` beside it; gives the STAR file."""
    out = star.with_name("out.star")
    run(
        "denoise", str(star), "-o", str(out), "--model", plan.model,
        "--matches", str(out.with_suffix(".npz")), *words,
    )  # fmt: skip
    return out


def read_matches(out: Path) -> dict[str, np.ndarray]:
    """Read class and score of each row, and what half it is in; see docs/files.rst."""
    needed = {"class_number": ("i", 1), "half": ("i", 1), "score": ("f", 1)}
    return read_arrays(out.with_suffix(".npz"), needed, "denoise again")


def measure_averages(source: str, plan: Plan, work: Path) -> list[Row]:
    """Measure the class averages of random views, ours and those of others: a row a method."""
    molecule, generator = read_molecule(source), np.random.default_rng(plan.seed)
    angles = draw_orientations(plan.particles, generator).numpy()
    table = draw_images(angles, molecule.pixel_size, generator)
    clean = project_images(molecule, table)
    seen = see_images(clean, table, molecule.pixel_size)
    amplitude = find_amplitude(seen, SNR)
    star = write_set(work, add_noise(amplitude * seen, generator), table, molecule.pixel_size)
    known = KnownImages(molecule, table, amplitude * clean)
    with watch_time() as spent:
        out = denoise_set(star, plan, "--class-count", str(plan.class_count))
    ours = [out.with_name(f"out_2d_{name}") for name in ("data.star", "classes.mrcs")]
    rows = [describe_classes("ours", *ours, spent, 1.0, known)]
    iterations = plan.relion_iterations
    if iterations and relion.is_installed():
        diameter = 2 * find_reach(molecule)
        with watch_time() as spent:
            relion.classify(star, plan.class_count, iterations, diameter, work / "relion")
        scale = relion.USUAL_ITERATIONS / iterations
        data, stack = relion.name_results(work / "relion", iterations)
        method = f"RELION Class2D, {iterations} iterations"
        rows.append(describe_classes(method, data, stack, spent, scale, known))
    if plan.aspire_python:
        with watch_time() as spent:
            averages = aspire.average_neighbours(star, plan.aspire_python)
        error = compare_images(aspire.filter_with_truth(averages, known), known.clean)
        rows.append(
            dict.fromkeys(rows[0])
            | {
                "molecule": molecule.name,
                "particles": plan.particles,
                "method": "ASPIRE class averages, filtered by the truth",
                "relative MSE": error.relative_mse_scaled(),
                "seconds": spent.seconds,
                "processor seconds": spent.processor,
            }
        )
    return rows


def describe_classes(
    method: str,
    data: Path,
    stack: Path,
    spent: Spent,
    scale: float,
    known: KnownImages,
) -> dict[str, str | int | float | None]:
    """Describe a 2D classification as a row: `data` and `stack` in RELION's layout, its whole time, and the truth."""
    placed, molecule = read_placed_images(data), known.molecule
    averages = read_averages(stack)
    return {
        "molecule": molecule.name,
        "particles": len(placed.number),
        "method": method,
        "classes": len(np.unique(placed.number)),
        "relative MSE": measure_error(averages, placed, known.clean, molecule.pixel_size),
        "viewing angle": measure_viewing_angle(
            placed.number, known.table.angles, find_symmetry(molecule.volume)
        ),
        "seconds": spent.seconds * scale,
        "processor seconds": spent.processor * scale,
    }


def find_reach(molecule: Molecule) -> float:
    """Give the radius of a mask about the molecule, Angstrom: half as much again as holds 0.8 of its mass."""
    box = molecule.volume.shape[-1]
    return min(1.5 * measure_radius(molecule.volume), box / 2 - 2) * molecule.pixel_size


def measure_views(source: str, snrs: tuple[float, ...], plan: Plan, work: Path) -> list[Row]:
    """Measure how classes agree with known views: a row an SNR, as many classes asked for as there are views."""
    molecule, generator = read_molecule(source), np.random.default_rng(plan.seed)
    symmetry = find_symmetry(molecule.volume)
    directions = choose_views(plan.views, APART, symmetry, generator)
    view = generator.permutation(np.arange(plan.particles) % len(directions))
    angles = look_along(directions[torch.from_numpy(view)], generator)
    table = draw_images(angles, molecule.pixel_size, generator)
    seen = see_images(project_images(molecule, table), table, molecule.pixel_size)
    rows: list[Row] = []
    for snr in snrs:
        noisy = add_noise(find_amplitude(seen, snr) * seen, generator)
        star = write_set(work, noisy, table, molecule.pixel_size)
        row: dict[str, str | int | float | None] = {
            "molecule": molecule.name,
            "copies": len(symmetry),
            "views": len(directions),
            "SNR": f"{snr:g}",
        }
        out = denoise_set(star, plan, "--class-count", str(len(directions)))
        found = read_matches(out)
        for half in (1, 2):
            own = found["half"] == half
            row[f"half {half}"] = adjusted_rand_index(found["class_number"][own], view[own])
        rows.append(row)
    return rows


def read_summary(out: Path) -> dict:
    """Read what a run says of itself."""
    return json.loads(out.with_suffix(".json").read_text())
