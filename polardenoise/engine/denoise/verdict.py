"""Sets that cannot be denoised honestly, and why: what stands first in the summary, the report and Scipion."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from polardenoise.counts import choose_verb, word_count
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.particles.particle_set import ParticleSet

#: What each batch counts among its images: raw ones, see `noise.guard`, and those that are no more than some dots.
COUNTED = ("faint", "dotted")
#: Share of the disk's pixels that the energy of an estimate fills at least. A long phantom that fills 0.7 of the box
#: has 0.04 to 0.11, at 0.35 of the box 0.011 to 0.028, at 0.2 of it 0.005 to 0.01; real apoferritin has 0.18 and more,
#: beta-galactosidase 0.04 and more.
LEAST_FILLED = 0.01
#: Share of the images from which on a verdict is given.
MANY = 0.5
#: Median score below which images do not agree with their neighbours: phantoms at SNR 0.02 have 0.97, at 0.005 0.66,
#: real apoferritin of one frame 0.43.
LOW_SCORE = 0.3
#: Columns of sets whose images are tilts or subtomograms, and what such columns begin with.
TILT_COLUMNS = ("rlnCoordinateZ", "rlnOriginZ", "rlnOriginZAngst", "rlnTiltIndex")
TILT_PREFIX = "rlnTomo"
#: The cosine of the tilt, as M writes it for the images of a tilt series; 1 for all particles elsewhere.
TILT_WEIGHTS = "rlnCtfScalefactor"


def find_dotted(estimates: Tensor) -> Tensor:
    """Find the estimates `(m, box, box)` whose energy lies in a few dots rather than in a particle: `(m,)` bool.

    The share of the disk that the energy fills is `(sum e^2)^2 / (pixels sum e^4)` (the participation ratio): 1 if
    it is spread evenly, a hundredth for five dots of a few pixels.
    """
    box = estimates.shape[-1]
    disk = disk_mask(box, box / 2 - 1, estimates.device)
    energy = (estimates * disk).square().flatten(1)
    fourth = energy.square().sum(1).clamp_min(torch.finfo(energy.dtype).tiny)
    filled = energy.sum(1).square() / (fourth * disk.sum())
    return filled < LEAST_FILLED


def find_tilt_columns(particles: ParticleSet) -> list[str]:
    """Name the columns by which a set shows that its images are tilts or subtomograms."""
    tables = [particles.table] if particles.optics is None else [particles.table, particles.optics]
    labels = [label for table in tables for label in table.labels]
    found = [label for label in labels if label in TILT_COLUMNS or label.startswith(TILT_PREFIX)]
    if (
        TILT_WEIGHTS in particles.table.labels
        and len(set(particles.table.column(TILT_WEIGHTS))) > 1
    ):
        found.append(TILT_WEIGHTS)
    return found


def judge_run(job: Job, summary: dict[str, Any], median_score: float | None) -> list[str]:
    """Say why the images of a run are not to be trusted.

    Parameters
    ----------
    job : Job
        The run.
    summary : dict
        Of `finish.summarise_run`.
    median_score : float or None
        Of its particles, where images were compared.

    Returns
    -------
    list of str
        Reasons, each for a line of its own; empty where there is none.
    """
    reasons = []
    count = summary["particles"]
    smallest = int(np.unique(job.halves[job.shared.first_row], return_counts=True)[1].min())
    if smallest < summary["set_size"]:
        reasons.append(
            f"a half has {word_count(smallest, 'image')}, fewer than are denoised together (K = {summary['set_size']})"
        )
    weak = find_weak_halves(summary)
    if weak:
        reasons.append(
            f"the contrast of half {' and '.join(map(str, weak))} is too weak to tell that there are particles"
        )
    if median_score is not None and median_score < LOW_SCORE:
        reasons.append(
            f"images do not agree with their neighbours (median score {median_score:.2f})"
        )
    tilts = find_tilt_columns(job.particles)
    if tilts:
        reasons.append(
            f"the set is one of tilts or subtomograms ({tilts[0]}), and networks were trained on untilted particles"
        )
    if summary["faint"] > MANY * count:
        reasons.append(
            f"{summary['faint']} of {word_count(count, 'image')} {choose_verb(summary['faint'], 'shows', 'show')} no "
            "more than pure noise would"
        )
    elif summary["dotted"] > MANY * (count - summary["faint"]):
        reasons.append(
            f"{summary['dotted']} of {word_count(count, 'estimate')} {choose_verb(summary['dotted'], 'is', 'are')} a "
            "few dots in an empty box: extract in a smaller one"
        )
    return reasons


def find_weak_halves(summary: dict[str, Any]) -> list[int]:
    """List the halves in which no contrast is clear, neither of all images nor of those of an optics group."""
    groups = summary["contrast_of_groups"]
    clear = {name.split(",")[0] for name, found in groups.items() if found["clear"]}
    halves = summary["contrast_of_halves"]
    return [
        half for half, found in halves.items() if not found["clear"] and f"half {half}" not in clear
    ]


class Told(msgspec.Struct):
    """What the summary tells of a run: a provenance that does not say it is not that of a complete run."""

    output: str
    particles: int
    model: str
    sets: int
    set_size: int
    widest_set: int
    group_by: str
    halves: str
    ctf_state: str
    ctf_output: str
    contrast: str
    noise: str
    noise_of_halves: dict[str, Any]
    finest_detail_angstrom: float
    pixel_sizes: list[dict[str, float]]
    images: int
    overlapping: int
    overlapping_across_halves: int
    overlaps_unchecked: str
    faint: int
    noise_guard: bool
    images_together: list[tuple[int, int]]
    joint: bool
    searched: bool
    whole_halves: dict[str, Any]
    warnings: list[str]
    verdict: list[str]
    run: str
    report: str | None = None
    residual: dict[str, Any] | None = None


def says_all(provenance: dict[str, Any]) -> bool:
    """Tell whether a provenance says all that the summary of a complete run tells."""
    try:
        msgspec.convert(provenance, Told)
    except msgspec.ValidationError:
        return False
    return True
