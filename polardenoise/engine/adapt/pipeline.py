"""Adapt a model to a particle set: read -> each half for itself -> gates -> the model's folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polardenoise.engine.adapt.draws import NetworkSettings
from polardenoise.engine.adapt.half import MARGIN, AdaptedModel, adapt_half
from polardenoise.engine.adapt.options import AdaptPlan
from polardenoise.engine.adapt.plan import Adaptation, check_adaptation
from polardenoise.engine.adapt.recorruption import ClusterImages, read_clusters
from polardenoise.engine.denoise.adapted_halves import DEFAULT_SET_SIZE
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.denoise.preparation import prepare_run, read_input
from polardenoise.engine.networks.adapted_numbers import HalfNumbers, digest_images, name_tensors
from polardenoise.engine.networks.checkpoint import (
    ModelCard,
    find_model,
    hash_file,
    save_model,
)
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.runtime.devices import choose_precision, name_precision
from polardenoise.engine.runtime.file_list import list_model_files
from polardenoise.engine.runtime.files import Outputs, make_folder, temporary_folder, write_json
from polardenoise.engine.runtime.provenance import provenance
from polardenoise.engine.runtime.running_command import warn

#: Share of the minutes that is kept for writing.
KEPT = 0.05


def adapt_particles(plan: AdaptPlan) -> dict[str, Any]:
    """Adapt a model to the particles of a plan and write it to `DIR/model`, with `DIR/summary.json`.

    Where the gates refuse every half, `DIR/model` is the model that came in, byte for byte.

    Returns
    -------
    dict
        The summary.

    Raises
    ------
    InputError
        If anything given cannot be used; all of it but the pixels is checked before the work starts.
    """
    began = time.monotonic()
    adaptation = check_adaptation(plan)
    job = adaptation.job
    for warning in job.warnings:
        warn(warning)
    digests = np.zeros(len(job.particles), dtype=np.int64)

    def take_digests(rows: np.ndarray, pixels: np.ndarray) -> None:
        digests[rows] = digest_images(pixels)

    with making_folder(plan.model_folder):
        with temporary_folder("adapt", plan.output) as folder:
            read_input(job, folder, take_digests)
            prepare_run(job, folder)
            clusters = read_clusters(job, folder, adaptation.half_frames)
        return adapt_halves(adaptation, clusters, digests, began)


@contextmanager
def making_folder(folder: Path) -> Iterator[None]:
    """Make a folder, and those above it; what was made for a run that leaves nothing in it goes again."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        make_folder(folder)
        yield
    finally:
        for one in made:
            with suppress(OSError):  # it holds something
                one.rmdir()


def adapt_halves(
    adaptation: Adaptation,
    clusters: dict[int, list[ClusterImages]],
    digests: np.ndarray,
    began: float,
) -> dict[str, Any]:
    """Adapt the model to each half and write it; as `adapt_particles`.

    Parameters
    ----------
    adaptation : Adaptation
        What was asked for.
    clusters : dict
        Half -> its images; they leave it one half after another.
    digests : ndarray
        `(n,)` of the images, by row.
    began : float
        When the run began, by the monotonic clock.
    """
    plan, job = adaptation.plan, adaptation.job
    reading = time.monotonic() - began
    computing = NetworkSettings(
        job.device,
        choose_precision(job.device),
        DEFAULT_SET_SIZE,
        plan.seed,
    )
    of_halves = divide_digests(job, digests)

    def predict_minutes(seconds: float) -> float:
        predicted = (reading + len(of_halves) * seconds) / (60 * (1 - KEPT))
        # The other half may have taken more than its share.
        return max(predicted, MARGIN * plan.minutes)

    adapted: dict[int, AdaptedModel] = {}
    for place, half in enumerate(sorted(clusters)):
        left = 60 * plan.minutes * (1 - KEPT) - (time.monotonic() - began)
        adapted[half] = adapt_half(
            as_joint(job.model),
            clusters.pop(half),
            computing,
            max(left, 0.0) / (len(of_halves) - place),
            partial(tell_half, half),
            predict_minutes,
        )
    minutes = (time.monotonic() - began) / 60
    summary = summarise_run(adaptation, adapted, minutes, name_precision(computing.precision))
    write_model(adaptation, adapted, of_halves, summary)
    return summary


