"""The last stage of a run among neighbours: the classes of both halves, and the files that show them."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.classes.half_classes import (
    PASSES,
    HalfClasses,
    LoadEstimates,
    class_half,
)
from polardenoise.engine.classes.joined_classes import JoinedClasses, join_halves
from polardenoise.engine.classes.proposal import Proposal
from polardenoise.engine.classes.relion_files import write_averages, write_data, write_model
from polardenoise.engine.denoise.batches import NumberedBatch, first_row_of
from polardenoise.engine.denoise.noise.whitening import NoiseColours
from polardenoise.engine.denoise.plan import (
    AVERAGES,
    CLASS_FILES,
    DATA,
    MODEL,
    Job,
    name_class_file,
)
from polardenoise.engine.denoise.preparation import Preparation
from polardenoise.engine.denoise.whole_halves.estimates import load_estimates, name_final_estimates
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.runtime.file_kinds import refuse_to_replace
from polardenoise.engine.runtime.file_list import find_marks
from polardenoise.engine.runtime.progress import Progress


def name_class_files(job: Job) -> dict[str, Path]:
    """Name the files of classes: from the names in the run's folder to the final paths."""
    return {f"classes{ending}": name_class_file(job.plan.output, ending) for ending in CLASS_FILES}


def find_former_class_files(job: Job) -> list[Path]:
    """Find the files of classes that an earlier run of the same output has left and this run does not replace.

    They are of this program, and no input of this run.
    """
    if job.writes_classes:
        return []
    read = job.files.mark_inputs().keys()
    return [
        path
        for ending, kind in CLASS_FILES.items()
        if is_ours(path := name_class_file(job.plan.output, ending), kind)
        and read.isdisjoint(find_marks(path))
    ]


def is_ours(path: Path, kind: str) -> bool:
    """Tell whether a file of this program is there, as `refuse_to_replace` tells it; an empty one is nobody's."""
    written = path.is_file() and path.stat().st_size > 0
    return written and refuse_to_replace(path, kind) is None


def find_job_classes(
    job: Job,
    folder: Path,
    preparation: Preparation,
    clusters: list[NumberedBatch],
    score: np.ndarray,
) -> JoinedClasses:
    """Find the classes of a run whose clusters have all been denoised.

    Parameters
    ----------
    job, folder
        The run and its folder.
    preparation : Preparation
        The raw images of all rows, protein bright, and how their noise was made white.
    clusters : list
        All clusters of the run.
    score : ndarray
        `(n,)` of each row.
    """
    found: dict[int, HalfClasses] = {}
    grid = as_joint(job.model).grid
    names = np.unique(job.halves[job.shared.first_row]).tolist()
    with torch.inference_mode(), Progress("classes", len(names), unit="halves") as progress:
        for half in names:
            own = [one for one in clusters if job.halves[first_row_of(one)] == half]
            with progress.watching(1, PASSES):
                classes = class_half(
                    [sets[0].rows for _, sets in own],
                    load_in_order(folder, [number for number, _ in own]),
                    preparation.scratch,
                    job.shared,
                    grid,
                    job.plan.class_count or None,
                    job.plan.seed,
                )
            found[half] = undo_whitening(classes, preparation.colours, half)
            progress.advance(1)
        return join_halves(found, score, job.shared, grid, job.working_pixel_size)


def undo_whitening(classes: HalfClasses, colours: NoiseColours, half: int) -> HalfClasses:
    """Give sums of images that were whitened for the network, and not told so, the strengths that they have without.

    Sums weigh images by their CTF rings, and so know of a whitening that the network is told of. The Wiener constants
    stay: signal and noise of a ring are multiplied by the same.
    """
    images = classes.sums.images  # (classes, 2, box, box)
    flat = images.flatten(0, 1)
    undone = colours.bring_back(flat, np.full(len(flat), half)).view_as(images)
    return replace(classes, sums=replace(classes.sums, images=undone))


def load_in_order(folder: Path, numbers: list[int]) -> LoadEstimates:
    """Load the denoised images of clusters of these numbers by their places in the list."""

    def load(place: int) -> tuple[Tensor, Tensor]:
        found = load_estimates(name_final_estimates(folder, numbers[place]))
        return found.estimates, found.displacements

    return load


def write_class_files(
    job: Job, folder: Path, classes: JoinedClasses, score: np.ndarray, proposal: Proposal | None
) -> None:
    """Write the files of classes into the folder of the run."""
    particles, box = job.particles, job.handling.box
    final = name_class_files(job)
    write_averages(folder / f"classes{AVERAGES}", particles, classes)
    halves = job.halves if job.drawn else None
    write_data(folder / f"classes{DATA}", particles, classes, score, halves, box)
    averages = final[f"classes{AVERAGES}"]
    write_model(folder / f"classes{MODEL}", averages, particles, classes, proposal, box)


def describe_classes(
    job: Job, classes: JoinedClasses, proposal: Proposal | None, why_not: str
) -> dict[str, Any]:
    """Describe the classes for the summary; files only where they are written, and why nothing is proposed."""
    files = name_class_files(job) if job.writes_classes else {}
    return {
        "shown": len(classes.shown_sizes),
        "of_halves": np.unique(classes.class_half, return_counts=True)[1].tolist(),
        "twins": int((classes.shown_correlation > 0).sum()),
        "files": [str(path) for path in files.values()],
        "proposed": None if proposal is None else asdict(proposal),
        "nothing_proposed": why_not,
    }
