"""The paper's experiments in one table: every method on the same molecules, images and noise, one factor at a time.

Beside each error stands the share of the gap between the best radial filter and the oracle that it closes. A killed
benchmark goes on where it was: what has been measured is kept cell by cell, and measured anew only if images, weights
or version differ.
"""

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polardenoise.engine.benchmark_quality_aspire import list_aspire
from polardenoise.engine.benchmark_quality_cells import Figures, Journal
from polardenoise.engine.benchmark_quality_controls import (
    IMAGES,
    average_controls,
    choose_single,
    measure_controls,
    wants_controls,
)
from polardenoise.engine.benchmark_quality_data import (
    SimulatedImages,
    find_sources,
    simulate_images,
)
from polardenoise.engine.benchmark_quality_methods import (
    Method,
    list_limits,
    make_network_method,
)
from polardenoise.engine.benchmark_quality_networks import (
    TrainedNetwork,
    describe_networks,
    gather_networks,
    state_recipe,
)
from polardenoise.engine.benchmark_quality_points import (
    SEED,
    Images,
    Point,
    QualityPreset,
    list_points,
)
from polardenoise.engine.benchmark_quality_table import (
    list_methods,
    list_rises,
    make_row,
    plot_axis,
)
from polardenoise.engine.benchmark_speed import describe_device
from polardenoise.engine.benchmark_tables import write_table
from polardenoise.engine.errors import InputError
from polardenoise.engine.outputs import format_duration, make_folder, provenance, write_json

#: Cells by place: axis and point, method, molecule.
Cells = dict[tuple[str, str, str, str], dict[str, Any]]


@dataclass(frozen=True)
class QualityPlan:
    """What `polardenoise benchmark quality` was asked for; see its options."""

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
    cells = measure_points(points, sources, methods, journal, plan.folder)
    rows = [tabulate(point, sources, methods, cells) for point in points]
    controls = measure_all_controls(points, sources, networks, rows, journal, device, plan.folder)
    described = describe_networks(networks)
    write_table(rows, plan.folder, "quality")
    write_table(described, plan.folder, "networks")
    if controls:
        write_table(controls, plan.folder, "controls")
    axes = list(dict.fromkeys(point.axis for point in points))
    for axis in axes:
        plot_axis(rows, axis, plan.folder / f"{axis}.png")
    facts = provenance(
        list(plan.command),
        device=describe_device(plan.device),
        threads=torch.get_num_threads(),
        molecules=[Path(source).name for source in sources],
        seed=SEED,
        remarks=remarks,
        measured_now=journal.measured,
        rises=list_rises(rows, [one.network.title for one in networks if one.is_joint]),
        networks=state_recipe(networks),
        table=rows,
        controls=controls,
        cells=[
            dict(zip(("axis", "at", "method", "molecule"), place, strict=True), **cell)
            for place, cell in cells.items()
        ],
    )
    write_json(plan.folder / "quality.json", facts)
    return facts


def measure_points(
    points: list[Point],
    sources: list[str],
    methods: list[Method],
    journal: Journal,
    folder: Path,
) -> Cells:
    """Measure all methods at all points, molecule by molecule; images that points share are simulated once."""
    cells: Cells = {}
    for source in sources:
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
    return make_row(point, errors, seconds)


def measure_all_controls(
    points: list[Point],
    sources: list[str],
    networks: list[TrainedNetwork],
    rows: list[dict[str, Any]],
    journal: Journal,
    device: str,
    folder: Path,
) -> list[dict[str, Any]]:
    """Measure the controls of the joint and the single-image network that are best at the base point."""
    base = next(row for row in rows if row["axis"] == "sets")
    single = choose_single(networks, base)
    joint = min(
        (one for one in networks if one.is_joint),
        key=lambda one: base[one.network.title],
        default=None,
    )
    chosen = [point for point in points if wants_controls(point)]
    if single is None or joint is None or not chosen:
        return []
    measured: dict[int, list[Figures]] = {point.set_size: [] for point in chosen}
    for source in sources:
        data, scratch = simulate_in_scratch(source, chosen[0].images, folder)
        with scratch:
            for point in chosen:
                facts = {
                    "controls": [joint.card.weights_sha256, single.card.weights_sha256],
                    "images": data.digest,
                    "set_size": point.set_size,
                    "device": device,
                }
                work = partial(measure_controls, data, point, joint, single, device)
                cell = journal.measure(facts, work)
                measured[point.set_size].append(cell["figures"])
    return [
        {
            "K": size,
            "images judged": min(IMAGES, chosen[0].images.particles) // size * len(sources),
            **average_controls(cells),
            "joint network": joint.network.title,
            "single-image network": single.network.title,
        }
        for size, cells in measured.items()
    ]


def summarise_quality(facts: dict[str, Any], folder: Path) -> str:
    """Say in a few lines what the table says at the base point, and where it is."""
    base = next(row for row in facts["table"] if row["axis"] == "sets")
    errors = [
        f"  {name}: {base[name]:.4f}, {100 * base[f'gap closed: {name}']:.0f} % of the gap"
        for name in list_methods(base)
        if base[name] is not None
    ]
    seconds = sum(row["seconds"] for row in facts["table"])
    return "\n".join(
        [
            f"one view, K = {base['K']}, SNR {base['SNR']}: relative MSE, radial filter "
            f"{base['radial filter']:.4f}, oracle {base['oracle']:.4f}",
            *errors,
            *(f"does not fall: {line}" for line in facts["rises"]),
            f"measured in {format_duration(seconds)}; tables and figures written to {folder}",
        ]
    )
