"""Denoise a whole particle set: read -> group -> denoise -> write."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.background import Background
from polardenoise.engine.denoise_plan import DenoisePlan, Job, check_plan
from polardenoise.engine.errors import InputError
from polardenoise.engine.grouping import ImageSet, form_sets
from polardenoise.engine.outputs import Progress, provenance, write_json
from polardenoise.engine.particle_stacks import name_in_star
from polardenoise.engine.particles import (
    ParticleSet,
    read_checked,
    write_particles,
)
from polardenoise.engine.scratch_images import ScratchImages
from polardenoise.engine.stacks import StackWriter
from polardenoise.engine.working_images import prepare_particles, return_images

#: Images computed at once where `--batch` leaves it open: enough to fill the device, little enough for any.
IMAGES_PER_BATCH = {"cpu": 128, "cuda": 2048}


def denoise_particles(plan: DenoisePlan) -> dict[str, Any]:
    """Denoise the particles of a STAR file into another one, same rows, same order.

    Writes `OUT.star`, `OUT.mrcs` and the provenance `OUT.json`, which appear when they are complete.

    Returns
    -------
    dict
        The summary with its provenance, as `OUT.json` holds it: `--json OUT.json` loses nothing.

    Raises
    ------
    InputError
        If anything given cannot be used; all of it but the pixels is checked before the work starts, and the pixels
        before the network does.
    """
    job = check_plan(plan)
    sets = write_images(job)
    write_star(job, plan.output)
    facts = provenance(list(plan.command), seed=plan.seed, **summarise_run(plan, job, sets))
    write_json(plan.output.with_suffix(".json"), facts)
    return facts


def write_images(job: Job) -> list[ImageSet]:
    """Read and check the pixels in row order, form sets, denoise them and write each image to its row's place."""
    particles, handling = job.particles, job.handling
    count, pixel_size = len(particles), float(np.median(particles.pixel_size))
    with ExitStack() as open_files:
        scratch = open_files.enter_context(ScratchImages(job.stack.parent, count, handling.box))
        with Progress("read and check", count) as progress:
            background = prepare_particles(
                particles,
                handling,
                scratch,
                lambda rows: read_checked(particles, rows),
                job.device,
                progress.advance,
            )
        sets = form_job_sets(job, scratch)
        writer = open_files.enter_context(StackWriter(job.stack, count, particles.box, pixel_size))
        progress = open_files.enter_context(Progress("denoise", count))
        for rows, estimates in denoise_sets(job, scratch, sets):
            scale = Background(background.mean[rows], background.deviation[rows])
            images = return_images(estimates, scale, particles, rows, handling)
            refuse_bad_estimates(images, particles, rows)
            writer.write_rows(rows, images)
            progress.advance(len(rows))
    return sets


def form_job_sets(job: Job, scratch: ScratchImages) -> list[ImageSet]:
    """Decide which images are denoised together: at random inside groups, or neighbours found in the pixels.

    Parameters
    ----------
    job : Job
        Halves, groups, network.
    scratch : ScratchImages
        The working images of all rows.

    Returns
    -------
    list of ImageSet
        In which every row is kept exactly once; sets of equal size follow one another. `--matches` has been written.
    """
    plan = job.plan
    if job.groups is not None:
        return form_sets(job.halves, job.groups, plan.set_size, plan.seed)
    from polardenoise.engine.matches import write_matches
    from polardenoise.engine.neighbours import find_neighbours

    found = find_neighbours(
        job.model, scratch, job.halves, plan.set_size, plan.seed, job.device, Progress
    )
    if plan.matches is not None:
        write_matches(plan.matches, found.matches)
    return found.sets


def write_star(job: Job, output: Path) -> None:
    """Write the STAR file again: image names replaced, halves added if drawn, a corrected CTF stated."""
    path, particles = name_in_star(job.stack), job.particles
    names = [f"{number:06d}@{path}" for number in range(1, len(particles) + 1)]
    columns = {"rlnRandomSubset": [str(half) for half in job.halves]} if job.drawn else {}
    optics = {} if job.handling.keeps_ctf else state_corrected(particles)
    write_particles(particles, output, names, columns, optics)


def denoise_sets(
    job: Job, scratch: ScratchImages, sets: list[ImageSet]
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Run the network over all sets.

    Parameters
    ----------
    job : Job
        Network and particles.
    scratch : ScratchImages
        The working images.
    sets : list of ImageSet
        What is denoised together; so many of them at once as `--batch` allows, which never changes a result.

    Yields
    ------
    rows : ndarray
        `(m,)` rows that take their output from this batch.
    estimates : Tensor
        `(m, box, box)` on the CPU.
    """
    limit = job.plan.batch or IMAGES_PER_BATCH[job.device.type]
    for batch in gather_batches(sets, limit):
        rows = np.stack([one.rows for one in batch])  # (sets, K)
        images, profiles = scratch.read_with_profiles(rows.ravel())
        images, profiles = images.unflatten(0, rows.shape), profiles.unflatten(0, rows.shape)
        with torch.inference_mode():
            estimates = job.model(images.to(job.device), profiles.to(job.device)).cpu()
        kept = np.arange(rows.shape[1]) < np.array([one.kept for one in batch])[:, None]
        yield rows[kept], estimates[torch.from_numpy(kept)]


def gather_batches(sets: list[ImageSet], images_per_batch: int) -> Iterator[list[ImageSet]]:
    """Gather consecutive sets of equal size into batches of at most `images_per_batch` images, at least one set."""
    batch: list[ImageSet] = []
    for one in sets:
        size = len(one.rows)
        full = (len(batch) + 1) * size > images_per_batch
        if batch and (full or len(batch[0].rows) != size):
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def refuse_bad_estimates(images: Tensor, particles: ParticleSet, rows: np.ndarray) -> None:
    """Fail on NaN rather than write it: a shared or faulty GPU gives such results silently."""
    bad = ~images.flatten(1).isfinite().all(1)
    if bad.any():
        row = int(rows[int(bad.nonzero()[0, 0])]) + 1
        raise InputError(
            f"{particles.star_path}: row {row} came out of the network as NaN; run again, with --device cpu if it stays"
        )


def state_corrected(particles: ParticleSet) -> dict[str, list[str]]:
    """Say in the optics table (or in every row, without one) that the CTF has been corrected."""
    count = 1 if particles.optics is None else len(particles.optics)
    return {"polardenoiseCtfState": ["corrected"] * count}


def summarise_run(plan: DenoisePlan, job: Job, sets: list[ImageSet]) -> dict[str, Any]:
    """Gather what the summary, the provenance and downstream programs need to know."""
    particles, handling = job.particles, job.handling
    pixel_size = float(np.median(particles.pixel_size))
    return {
        "output": str(plan.output),
        "input": str(plan.particles.resolve()),
        "particles": len(particles),
        "model": job.card.name,
        "model_sha256": job.card.weights_sha256,
        "model_trained_on": job.card.description,
        "group_by": plan.group_by,
        "set_size": plan.set_size,
        "sets": len(sets),
        "smallest_set": min(len(one.rows) for one in sets),
        "halves": "ignored" if plan.ignore_halves else "drawn" if job.drawn else "rlnRandomSubset",
        "half_counts": [int((job.halves == half).sum()) for half in np.unique(job.halves)],
        "ctf_state": handling.ctf_state,
        "ctf_output": "kept" if handling.keeps_ctf else "corrected",
        "contrast": plan.contrast,
        "box": particles.box,
        "working_box": handling.box,
        "finest_detail_angstrom": 2 * pixel_size * max(particles.box / handling.box, 1.0),
    }