def tell_half(half: int, words: str) -> None:
    """Say what is done with a half."""
    print(f"adapt: half {half} {words}", flush=True)


def divide_digests(job: Job, digests: np.ndarray) -> dict[int, torch.Tensor]:
    """List the digests of the images of each half, ascending: by them `denoise` knows whose numbers are whose."""
    rows = job.shared.first_row
    return {
        half: torch.from_numpy(np.unique(digests[rows[job.halves[rows] == half]]))
        for half in np.unique(job.halves).tolist()
    }


def summarise_run(
    adaptation: Adaptation, adapted: dict[int, AdaptedModel], minutes: float, precision: str
) -> dict[str, Any]:
    """Gather what the summary and the card say."""
    plan, job = adaptation.plan, adaptation.job
    return {
        **provenance(list(plan.command)),
        "model": str(plan.model_folder),
        "adapted": any(one.is_taken for one in adapted.values()),
        "base": {"name": job.card.name, "weights_sha256": job.card.weights_sha256},
        "particles": str(job.particles.star_path.resolve()),
        "star_sha256": hash_file(job.particles.star_path),
        "half_frames": None if plan.half_frames is None else str(plan.half_frames.resolve()),
        "count": len(job.particles),
        "halves_from": "drawn" if job.drawn else "rlnRandomSubset",
        "seed": plan.seed,
        "minutes": round(minutes, 2),
        "minutes_allowed": plan.minutes,
        "precision": precision,
        "device": job.device.type,
        "warnings": list(job.warnings),
        "halves": {
            str(half): {
                "taken": one.is_taken,
                "set_size": one.set_size,
                "images": int((job.halves[job.shared.first_row] == half).sum()),
                "learned_from": one.learned_from,
                "held_out": one.held_out,
                "gates": one.verdict.as_dict(),
            }
            for half, one in adapted.items()
        },
    }


def write_model(
    adaptation: Adaptation,
    adapted: dict[int, AdaptedModel],
    digests: dict[int, torch.Tensor],
    summary: dict[str, Any],
) -> None:
    """Write the model and the summary; where nothing was taken, the model that came in."""
    plan, job = adaptation.plan, adaptation.job
    if not summary["adapted"]:
        with Outputs() as outputs:
            for path in list_model_files(find_model(plan.model)):
                shutil.copyfile(path, outputs.lend(plan.model_folder / path.name))
            write_json(outputs.lend(plan.output / "summary.json"), summary)
        return
    tensors: dict[str, torch.Tensor] = {}
    for half, one in adapted.items():
        tensors |= name_tensors(half, HalfNumbers(one.numbers, digests[half]))
    save_model(plan.model_folder, job.model, describe_model(job.card, summary, digests), tensors)
    with Outputs() as outputs:
        write_json(outputs.lend(plan.output / "summary.json"), summary)


def describe_model(
    card: ModelCard, summary: dict[str, Any], digests: dict[int, torch.Tensor]
) -> ModelCard:
    """Write the card of an adapted model: that of the model that came in, and what it was adapted to.

    The energy of denoised noise stays stated as it was: the gates let no model through that makes more of noise.
    """
    stated = (
        "particles",
        "star_sha256",
        "half_frames",
        "count",
        "halves_from",
        "seed",
        "minutes",
        "base",
    )
    halves = {
        half: known | {"images": len(digests[int(half)])}
        for half, known in summary["halves"].items()
    }
    name = Path(summary["particles"]).name
    return replace(
        card,
        name=f"{card.name} adapted to {name}",
        description=f"{card.description}; adapted to {name}, each half for itself",
        adapted={key: summary[key] for key in stated} | {"halves": halves},
    )
