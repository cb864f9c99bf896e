"""Simulated particle sets: molecules, projected, shifted, seen through a microscope, drowned in noise.

The image is ``x = A CTF (shift (projection)) + noise`` with noise of variance 1 and background 0: white and Gaussian,
or what `SimulationPlan` asks for (`recording`: coloured noise, counted electrons, ice, envelope, MTF;
`overlapping_particles`: neighbours), which changes the noisy images only. `A` is one number for the whole set, chosen
so that the mean squared clean pixel (whole box, CTF included) is the SNR; a view with more contrast is then also a
little less noisy than one with less, as in a real set. Sets of more than 5,000 particles measure it on 5,000 of them.
The clean stack is ``A shift (projection)``: same order, poses and shifts, same units, no CTF, no noise; and the
volume is written in these units too.

Everything follows from one seed. Images are made and written some at a time: memory does not grow with their number.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polardenoise.counts import word_count
from polardenoise.engine.imaging.ctf import compute_ctf
from polardenoise.engine.imaging.projections import VolumeTransform, prepare_volume
from polardenoise.engine.particles.image_names import name_in_star, refuse_unquotable_stack
from polardenoise.engine.particles.mrc import StackWriter, write_volume
from polardenoise.engine.particles.star import open_text
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.file_kinds import TRUTH_LABEL
from polardenoise.engine.runtime.file_list import FileList
from polardenoise.engine.runtime.files import Outputs, naming_a_full_disk
from polardenoise.engine.runtime.progress import Progress
from polardenoise.engine.simulate.imperfections import (
    draw_contrasts,
    draw_gradients,
    lay_slopes,
    misjudge_table,
)
from polardenoise.engine.simulate.options import SimulationPlan
from polardenoise.engine.simulate.overlapping_particles import draw_neighbours, measure_radius
from polardenoise.engine.simulate.particle_table import SimulationTable, draw_table, write_star
from polardenoise.engine.simulate.plan import check_plan
from polardenoise.engine.simulate.poisson_noise import SNR, Exposure, settle_exposure
from polardenoise.engine.simulate.recording import plan_recording, record_images
from polardenoise.engine.simulate.seen_images import (
    project_rows,
    see_through_microscope,
    show_neighbours,
)
from polardenoise.engine.simulate.source_names import PHANTOM_PREFIX, name_micrographs
from polardenoise.engine.simulate.sources import Density, read_density

PIXELS_AT_ONCE = 2**20
MEASURED_FOR_SNR = 5_000
#: Bytes of a row of a STAR file, at least.
ROW_BYTES = 150


@dataclass(frozen=True)
class Randomness:
    """Independent sources of randomness of one seed; what one draws does not move the others.

    Attributes
    ----------
    table, noise, neighbours, ice, imperfections : numpy.random.Generator
        Each for what its name says.
    """

    table: np.random.Generator
    noise: np.random.Generator
    neighbours: np.random.Generator
    ice: np.random.Generator
    imperfections: np.random.Generator


def simulate_particles(
    plan: SimulationPlan, folder: Path | str, files: FileList | None = None
) -> dict[str, Any]:
    """Simulate a particle set.

    Parameters
    ----------
    plan : SimulationPlan
        What to simulate.
    folder : Path | str
        Gets ``particles.star|.mrcs`` (noisy), ``clean.star|.mrcs`` (truth), ``volume.mrc`` (several sources:
        ``volume_1.mrc``, ...). Files of these names are replaced, all at the end.
    files : FileList, optional
        What the command reads and writes besides.

    Returns
    -------
    dict
        The summary: files, numbers, pixel size.

    Raises
    ------
    InputError
        An option or a source that cannot be used; nothing has been written then.
    """
    check_plan(plan)
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, and -o names a folder; choose another name")
    files = list_files(plan, folder, FileList() if files is None else files)
    files.check()
    started = time.monotonic()
    densities = read_densities(plan)
    pixel_size = densities[0].pixel_size
    print(
        f"simulate: {word_count(len(densities), 'molecule')} on {plan.box} voxels of {pixel_size:g} A,"
        f" took {time.monotonic() - started:.1f} s",
        flush=True,
    )
    exposure = Exposure(SNR if plan.snr is None else plan.snr)
    if plan.noise == "poisson":
        exposure = settle_exposure(plan.snr, plan.dose, pixel_size, 1 - plan.ice)
    randomness = Randomness(*np.random.Generator(np.random.PCG64(plan.seed)).spawn(5))
    table = draw_table(
        plan.particles,
        len(plan.sources),
        plan.views,
        plan.max_shift * pixel_size,
        plan.with_ctf,
        randomness.table,
        plan.like,
    )
    volumes = name_volumes(plan)
    files.probe()
    targets = dict(zip((folder / name for name in volumes), densities, strict=True))
    write_outputs(plan, folder, table, targets, exposure, randomness)
    return {
        "particles": plan.particles,
        "star": str(folder / "particles.star"),
        "clean": str(folder / "clean.star"),
        "volumes": [str(folder / name) for name in volumes],
        "sources": list(plan.sources),
        "box": plan.box,
        "pixel_size": pixel_size,
        "snr": exposure.snr,
        "noise": plan.noise,
        "dose": exposure.dose,
        "contrast": exposure.contrast,
        "ice": plan.ice,
        "envelope": plan.envelope,
        "mtf_at_nyquist": None if plan.mtf is None else float(plan.mtf.at(np.array(0.5))),
        "neighbours": plan.neighbours,
        "contrast_spread": plan.contrast_spread,
        "slope": plan.slope,
        "defocus_error": plan.defocus_error,
        "ctf": plan.with_ctf,
        "views": plan.views,
        "max_shift": plan.max_shift,
        "b_factor": plan.b_factor,
        "seed": plan.seed,
        "seconds": round(time.monotonic() - started, 2),
    }


def name_volumes(plan: SimulationPlan) -> list[str]:
    """Name the files of the sources' densities."""
    count = len(plan.sources)
    return ["volume.mrc"] if count == 1 else [f"volume_{n + 1}.mrc" for n in range(count)]


