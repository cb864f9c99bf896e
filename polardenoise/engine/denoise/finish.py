"""What a finished run of `denoise` leaves beside the images: its STAR file, its provenance, its summary."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polardenoise.engine.classes.joined_classes import OF_MATCHES, JoinedClasses
from polardenoise.engine.classes.proposal import find_why_not, propose
from polardenoise.engine.classes.relion_files import word_scores
from polardenoise.engine.denoise.batches import gather_batches
from polardenoise.engine.denoise.class_stage import (
    describe_classes,
    find_former_class_files,
    find_job_classes,
    name_class_files,
    write_class_files,
)
from polardenoise.engine.denoise.contrast import state_contrast
from polardenoise.engine.denoise.noise.whitening import state_noise, word_noise
from polardenoise.engine.denoise.output_columns import Columns, rescaled_columns, state_columns
from polardenoise.engine.denoise.plan import Job, hash_facts
from polardenoise.engine.denoise.preparation import (
    SETS,
    Preparation,
    load_sets,
    open_preparation,
    read_computing,
    state_sample,
)
from polardenoise.engine.denoise.residual import AveragedImages, state_residual, take_averaged
from polardenoise.engine.denoise.resume_folder import publish
from polardenoise.engine.denoise.resume_stack import IMAGES, UnfinishedStack, read_journals
from polardenoise.engine.denoise.verdict import COUNTED, judge_run
from polardenoise.engine.denoise.whole_halves.template_file import state_templates
from polardenoise.engine.denoise.wording import list_warnings
from polardenoise.engine.neighbours.grouping import ImageSet
from polardenoise.engine.neighbours.matches import join_matches, list_matches_files
from polardenoise.engine.networks.checkpoint import hash_file
from polardenoise.engine.networks.registry import is_joint
from polardenoise.engine.particles.cryosparc.as_star import UID_LABEL
from polardenoise.engine.particles.cryosparc.column_names import name_column
from polardenoise.engine.particles.cryosparc.new_images import write_images_slot
from polardenoise.engine.particles.half_sets import count_overlaps
from polardenoise.engine.particles.image_names import name_in_star
from polardenoise.engine.particles.set_checks import list_pixel_sizes, most_common_pixel_size
from polardenoise.engine.particles.star_writing import write_particles
from polardenoise.engine.runtime.arrays import save_arrays
from polardenoise.engine.runtime.devices import name_precision, read_process_memory
from polardenoise.engine.runtime.files import write_json
from polardenoise.engine.runtime.provenance import provenance

STAR = "particles.star"
DATA_SET = "particles.cs"
PROVENANCE = "provenance.json"
MATCHES = "matches.npz"
REPORT = "report"
#: Endings of outputs that are tables.
TABLES = (".star", ".cs")


@dataclass(frozen=True)
class FinishedRun:
    """A run whose images are complete: what a report shows.

    Attributes
    ----------
    job, preparation
        Of the run.
    stack : Path
        The complete images of the output.
    averaged : AveragedImages
        Those whose residuals the summary compares.
    summary : dict
        What `OUT.json` says.
    matches : dict or None
        The arrays of `--matches`; None where images were not compared.
    classes : JoinedClasses or None
        Of the halves and, as the output numbers them, of both; None where images were not compared.
    """

    job: Job
    preparation: Preparation
    stack: Path
    averaged: AveragedImages
    summary: dict[str, Any]
    matches: dict[str, Any] | None
    classes: JoinedClasses | None


#: Writes the page of a report into a folder.
ReportWriter = Callable[[Path, FinishedRun], None]


def finish_run(
    job: Job,
    folder: Path,
    facts: dict[str, Any],
    seconds: Mapping[str, float],
    write_report: ReportWriter | None = None,
) -> None:
    """Complete the stack of a run, write its STAR file and provenance, and give all of them their names.

    `seconds` are those of the stages, of a run that went on those since it did; `write_report` is
    `report.page.write_report`, given where the plan asks for a report.
    """
    count = len(job.particles)
    sets, computing = load_sets(folder / SETS, job.shared.first_row), read_computing(folder)
    batches = list(enumerate(gather_batches(sets, job.halves, computing.images_per_batch)))
    with UnfinishedStack(folder, 0, count, job.box) as stack:
        stack.finish(job.pixel_size, len(batches), job.shared.shown_by(np.arange(count)))
    complete = read_journals(folder, len(batches)).values()
    counts = {name: sum(batch.counts.get(name, 0) for batch in complete) for name in COUNTED}
    precision = name_precision(computing.precision)
    run = hash_facts(facts)
    matches, classes, score = None, None, None
    with open_preparation(job, folder) as preparation:
        if job.keeps_matches:
            found = list_matches_files(folder, len(batches))
            matches = join_matches(found, job.halves, job.working_pixel_size, job.shared)
            score = find_median_score(matches, job.shared.first_row)
            classes = find_job_classes(job, folder, preparation, batches, matches["score"])
            matches |= {name: getattr(classes, name) for name in OF_MATCHES}
            matches["pixel_size"] = job.working_pixel_size
        summary = summarise_run(job, sets, preparation, counts, precision)
        summary["verdict"] = judge_run(job, summary, score)
        scores, described = {}, None
        if matches is not None and classes is not None:
            why_not = find_why_not(matches["score"], summary["verdict"])
            proposal = None if why_not else propose(matches["score"], classes.shown_number)
            described = describe_classes(job, classes, proposal, why_not)
            if job.writes_classes:
                write_class_files(job, folder, classes, matches["score"], proposal)
                scores = word_scores(classes, matches["score"])
        write_star(job, folder / STAR, scores)
        summary |= {
            "run": run,
            "made_with": facts,
            "pixel_sample": state_sample(folder),
            "median_score": score,
            "whole_halves": state_templates(job, folder),
            "seconds": {stage: round(spent, 1) for stage, spent in seconds.items()},
            "peak_memory_bytes": read_process_memory("VmHWM"),
            "classes": described,
        }
        averaged = take_averaged(job, preparation, folder / IMAGES)
        summary["residual"] = state_residual(averaged, job.halves)
        summary["warnings"] = list_warnings(summary)
        write_data_set(job, folder / DATA_SET, summary["contrast"] == "bright")
        summary["tables"] = hash_tables(job, folder)
        write_json(
            folder / PROVENANCE, provenance(list(job.plan.command), seed=job.plan.seed, **summary)
        )
        if matches is not None and job.plan.matches is not None:
            save_arrays(folder / MATCHES, **matches)
        if job.plan.report is not None and write_report is not None:
            finished = FinishedRun(
                job, preparation, folder / IMAGES, averaged, summary, matches, classes
            )
            write_report(folder / REPORT, finished)
    publish(folder, name_outputs(job), run, find_former_class_files(job))


def find_median_score(matches: Mapping[str, np.ndarray], images: np.ndarray) -> float | None:
    """Give the median score of images, by the rows that show them; None where none has a neighbour to agree with."""
    compared = images[(matches["neighbours"][images] >= 0).any(1)]
    return float(np.median(matches["score"][compared])) if len(compared) else None


def name_outputs(job: Job) -> dict[str, Path]:
    """Name what a run leaves: from its names in the run's folder to the final paths, in the order of the moves."""
    plan = job.plan
    names: dict[str, Path | None] = {
        IMAGES: job.stack,
        STAR: plan.output,
        DATA_SET: plan.data_set,
        MATCHES: plan.matches if job.keeps_matches else None,
        **(name_class_files(job) if job.writes_classes else {}),
        REPORT: plan.report,
        PROVENANCE: plan.output.with_suffix(".json"),
    }
    return {name: path for name, path in names.items() if path is not None}


