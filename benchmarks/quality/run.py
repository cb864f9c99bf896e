"""The paper's experiments in one table: every method on the same molecules, images and noise, one factor at a time.

Beside each error stands the share of the gap between the best radial filter and the oracle that it closes. A killed
benchmark goes on where it was: what has been measured is kept cell by cell, and measured anew only if images, weights
or version differ.
"""

import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common.tables import Row, write_table
from benchmarks.common.timing import describe_device
from benchmarks.quality.aspire import list_aspire
from benchmarks.quality.controls import IMAGES, list_controlled, measure_controls
from benchmarks.quality.images import SimulatedImages, choose_seed, find_sources, simulate_images
from benchmarks.quality.journal import Figures, Journal
from benchmarks.quality.methods import Method, list_limits, make_network_method
from benchmarks.quality.networks import (
    TrainedNetwork,
    describe_networks,
    gather_networks,
    state_recipe,
)
from benchmarks.quality.points import Images, Point, QualityPreset, list_points
from benchmarks.quality.table import list_methods, list_rises, make_row, plot_axis
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import make_folder, write_json
from polardenoise.engine.runtime.progress import format_duration
from polardenoise.engine.runtime.provenance import provenance

#: Cells by place: axis and point, method, molecule.
Cells = dict[tuple[str, str, str, str], dict[str, Any]]

#: Figures of the controls by point and molecule.
Controls = dict[tuple[Point, str], Figures]


@dataclass(frozen=True)
class QualityPlan:
    """What `python -m benchmarks quality` was asked for; see its options."""

    preset: QualityPreset
    folder: Path
    device: torch.device
    checkpoints: Path | None
    minutes: float
    aspire_python: str | None
    command: tuple[str, ...]


def measure_quality(plan: QualityPlan) -> dict[str, Any]:
    """Measure every cell that is missing and write tables and figures.

    Returns
    -------
    dict
        What `quality.json` holds.

    Raises
    ------
    InputError
        If no network is found, or one was trained on a molecule that is to be judged.
    """
    if plan.checkpoints is not None and not plan.checkpoints.is_dir():
        raise InputError(f"--checkpoints {plan.checkpoints}: is no folder; name one, or leave it")
    sources = find_sources(plan.preset)
    networks, remarks = gather_networks(
        plan.checkpoints,
        plan.folder / "checkpoints",
        plan.preset.trains and plan.minutes > 0,
        plan.minutes,
        sources,
        list(plan.command),
    )
    aspire = list_aspire(plan.aspire_python)
    if not aspire:
        remarks.append("ASPIRE: not measured, no --aspire-python")
    for remark in remarks:
        print(remark, flush=True)
    device = plan.device.type
    methods = [
        *list_limits(),
        *(make_network_method(network, device) for network in networks),
        *aspire,
    ]
    make_folder(plan.folder)
    journal = Journal(plan.folder / "cells.jsonl")
    points = list_points(plan.preset)
    started, cells, controls = time.perf_counter(), Cells(), Controls()
    facts: dict[str, Any] = {}
    pair = None
    for number, source in enumerate(sources):
        cells |= measure_molecule(points, source, methods, journal, plan.folder)
        done = sources[: number + 1]
        rows = [tabulate(point, done, methods, cells) for point in points]
        # By the first molecule: what a killed benchmark has measured must be what it goes on with.
        pair = pair or choose_pair(networks, rows)
        if pair is not None:
            controls |= measure_molecule_controls(
                points, source, pair, journal, device, plan.folder
            )
        facts = provenance(
            list(plan.command),
            device=describe_device(plan.device),
            threads=torch.get_num_threads(),
            molecules=[Path(one).name for one in done],
            seeds={Path(one).name: choose_seed(one) for one in done},
            remarks=remarks,
            measured_now=journal.measured,
            seconds=time.perf_counter() - started,
            rises=list_rises(rows, [one.network.title for one in networks if one.is_joint]),
            networks=state_recipe(networks),
            table=rows,
            controls=tabulate_controls(controls, pair),
            cells=[
                dict(zip(("axis", "at", "method", "molecule"), place, strict=True), **cell)
                for place, cell in cells.items()
            ],
        )
        write_results(facts, describe_networks(networks), plan.folder)
        print(f"{Path(source).name}: done, {number + 1} of {len(sources)} molecules", flush=True)
    return facts


def write_results(facts: dict[str, Any], networks: list[Row], folder: Path) -> None:
    """Write tables, figures and what made them, of the molecules measured so far."""
    rows = facts["table"]
    write_table(rows, folder, "quality")
    write_table(networks, folder, "networks")
    if facts["controls"]:
        write_table(facts["controls"], folder, "controls")
    for axis in dict.fromkeys(row["axis"] for row in rows):
        plot_axis(rows, axis, folder / f"{axis}.png")
    write_json(folder / "quality.json", facts)


