"""The null test of a model over several seeds, with CTFs and without, and how energy out grows with the set.

    python -m benchmarks pure_noise MODEL ... -o benchmarks/results/honesty

For each model: `polardenoise evaluate --null` of 400 images of pure noise for five seeds (`null_bars`: what is asked
for, the worst seed and how many of the seeds meet it; the highest correlation is over all seeds for model and control;
`half_maps`: every kind of half map, mean over the seeds). A model whose card says with how much energy noise comes out
is also tested without that knowledge (`NAME-alone`), which is the network by itself. Then the energy that comes out by
the number of images and by how they are put together, one seed each (`null_energy`): among more images a search finds
noise that is more alike.
Each seed's summary is kept in `null/` and not computed again. Writes tables (CSV and rst) and a figure for each model.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common.tables import write_table
from polardenoise.engine.evaluate.noise_images import draw_conditions
from polardenoise.engine.evaluate.noise_measures import SNR
from polardenoise.engine.evaluate.noise_plot import plot_null
from polardenoise.engine.evaluate.noise_test import (
    B_FACTOR,
    REFERENCE,
    denoise_images,
    measure_null,
)
from polardenoise.engine.imaging.ctf import apply_ctf
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.networks.checkpoint import load_model, save_model
from polardenoise.engine.networks.registry import is_joint
from polardenoise.engine.runtime.files import write_json
from polardenoise.engine.simulate.sources import read_density

BOX = 64
SEEDS = range(5)


def main(words: Sequence[str]) -> None:
    """Measure what is not there yet and write the tables."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks pure_noise", description=__doc__.splitlines()[0]
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="names or folders")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--images", type=int, default=400, help="of the null test (default: 400)")
    arguments = parser.parse_args(words)
    folder = arguments.output
    bars, maps, energies = [], [], []
    scratch = tempfile.TemporaryDirectory()
    models = list_models(arguments.models, Path(scratch.name))
    for name, model in models.items():
        picture = folder / f"null_{name}.png"
        summaries = [
            keep(
                folder / "null" / f"{name}_{seed}.json",
                partial(measure, model, arguments.images, seed, picture),
            )
            for seed in SEEDS
        ]
        bars += tabulate_bars(name, summaries)
        maps += tabulate_maps(name, summaries)
        write_table(bars, folder, "null_bars")
        write_table(maps, folder, "null_maps")
    for name, model in models.items():
        for count, ctf, group_by in list_energies(model):
            path = folder / "null" / f"{name}_{count}_{ctf}_{group_by}.json"
            energy = keep(path, partial(measure_energy, model, count, ctf, group_by))
            energies.append({"model": name, **energy})
            write_table(energies, folder, "null_energy")


def list_models(given: list[str], scratch: Path) -> dict[str, str]:
    """Name the models; one that knows what noise comes out with is also tested as if it did not (`NAME-alone`)."""
    models = {}
    for one in given:
        name = Path(one).name
        models[name] = one
        network, card = load_model(one)
        if card.noise_energy:
            alone = f"{name}-alone"
            save_model(scratch / alone, network, replace(card, name=alone, noise_energy={}))
            models[alone] = str(scratch / alone)
    return models


def list_energies(model: str) -> list[tuple[int, str, str]]:
    """List images, CTF and grouping to measure the energy for; a single-image network minds only the CTF."""
    found = [(400, ctf, "neighbours") for ctf in ("no", "yes")]
    if is_joint(load_model(model)[1].architecture):
        found += [(400, ctf, "random") for ctf in ("no", "yes")]
        found += [(2000, ctf, "neighbours") for ctf in ("no", "yes")]
    return found


def keep(path: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Give what a JSON file holds; compute and write it where it is not there."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, compute())
    return json.loads(path.read_text())


def measure(model: str, count: int, seed: int, picture: Path) -> dict[str, Any]:
    """Run the null test of one seed; the first draws the picture."""
    test = measure_null(model, count=count, seed=seed)
    if seed == SEEDS[0]:
        plot_null(picture, test)
    return test.summary


def measure_energy(model: str, count: int, ctf: str, group_by: str) -> dict[str, Any]:
    """Measure the energy of denoised noise on the disk, beside that of a particle at SNR 0.02 on the whole box."""
    generator = np.random.default_rng([0, 3])
    pixel_size = read_density(REFERENCE, BOX, None, B_FACTOR).pixel_size
    conditions = draw_conditions(BOX, pixel_size, count, generator)
    if ctf == "no":
        conditions = replace(conditions, ctf=None)
    noise = torch.from_numpy(generator.standard_normal((count, BOX, BOX), dtype=np.float32))
    estimates = denoise_images(noise, conditions, model, 0, "auto", group_by)
    denoised = apply_ctf(estimates, conditions.compute_transfer()) * disk_mask(BOX, BOX / 2 - 1)
    energy = float(denoised.square().mean()) / SNR
    return {"images": count, "CTF": ctf, "grouped by": group_by, "energy of a particle's": energy}


def tabulate_bars(name: str, summaries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Hold the highest value over the seeds against the limit that the control's highest over the seeds gives."""
    rows = []
    for bar in summaries[0]["bars"]:
        each = [one["bars"][bar] for one in summaries]
        value = max(one["value"] for one in each)
        limit = max(one["limit"] for one in each)
        rows.append(
            {
                "model": name,
                "asked": bar,
                "highest of the seeds": float(value),
                "at most": float(limit),
                "met": "yes" if value <= limit else "no",
                "seeds that meet their own": f"{sum(one['met'] for one in each)} of {len(each)}",
            }
        )
    return rows


def tabulate_maps(name: str, summaries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Average what is told of every kind of half map."""

    def average(key: str, kind: str) -> float | None:
        values = [one[key][kind] for one in summaries if kind in one[key]]
        return float(np.mean(values)) if values else None

    return [
        {
            "model": name,
            "poses": kind.split("/")[0],
            "images": kind.split("/")[1],
            "mean FSC": average("mean_fsc", kind),
            "with mean image": average("mean_fsc_with_mean", kind),
            "above half Nyquist": average("mean_fsc_upper", kind),
            "highest from shell 4": average("highest_fsc", kind),
            "reference in it": average("amplitude", kind),
        }
        for kind in summaries[0]["mean_fsc"]
    ]
