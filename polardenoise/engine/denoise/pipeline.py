"""Denoise a whole particle set: read -> group -> denoise -> write."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.counts import word_count
from polardenoise.engine.denoise.batches import (
    BatchOfImages,
    BatchRunner,
    NumberedBatch,
    read_batch,
)
from polardenoise.engine.denoise.class_stage import find_former_class_files
from polardenoise.engine.denoise.cluster_runner import ClusterRunner
from polardenoise.engine.denoise.complete_result import NOTHING_DONE, is_complete
from polardenoise.engine.denoise.finish import ReportWriter, finish_run, name_outputs
from polardenoise.engine.denoise.noise.guard import fade_faint_images
from polardenoise.engine.denoise.open_batches import list_open_batches, tell_kept_images
from polardenoise.engine.denoise.options import DenoisePlan
from polardenoise.engine.denoise.plan import (
    Job,
    check_disk,
    check_plan,
    hash_facts,
    state_facts,
)
from polardenoise.engine.denoise.preparation import (
    Preparation,
    open_preparation,
    prepare_run,
    read_computing,
    settle_folds,
)
from polardenoise.engine.denoise.report_folder import check_report_folder
from polardenoise.engine.denoise.resume_folder import (
    discard_unfinished,
    finish_publishing,
    name_unfinished,
    unfinished_run,
    was_published,
)
from polardenoise.engine.denoise.resume_stack import UnfinishedStack
from polardenoise.engine.denoise.verdict import COUNTED, find_dotted
from polardenoise.engine.denoise.whole_halves.runner import WholeHalfRunner
from polardenoise.engine.denoise.whole_halves.sample import form_sample
from polardenoise.engine.denoise.whole_halves.template_making import make_templates
from polardenoise.engine.denoise.wording import word_taken_over
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.preprocessing import return_images
from polardenoise.engine.runtime.distributed import Processes
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.prefetch import reading_ahead, writing_behind
from polardenoise.engine.runtime.progress import Progress, timing_stages
from polardenoise.engine.runtime.provenance import read_provenance
from polardenoise.engine.runtime.running_command import warn

#: Values of the images that are brought back to their own box at once.
VALUES_AT_ONCE = 2**24


def denoise_particles(
    plan: DenoisePlan,
    processes: Processes = Processes(),  # noqa: B008
    write_report: ReportWriter | None = None,
) -> dict[str, Any]:
    """Denoise the particles of a STAR file into another one, same rows, same order.

    Writes `OUT.star`, `OUT.mrcs` and the provenance `OUT.json`, which appear when they are complete. Until then all is
    in a hidden folder beside them, which a killed or interrupted run leaves for `--resume`.

    Parameters
    ----------
    plan : DenoisePlan
        What is asked for.
    processes : Processes
        Those that share the work, of which this is one.
    write_report : callable, optional
        `report.page.write_report`, needed for a plan with a report.

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
    if plan.report is not None and write_report is None:
        raise ValueError("a plan with a report needs its writer")
    job = check_together(plan, processes)
    with processes.stage():
        facts = state_facts(job)
        complete = plan.resume and is_complete(job, facts)
        if complete and processes.is_first:
            discard_unfinished(plan.output, facts)
            print(f"{plan.output}: {NOTHING_DONE}", flush=True)
    if not complete:
        with timing_stages() as seconds, prepared_folder(job, facts, processes) as folder:
            if not was_published(folder, hash_facts(facts)):
                job = settle_folds(job, folder)
                make_templates_of_halves(job, folder, processes)
                with processes.stage():
                    write_images(job, folder, processes)
                with processes.stage():
                    if processes.is_first:
                        finish_run(job, folder, facts, seconds, write_report)
    with processes.stage():
        return read_provenance(plan.output)


def check_together(plan: DenoisePlan, processes: Processes) -> Job:
    """Check a plan on every process, on the first one first: what is wrong with it is told once."""
    with processes.stage():
        if processes.is_first:
            check_report_folder(plan)
            job = check_plan(plan, processes.local_rank)
            for warning in job.warnings:
                warn(warning)
    with processes.stage():
        return job if processes.is_first else check_plan(plan, processes.local_rank)


@contextmanager
def prepared_folder(job: Job, facts: dict[str, Any], processes: Processes) -> Iterator[Path]:
    """Open the folder of a run and prepare the run in it, or finish its publication; the first process does."""
    folder = name_unfinished(job.plan.output)
    with ExitStack() as held:
        with processes.stage():
            if processes.is_first:
                resume, tell_kept = job.plan.resume, partial(tell_kept_images, job, folder)
                held.enter_context(unfinished_run(job.plan.output, facts, resume, tell_kept))
                run, former = hash_facts(facts), find_former_class_files(job)
                if not finish_publishing(folder, name_outputs(job), run, former):
                    check_disk(job, folder)
                    prepare_run(job, folder)
        yield folder