def hash_tables(job: Job, folder: Path) -> dict[str, str]:
    """Hash the tables that a run has written into its folder, by their names there: people change such files."""
    names = [name for name, path in name_outputs(job).items() if path.suffix in TABLES]
    return {name: hash_file(folder / name) for name in names}


def write_star(job: Job, path: Path, scores: Columns) -> None:
    """Write the STAR file again: image names replaced, halves added if drawn, what has changed, and scores."""
    stack, particles = name_in_star(job.stack), job.particles
    names = [f"{number:06d}@{stack}" for number in range(1, len(particles) + 1)]
    columns, optics = state_columns(particles, job.handling)
    if job.drawn:
        columns["rlnRandomSubset"] = [str(half) for half in job.halves]
    if job.box != particles.box:
        rescaled, rescaled_optics = rescaled_columns(particles, job.box)
        columns, optics = columns | rescaled, optics | rescaled_optics
    what = "denoised images, estimates and not data"
    write_particles(particles, path, names, columns | scores, optics, what)


def write_data_set(job: Job, path: Path, bright: bool) -> None:
    """Write the .cs that joins the new images to a project of cryoSPARC, where they are of one."""
    particles = job.particles
    if particles.cryosparc is None:
        return
    uids = particles.column(UID_LABEL)
    assert uids is not None
    write_images_slot(
        path,
        particles.cryosparc,
        uids=np.array(uids, dtype=np.uint64),
        stack=job.stack,
        index=np.arange(len(particles)),
        box=job.box,
        bright=bright,
    )