def measure_molecule(
    points: list[Point], source: str, methods: list[Method], journal: Journal, folder: Path
) -> Cells:
    """Measure all methods at all points on one molecule; images that points share are simulated once."""
    cells: Cells = {}
    for images in dict.fromkeys(point.images for point in points):
        data, scratch = simulate_in_scratch(source, images, folder)
        with scratch:
            before = journal.measured
            for point in (point for point in points if point.images == images):
                for method in (one for one in methods if one.applies(point)):
                    place = (point.axis, point.at, method.title, Path(source).name)
                    cells[place] = measure_cell(data, point, method, journal)
        if journal.measured > before:
            print(f"{Path(source).name}: {describe_images(images)}: done", flush=True)
    return cells


def measure_cell(
    data: SimulatedImages, point: Point, method: Method, journal: Journal
) -> dict[str, Any]:
    """Measure a method at a point, or remember what it was."""
    facts = {
        "method": method.title,
        "images": data.digest,
        "judged": point.judged,
        **method.facts(point),
    }
    return journal.measure(facts, lambda: method.measure(data, point))


def simulate_in_scratch(
    source: str, images: Images, folder: Path
) -> tuple[SimulatedImages, tempfile.TemporaryDirectory[str]]:
    """Simulate images into a folder that goes when they have been measured."""
    scratch = tempfile.TemporaryDirectory(dir=folder, prefix=".images-")
    return simulate_images(source, images, Path(scratch.name)), scratch


def describe_images(images: Images) -> str:
    """Name images in a line of progress."""
    views = f"{images.views} views" if images.views else "random views"
    ctf = f", CTF, shifts up to {images.max_shift:g} px" if images.with_ctf else ""
    return f"{images.particles} of {views}, SNR {images.snr:g}{ctf}, {images.noise} noise"


def tabulate(
    point: Point, sources: list[str], methods: list[Method], cells: Cells
) -> dict[str, Any]:
    """Average the cells of a point over the molecules into its row."""
    errors: dict[str, float | None] = {}
    seconds = 0.0
    for method in methods:
        found = [
            cell
            for source in sources
            if (cell := cells.get((point.axis, point.at, method.title, Path(source).name)))
        ]
        values = [cell["figures"]["relative_mse"] for cell in found]
        errors[method.title] = float(np.mean(values)) if values else None
        seconds += sum(cell["seconds"] for cell in found)
    return make_row(point, errors, len(sources), seconds)


def choose_pair(
    networks: list[TrainedNetwork], rows: list[dict[str, Any]]
) -> tuple[TrainedNetwork, TrainedNetwork] | None:
    """Choose the joint and the single-image network that are best at the base point; None without either."""
    base = next(row for row in rows if row["axis"] == "sets")
    chosen = [
        min(
            (one for one in networks if one.is_joint == joint),
            key=lambda one: base[one.network.title],
            default=None,
        )
        for joint in (True, False)
    ]
    return None if chosen[0] is None or chosen[1] is None else (chosen[0], chosen[1])


def measure_molecule_controls(
    points: list[Point],
    source: str,
    pair: tuple[TrainedNetwork, TrainedNetwork],
    journal: Journal,
    device: str,
    folder: Path,
) -> Controls:
    """Measure the controls on one molecule, at every point that has them."""
    controls: Controls = {}
    chosen = list_controlled(points)
    for images in dict.fromkeys(point.images for point in chosen):
        data, scratch = simulate_in_scratch(source, images, folder)
        with scratch:
            for point in (one for one in chosen if one.images == images):
                facts = {
                    "controls": [one.card.weights_sha256 for one in pair],
                    "images": data.digest,
                    "set_size": point.set_size,
                    "device": device,
                }
                work = partial(measure_controls, data, point, *pair, device)
                controls[point, source] = journal.measure(facts, work)["figures"]
    return controls


def tabulate_controls(
    controls: Controls, pair: tuple[TrainedNetwork, TrainedNetwork] | None
) -> list[dict[str, Any]]:
    """Average the controls over the molecules, a row for each point."""
    if pair is None:
        return []
    rows = []
    for point in dict.fromkeys(point for point, _ in controls):
        cells = [figures for (other, _), figures in controls.items() if other == point]
        sets = min(IMAGES, point.images.particles) // point.set_size
        rows.append(
            {
                "SNR": f"{point.images.snr:g}",
                "K": point.set_size,
                "images judged": sets * len(cells),
                **{name: float(np.mean([cell[name] for cell in cells])) for name in cells[0]},
                "joint network": pair[0].network.title,
                "single-image network": pair[1].network.title,
            }
        )
    return rows


def summarise_quality(facts: dict[str, Any], folder: Path) -> str:
    """Say in a few lines what the table says at the base point, and where it is."""
    base = next(row for row in facts["table"] if row["axis"] == "sets")
    errors = [
        f"  {name}: {base[name]:.4f}, {100 * base[f'gap closed: {name}']:.0f} % of the gap"
        for name in list_methods(base)
        if base[name] is not None
    ]
    return "\n".join(
        [
            f"one view, K = {base['K']}, SNR {base['SNR']}: relative MSE, radial filter "
            f"{base['radial filter']:.4f}, oracle {base['oracle']:.4f}",
            *errors,
            *(f"does not fall: {line}" for line in facts["rises"]),
            f"took {format_duration(facts['seconds'])}; tables and figures written to {folder}",
        ]
    )
