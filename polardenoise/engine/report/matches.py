"""The sections of a report that show matches: scores, classes, neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.counts import word_count
from polardenoise.engine.classes.joined_classes import JoinedClasses
from polardenoise.engine.denoise.finish import FinishedRun
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.denoise.residual import take_working
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.rotation import turn_images
from polardenoise.engine.imaging.rotational_matching import ROTATIONS
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.report.figures import plot_scores
from polardenoise.engine.report.html import (
    Section,
    make_grid,
    make_pair,
    make_picture,
    make_plot,
    stack_parts,
)
from polardenoise.engine.report.images import find_faint
from polardenoise.engine.runtime.row_numbers import HOW_ROWS_COUNT

#: Particles whose neighbours are shown, and neighbours of each.
WITH_NEIGHBOURS, NEIGHBOURS = 3, 6
#: Classes that are shown, the largest; twins are one.
MOST_CLASSES = 12

TWINS = (
    "Each beside its twin: the most similar class of the other half, turned onto it. One without says that it has "
    "none. Classes were made in each half by itself; what both show was found twice. That is consistency, not proof: "
    "one network denoised both."
)
NO_TWINS = "There is no other half to compare them with."
SCORE = (
    "product of four shares, each from 0 to 1: how much of what its nearest neighbours show is in the raw image, how "
    "much of it they have in common, how little but noise is left of the image without it, and how near to the centre "
    "the particle lies"
)


def show_scores(matches: dict[str, Any], classes: dict[str, Any]) -> Section:
    """Show how the scores are distributed, and which are proposed; `classes` are those of the summary."""
    score, proposed = matches["score"], classes["proposed"]
    least = None if proposed is None else proposed["min_score"]
    said = f"Nothing is proposed: {classes['nothing_proposed']}."
    if proposed is not None:
        said = (
            f"Proposed, and yours to change: the {word_count(proposed['particles'], 'particle')} of {least:g} and more "
            "(polardenoise select --proposed, or --min-score)."
        )
    return Section(
        "Scores",
        f"A score is the {SCORE}. Junk gathers at the low end. Median {np.median(score):.2f}; "
        f"{np.mean(score < 0.5):.1%} below 0.5. {said}",
        make_plot("scores", plot_scores(score, matches["half"], least), "histogram of the scores"),
    )


def show_classes(job: Job, classes: JoinedClasses) -> Section:
    """Show the largest classes of both halves, twins beside each other, in the order of their numbers in the output."""
    averages, size = classes.class_averages, classes.class_size
    half, twin = classes.class_half, classes.class_twin
    number = number_as_shown(classes)
    names = np.unique(half)
    every = list_classes(size, half, twin)
    chosen = every[:MOST_CLASSES]
    chosen = chosen[np.argsort(number[chosen], kind="stable")]
    twins = align_twins(averages, twin, chosen, job)
    cells = []
    for place in chosen:
        caption = f"class {number[place]}: {word_count(size[place], 'particle')}"
        if len(names) > 1 and place not in twins:
            caption += f", of half {half[place]}; no twin"
        pictures = [make_picture(f"class_{place + 1:04d}", averages[place], caption)]
        if place in twins:
            other = int(twin[place]) - 1
            caption = f"its twin: {word_count(size[other], 'particle')}"
            if number[other] != number[place]:  # alike, though not enough to be one class
                caption = f"its twin, class {number[other]}: {word_count(size[other], 'particle')}"
            pictures.append(make_picture(f"class_{place + 1:04d}_twin", twins[place], caption))
        cells.append(make_pair(pictures))
    counted = count_alone(every, half, twin) if len(names) > 1 else ""
    return Section(
        "Classes",
        f"{word_shown(len(chosen), len(every))}{counted}, numbered as in the output, the best first; averages of the "
        f"raw images without CTF. {TWINS if len(names) > 1 else NO_TWINS}",
        stack_parts(cells),
    )


def word_shown(shown: int, count: int) -> str:
    """Say how many of the classes are shown."""
    if shown < count:
        return f"The {shown} largest of {word_count(count, 'class')}"
    return word_count(count, "class")


def count_alone(every: np.ndarray, half: np.ndarray, twin: np.ndarray) -> str:
    """Word how many classes have a twin, and how many each half has alone; places from 0."""
    alone = half[every[twin[every] == 0]]
    said = [f"{int((alone == one).sum())} that only half {one} has" for one in np.unique(alone)]
    return f" ({', '.join([f'{len(every) - len(alone)} that both halves have', *said])})"


def number_as_shown(classes: JoinedClasses) -> np.ndarray:
    """Give the classes of the halves the numbers that they have in the output, `(classes,)`: twins share one."""
    number = np.zeros(len(classes.class_size), np.int64)
    number[classes.class_number - 1] = classes.shown_number
    return number


def show_neighbours(run: FinishedRun, matches: dict[str, Any], picked: np.ndarray) -> Section:
    """Show the neighbours of some particles, turned onto them."""
    lines = []
    job = run.job
    for row in picked[:WITH_NEIGHBOURS]:
        others = matches["neighbours"][row, :NEIGHBOURS]
        degrees = matches["in_plane_degrees"][row, :NEIGHBOURS][others >= 0]
        others = others[others >= 0]
        if len(others) == 0:
            continue
        order, inverse = np.unique(np.append(others, row), return_inverse=True)
        kinds = take_working(job, run.preparation, run.stack, order)
        number = job.particles.row_number(row)
        is_faint = bool(run.summary["faint"]) and find_faint(*kinds)[inverse[-1]]
        for kind, images in zip(("noisy", "denoised"), kinds, strict=True):
            own, theirs = images[inverse[-1]].numpy(), images[torch.from_numpy(inverse[:-1])]
            turned = turn_neighbours(theirs, degrees, job).numpy()
            name = f"neighbours_{number:06d}_{kind}"
            told = "taken for noise, faint" if is_faint and kind == "denoised" else kind
            panels = [
                make_picture(name, own, f"row {number}, {told}"),
                make_picture(f"{name}_mean", turned.mean(0), f"mean of its {len(others)} nearest"),
            ]
            for place, (other, angle, image) in enumerate(
                zip(others, degrees, turned, strict=True), start=1
            ):
                caption = f"row {job.particles.row_number(other)}, turned {angle:+.0f}°"
                panels.append(make_picture(f"{name}_{place}", image, caption))
            lines.append(make_grid(panels))
    return Section(
        "Neighbours",
        "The nearest images of the same half of the first particles above, turned onto them (degrees "
        "counter-clockwise), raw and denoised, in the network's box with phases flipped. They should show the same "
        "view. The mean of the raw ones owes nothing to the network but the choice and the angles. "
        f"{HOW_ROWS_COUNT}",
        stack_parts(lines),
        folded=True,
    )


def list_classes(size: np.ndarray, half: np.ndarray, twin: np.ndarray) -> np.ndarray:
    """List the classes of both halves, places from 0, the largest first; twins once, as that of the first half."""
    listed = np.flatnonzero((half == half.min()) | (twin == 0))
    both = size + np.where(twin > 0, size[twin - 1], 0)
    return listed[np.argsort(-both[listed], kind="stable")]


def align_twins(
    averages: np.ndarray, twin: np.ndarray, chosen: np.ndarray, job: Job
) -> dict[int, np.ndarray]:
    """Turn the twins of the chosen classes onto them; class place -> image `(box, box)`. Those without are left out."""
    grid = find_grid(job)
    degrees = torch.arange(ROTATIONS, device=job.device) * (360.0 / ROTATIONS)
    aligned = {}
    for place in chosen[twin[chosen] > 0]:
        own, other = (
            torch.from_numpy(averages[one]).to(job.device) for one in (place, int(twin[place]) - 1)
        )
        with torch.inference_mode():
            turned = turn_images(other.expand(ROTATIONS, -1, -1), degrees, grid)
        best = (turned * own).sum((1, 2)).argmax()
        aligned[int(place)] = turned[best].cpu().numpy()
    return aligned


def turn_neighbours(images: Tensor, degrees: np.ndarray, job: Job) -> Tensor:
    """Turn images `(k, box, box)` counter-clockwise by `(k,)` degrees."""
    turns = torch.from_numpy(degrees).to(job.device)
    with torch.inference_mode():
        return turn_images(images.to(job.device), turns, find_grid(job)).cpu()


def find_grid(job: Job) -> PolarGrid:
    """Give the polar grid of the network's box."""
    return as_joint(job.model).grid