def summarise_run(
    job: Job,
    sets: list[ImageSet],
    preparation: Preparation,
    counts: dict[str, int],
    precision: str,
) -> dict[str, Any]:
    """Gather what the summary, the provenance and downstream programs need to know."""
    plan, particles, handling, shared = job.plan, job.particles, job.handling, job.shared
    contrasts = preparation.contrasts
    names = [plan.contrast]
    if plan.contrast == "auto":
        signs = contrasts.choose_signs(job.halves, job.optics[0])
        names = [name for name, sign in (("bright", 1), ("dark", -1)) if (signs == sign).any()]
    overlapping, across = count_overlaps(shared, job.halves)
    growth = max(particles.box / handling.box, 1.0)
    column = name_column(particles.star_path, "rlnRandomSubset")
    sizes = list_pixel_sizes(particles)
    return {
        "doubts": [*job.warnings, *preparation.doubt(job)],
        "output": str(plan.output),
        "report": None if plan.report is None else str(plan.report),
        "input": str(plan.particles.resolve()),
        **{key: str(path.resolve()) for key, path in vars(plan.cryosparc).items() if path},
        "particles": len(particles),
        "images": len(shared),
        "overlapping": overlapping,
        "overlapping_across_halves": across,
        "overlaps_unchecked": shared.doubt,
        **counts,
        "noise_guard": bool(job.card.noise_energy),
        "images_with_hot_pixels": int((preparation.hot > 0).sum()),
        "first_row": particles.first_row,
        "model": job.card.name,
        "model_sha256": job.card.weights_sha256,
        "model_trained_on": job.card.description,
        "group_by": plan.group_by,
        "set_size": max(job.set_sizes.values()),
        "set_size_of_halves": {str(half): size for half, size in job.set_sizes.items()},
        "widest_set": max(job.widest_sets.values()),
        "adapted_to": job.card.adapted.get("particles"),
        "sets": len(sets),
        "smallest_set": min(len(one.rows) for one in sets),
        "largest_set": max(len(one.rows) for one in sets),
        "images_together": list_images_together(job, sets),
        "joint": is_joint(job.card.architecture),
        "searched": job.groups is None,
        "halves": "ignored" if plan.ignore_halves else "drawn" if job.drawn else column,
        "half_counts": [int((job.halves == half).sum()) for half in np.unique(job.halves)],
        "ctf_state": handling.ctf_state,
        "ctf_output": "kept" if handling.keeps_ctf else "corrected",
        "contrast": " and ".join(names),
        "contrast_of_halves": {
            half: state_contrast(found) for half, found in contrasts.halves.items()
        },
        "contrast_of_groups": {
            f"half {half}, optics group {job.optics[1][group]}": state_contrast(found)
            for (half, group), found in contrasts.groups.items()
        },
        "noise": word_noise(preparation.colours),
        "noise_of_halves": state_noise(preparation.colours),
        "precision": precision,
        "box": particles.box,
        "working_box": handling.box,
        "output_box": job.box,
        "output_pixel_size": job.pixel_size,
        "finest_detail_angstrom": 2 * most_common_pixel_size(particles) * growth,
        "pixel_sizes": [
            {
                "pixel_size": size,
                "particles": number,
                "output_pixel_size": size * particles.box / job.box,
                "finest_detail_angstrom": 2 * size * growth,
            }
            for size, number in sizes
        ],
    }


def list_images_together(job: Job, sets: list[ImageSet]) -> list[tuple[int, int]]:
    """List how many images one is denoised with at least and at most, itself among them; what sets share stands once.

    No more than may go together in its set: a small half, or group, has fewer than K, and those that share pixels never
    meet.
    """
    found = set()
    for one in sets:
        sizes = job.choose_set_size(one.rows), job.choose_widest_set(one.rows)
        together = job.shared.count_together(job.shared.image_of_row[one.rows], max(sizes))
        found.add((min(sizes[0], together), min(sizes[1], together)))
    return sorted(found)