def make_templates_of_halves(job: Job, folder: Path, processes: Processes) -> None:
    """Make the templates of large halves, which their images are seen through; where all are small, nothing."""
    if not (job.folds > 0).any():
        return
    with open_preparation(job, folder) as preparation:
        with processes.stage():
            if processes.is_first:
                form_sample(job, folder, preparation.scratch)
        runner = build_runner(job, folder, preparation)
        make_templates(job, runner, preparation.scratch, processes)


def build_runner(job: Job, folder: Path, preparation: Preparation) -> WholeHalfRunner:
    """Build what estimates the clusters of a run."""
    left = preparation.colours.list_left()
    return WholeHalfRunner(job, ClusterRunner(job, folder, read_computing(folder).precision, left))


def write_images(job: Job, folder: Path, processes: Processes) -> None:
    """Denoise this process's share of the batches and write each image to its row's place."""
    own, kept = list_open_batches(job, folder, processes)
    computing, count = read_computing(folder), sum(one.kept for _, batch in own for one in batch)
    stage = "denoise" if processes.count == 1 else f"denoise (1 of {processes.count} processes)"
    if job.plan.resume:
        print(f"{stage}: {word_taken_over(kept, kept + count)}", flush=True)
    with ExitStack() as opened:
        preparation = opened.enter_context(open_preparation(job, folder))
        runner = (
            build_runner(job, folder, preparation)
            if job.groups is None
            else BatchRunner(job, computing.precision)
        )
        stack = opened.enter_context(
            UnfinishedStack(folder, processes.rank, len(job.particles), job.box)
        )
        progress = opened.enter_context(Progress(stage, count))

        def read(batch: NumberedBatch) -> BatchOfImages:
            return read_batch(preparation.scratch, *batch)

        def write(
            number: int, rows: np.ndarray, images: list[Tensor], counts: dict[str, int]
        ) -> None:
            pixels = torch.cat([part.cpu() for part in images])
            refuse_bad_estimates(pixels, job.particles, rows)
            stack.write(number, rows, pixels.numpy(), counts)

        batches = opened.enter_context(reading_ahead(read, own))
        put = opened.enter_context(writing_behind(write, behind=1))
        for batch in batches:
            with progress.watching(len(batch.own_rows), runner.count_passes()):
                estimates = runner.run(batch)
            put(batch.number, batch.own_rows, *finish_estimates(job, preparation, batch, estimates))
            progress.advance(len(batch.own_rows))
            del batch, estimates  # not beside the next ones


def finish_estimates(
    job: Job, preparation: Preparation, batch: BatchOfImages, estimates: Tensor
) -> tuple[list[Tensor], dict[str, int]]:
    """Fade the estimates of a batch that show no more than noise would, and bring all back; count what is odd.

    Returns
    -------
    list of Tensor
        The images as they are written, `(k, N, N)` in all.
    dict
        Rows of each of `COUNTED`.
    """
    kept = torch.from_numpy(batch.kept)
    estimates, faint = fade_faint_images(
        estimates[kept.to(job.device)],
        batch.images[kept].to(job.device),
        batch.ctf_rings[kept].to(job.device),
        batch.kept.sum(1).tolist(),
        job.card.noise_energy,
    )
    dotted = find_dotted(estimates) & ~faint
    copies = torch.from_numpy(job.shared.copies[job.shared.image_of_row[batch.own_rows]])
    counts = {
        name: int(copies[found.cpu()].sum())
        for name, found in zip(COUNTED, (faint, dotted), strict=True)
    }
    return bring_back(job, preparation, batch, estimates), counts


def bring_back(
    job: Job, preparation: Preparation, batch: BatchOfImages, estimates: Tensor
) -> list[Tensor]:
    """Bring the estimates `(k, box, box)` of a batch to the units and the box of the output, some at a time."""
    at_once = max(1, VALUES_AT_ONCE // job.box**2)
    units = preparation.units[torch.from_numpy(batch.own_rows)].to(job.device)
    parts = zip(estimates.split(at_once), units.split(at_once), strict=True)
    places = range(0, len(estimates), at_once)
    return [
        return_images(
            preparation.colours.bring_back(
                part, job.halves[batch.own_rows[place : place + at_once]]
            ),
            part_units,
            job.particles,
            batch.own_rows[place : place + at_once],
            job.handling,
            job.box,
        )
        for place, (part, part_units) in zip(places, parts, strict=True)
    ]


def refuse_bad_estimates(images: Tensor, particles: ParticleSet, rows: np.ndarray) -> None:
    """Fail on NaN rather than write it: a shared or faulty GPU gives such results silently.

    What the images themselves can do to it has been refused before, see `image_checks`.
    """
    bad = ~images.flatten(1).isfinite().all(1).numpy()
    if bad.any():
        row = particles.row_number(rows[bad].min())
        count = word_count(int(bad.sum()), "image")
        raise InputError(
            f"{particles.star_path}: {count}, the first of row {row}, came out of the network as NaN;"
            " repeat the command with --resume, with --device cpu if it stays"
        )
