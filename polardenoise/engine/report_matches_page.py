"""The sections of a report that show matches: scores, classes, neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from polardenoise.engine.denoise_plan import Job
from polardenoise.engine.html_page import Section, make_picture
from polardenoise.engine.preparation import Preparation
from polardenoise.engine.report_figures import plot_scores
from polardenoise.engine.report_images import take_working
from polardenoise.engine.report_matches import align_twins, choose_classes, turn_neighbours
from polardenoise.engine.report_pictures import Pictures

#: Particles whose neighbours are shown, and neighbours of each.
WITH_NEIGHBOURS, NEIGHBOURS = 3, 6

TWINS = (
    "Each beside its twin: the most similar class of the other half, turned onto it. Classes were made in each half by "
    "itself; what both show was found twice. That is consistency, not proof: one network denoised both."
)
NO_TWINS = "There is no other half to compare them with."


def show_scores(matches: dict[str, Any], pictures: Pictures) -> Section:
    """Show how the scores are distributed."""
    score = matches["score"]
    plot_scores(pictures.folder / "scores.png", score, matches["half"])
    return Section(
        "Scores",
        "How much of what its nearest neighbours show is in each raw image: 1 all of it, 0 nothing. Junk gathers at "
        f"the low end. Median {np.median(score):.2f}; {np.mean(score < 0.5):.1%} below 0.5.",
        make_picture("scores.png", "histogram of the scores"),
    )


def show_classes(job: Job, matches: dict[str, Any], pictures: Pictures) -> Section:
    """Show the largest classes, those of one half beside their twins of the other."""
    averages, size = matches["class_averages"], matches["class_size"]
    half, twin = matches["class_half"], matches["class_twin"]
    chosen = choose_classes(size, half)
    twins = align_twins(averages, twin, chosen, job)
    cells = []
    for place in chosen:
        caption = f"class {place + 1}, half {half[place]}\n{size[place]} particles"
        panels = pictures.add(f"class_{place + 1:04d}", averages[place], caption)
        if place in twins:
            other = int(twin[place]) - 1
            caption = f"twin {other + 1}, half {half[other]}\n{size[other]} particles"
            panels += pictures.add(f"class_{place + 1:04d}_twin", twins[place], caption)
        cells.append(f"<div style='display: inline-block; margin-right: 2em'>{panels}</div>")
    return Section(
        "Classes",
        f"The {len(chosen)} largest of {int((half == half[chosen[0]]).sum())} classes of half {half[chosen[0]]}, "
        f"without CTF. {TWINS if twins else NO_TWINS}",
        "\n".join(cells),
    )


def show_neighbours(
    job: Job,
    preparation: Preparation,
    stack: Path,
    matches: dict[str, Any],
    picked: np.ndarray,
    pictures: Pictures,
) -> Section:
    """Show the neighbours of some particles, turned onto them."""
    lines = []
    for row in picked[:WITH_NEIGHBOURS]:
        others = matches["neighbours"][row, :NEIGHBOURS]
        degrees = matches["in_plane_degrees"][row, :NEIGHBOURS][others >= 0]
        others = others[others >= 0]
        if len(others) == 0:
            continue
        order, inverse = np.unique(np.append(others, row), return_inverse=True)
        kinds = take_working(job, preparation, stack, order)
        number = job.particles.first_row + row + 1
        for kind, images in zip(("noisy", "denoised"), kinds, strict=True):
            own, theirs = images[inverse[-1]].numpy(), images[torch.from_numpy(inverse[:-1])]
            turned = turn_neighbours(theirs, degrees, job).numpy()
            name = f"neighbours_{number:06d}_{kind}"
            panels = [
                pictures.add(name, own, f"row {number}, {kind}"),
                pictures.add(f"{name}_mean", turned.mean(0), f"mean of its {len(others)} nearest"),
            ]
            for place, (other, angle, image) in enumerate(
                zip(others, degrees, turned, strict=True), start=1
            ):
                caption = f"row {job.particles.first_row + other + 1}\nturned {angle:+.0f}°"
                panels.append(pictures.add(f"{name}_{place}", image, caption))
            lines.append("<div>" + "".join(panels) + "</div>")
    return Section(
        "Neighbours",
        "The nearest images of the same half of the first particles above, turned onto them (degrees "
        "counter-clockwise), raw and denoised, in the network's box with phases flipped. They should show the same "
        "view. The mean of the raw ones owes nothing to the network but the choice and the angles.",
        "\n".join(lines),
    )