def list_files(plan: SimulationPlan, folder: Path, files: FileList) -> FileList:
    """Add what a simulation reads and writes to a list; refuse a name that no STAR file can hold."""
    pixels = 4 * plan.particles * plan.box**2
    for source in plan.sources:
        if not source.startswith(PHANTOM_PREFIX):
            files.read("SOURCE", source, Path(source).with_name("MANIFEST.tsv"))
    for name in ("particles", "clean"):
        refuse_unquotable_stack("-o", folder / f"{name}.mrcs")
        files.write("-o", folder / f"{name}.star", "star", size=ROW_BYTES * plan.particles)
        files.write("-o", folder / f"{name}.mrcs", "mrc", size=pixels)
    for name in name_volumes(plan):
        files.write("-o", folder / name, "mrc", size=4 * plan.box**3)
    return files


def write_outputs(
    plan: SimulationPlan,
    folder: Path,
    table: SimulationTable,
    targets: dict[Path, Density],
    exposure: Exposure,
    randomness: Randomness,
) -> None:
    """Project, add CTF and noise, and write everything in chunks; the files take their names together, at the end.

    Parameters
    ----------
    plan, folder
        As for `simulate_particles`.
    table : SimulationTable
        What is known of every particle.
    targets : dict
        The density of each source by the file that it is written to, in the units of the images.
    exposure : Exposure
        The SNR, and the electrons where they are counted.
    randomness : Randomness
        Noise and neighbours are drawn from it, in the order of the rows.
    """
    densities = list(targets.values())
    pixel_size = densities[0].pixel_size
    for_errors, for_contrast, for_slopes = randomness.imperfections.spawn(3)
    # Beyond 128 px the finer sampling would take gigabytes for the last few parts in ten thousand.
    padding = 3 if plan.box <= 128 else 2
    transforms = [prepare_volume(density.volume, padding) for density in densities]
    # Written is the defocus that was estimated, seen the one that was: `table` is of the first.
    seen_table = misjudge_table(table, plan.defocus_error, for_errors)
    amplitude = _find_amplitude(plan, seen_table, transforms, pixel_size, exposure.snr)
    contrast = torch.from_numpy(
        draw_contrasts(len(table), plan.contrast_spread, for_contrast).astype(np.float32)
    )[:, None, None]
    neighbours = None
    if plan.neighbours:
        radius = np.array([measure_radius(density.volume) for density in densities])[table.source]
        neighbours = draw_neighbours(plan.neighbours, radius, plan.box, randomness.neighbours)
    recording = plan_recording(plan, exposure.electrons, pixel_size)
    with Outputs() as outputs, ExitStack() as opened:
        stacks = {}
        for name, with_ctf in (("clean", False), ("particles", plan.with_ctf)):
            path = folder / f"{name}.mrcs"
            label = TRUTH_LABEL if name == "clean" else None
            writer = StackWriter(path, plan.particles, plan.box, pixel_size, outputs, label)
            stacks[name] = opened.enter_context(writer)
            star = outputs.lend(path.with_suffix(".star"))
            with naming_a_full_disk(star), open_text(star, "w") as file:
                named = name_in_star(path), plan.box, pixel_size, with_ctf
                write_star(file, table, *named, name_micrographs(plan.sources))
        for path, density in targets.items():
            write_volume(outputs.lend(path), density.volume * amplitude, pixel_size)
        progress = opened.enter_context(Progress("simulate", plan.particles))
        for rows in _chunks(plan.particles, plan.box):
            clean = amplitude * project_rows(rows, table, transforms, pixel_size)
            if plan.contrast_spread:
                clean = contrast[rows] * clean
            seen = see_through_microscope(clean, rows, seen_table, pixel_size)
            if neighbours is not None:
                seen = seen + amplitude * show_neighbours(
                    neighbours, rows, seen_table, transforms, pixel_size
                )
            parameters = seen_table.ctf_parameters(rows) if plan.ice else None
            ctf = None if parameters is None else compute_ctf(parameters, pixel_size, plan.box)
            noisy = record_images(recording, seen, ctf, randomness.noise, randomness.ice)
            if plan.slope:
                gradients = draw_gradients((len(clean),), plan.slope, for_slopes)
                noisy = noisy + lay_slopes(torch.from_numpy(gradients), plan.box)
            stacks["clean"].write(rows.start, clean)
            stacks["particles"].write(rows.start, noisy)
            progress.advance(len(clean))


