"""Which batches of a run are still to be done, and how many images are kept of those that are."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from polardenoise.engine.denoise.batches import NumberedBatch, gather_batches
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.denoise.preparation import SETS, load_sets, read_computing
from polardenoise.engine.denoise.resume_stack import UnfinishedStack, read_journals
from polardenoise.engine.denoise.whole_halves.estimates import name_final_estimates
from polardenoise.engine.denoise.wording import word_kept
from polardenoise.engine.neighbours.matches import name_matches_file
from polardenoise.engine.runtime.arrays import holds_arrays
from polardenoise.engine.runtime.distributed import Processes
from polardenoise.engine.runtime.files import Kept


def has_matches(job: Job, folder: Path, number: int) -> bool:
    """Tell whether the matches of a cluster, and what classes are made of, are on the disk if they are asked for."""
    return not job.keeps_matches or (
        holds_arrays(name_matches_file(folder, number))
        and holds_arrays(name_final_estimates(folder, number))
    )


def list_open_batches(
    job: Job, folder: Path, processes: Processes
) -> tuple[list[NumberedBatch], int]:
    """List this process's share of the batches that are not complete, or not on the disk as the journal says.

    Returns
    -------
    list
        The batches, with their numbers.
    int
        Images of its share that are kept: those of the other batches.
    """
    complete, own, kept = read_journals(folder), [], 0
    with UnfinishedStack(folder, processes.rank, len(job.particles), job.box) as stack:
        for number, batch in enumerate_batches(job, folder):
            if number % processes.count != processes.rank:
                continue
            rows = np.concatenate([one.rows[: one.kept] for one in batch])
            is_there = number in complete and stack.holds(complete[number], rows)
            if is_there and has_matches(job, folder, number):
                kept += len(rows)
            else:
                own.append((number, batch))
    return own, kept


def enumerate_batches(job: Job, folder: Path) -> Iterator[NumberedBatch]:
    """List the batches of a run with their numbers."""
    sets, computing = load_sets(folder / SETS, job.shared.first_row), read_computing(folder)
    yield from enumerate(gather_batches(sets, job.halves, computing.images_per_batch))


def tell_kept_images(job: Job, folder: Path) -> Kept:
    """Say how many images of a run that was stopped `--resume` need not denoise again.

    Their pixels are not read for it, as they are when the run goes on: what a crash of the machine has lost of them is
    not known here.
    """
    complete = read_journals(folder)
    kept = sum(one.images for one in complete.values() if has_matches(job, folder, one.number))
    words = word_kept(kept, len(job.shared), together=job.groups is None)
    return Kept(words, is_any=kept > 0)