def read_densities(plan: SimulationPlan) -> list[Density]:
    """Read all sources at one pixel size; with none given, the one at which the largest molecule fits."""
    if plan.pixel_size is not None or len(plan.sources) == 1:
        given = None if plan.pixel_size is None else round(plan.pixel_size, 6)
        return [read_density(source, plan.box, given, plan.b_factor) for source in plan.sources]
    fitting = [
        read_density(source, plan.box, None, plan.b_factor).pixel_size for source in plan.sources
    ]
    return [read_density(source, plan.box, max(fitting), plan.b_factor) for source in plan.sources]


def _find_amplitude(
    plan: SimulationPlan,
    table: SimulationTable,
    transforms: list[VolumeTransform],
    pixel_size: float,
    snr: float,
) -> float:
    """Find the factor that gives the set its SNR; from all images, or 5,000 spread over the set."""
    squares, pixels = 0.0, 0
    every = -(-plan.particles // MEASURED_FOR_SNR)
    for number, rows in enumerate(_chunks(plan.particles, plan.box)):
        if number % every:
            continue
        clean = project_rows(rows, table, transforms, pixel_size)
        seen = see_through_microscope(clean, rows, table, pixel_size)
        squares += float(seen.double().square().sum())
        pixels += seen.numel()
    if not squares > 0:
        raise InputError(
            f"{plan.sources[0]}: its projections are empty; give a molecule or map with density"
        )
    return float((snr * pixels / squares) ** 0.5)


def _chunks(count: int, box: int) -> list[slice]:
    """Cut the rows into pieces of about a million pixels; the pieces depend on nothing else."""
    size = min(max(PIXELS_AT_ONCE // box**2, 1), 256)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
