"""What comes before the network: the input is read once, its contrast told, the sets formed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.denoise.batches import IMAGES_PER_BATCH
from polardenoise.engine.denoise.contrast import Contrast, ContrastEvidence, word_contrasts
from polardenoise.engine.denoise.plan import Job
from polardenoise.engine.neighbours.clusters import form_cells
from polardenoise.engine.neighbours.grouping import ImageSet, form_sets
from polardenoise.engine.networks.registry import PolarTransformer
from polardenoise.engine.particles.preprocessing import prepare_particles
from polardenoise.engine.particles.scratch_file import ScratchImages
from polardenoise.engine.runtime.arrays import read_arrays
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import replace_when_complete
from polardenoise.engine.runtime.progress import Progress

WORKING = "working.f32"
READ = "read.npz"
SETS = "sets.npz"
#: What to do where a file of the run's folder cannot be used.
START_ANEW = "leave --resume out to start anew"


@dataclass(frozen=True)
class Preparation:
    """What the network is run on.

    Attributes
    ----------
    scratch : ScratchImages
        The working images of all rows, protein bright.
    units : Tensor
        `(n,)` the standard deviation of each image's noise, negative where protein is dark in the input.
    contrasts : dict
        Half -> `Contrast`; empty where the user has said which it is.
    """

    scratch: ScratchImages
    units: Tensor
    contrasts: dict[int, Contrast]


def prepare_run(job: Job, folder: Path) -> None:
    """Read and check the pixels in row order and form the sets; what an earlier run has completed is not done again."""
    if not (folder / READ).exists():
        read_input(job, folder)
    with open_preparation(job, folder) as preparation:
        if preparation.contrasts:
            print(f"contrast: {word_contrasts(preparation.contrasts)}", flush=True)
        if not (folder / SETS).exists():
            sets = form_job_sets(job, preparation.scratch)
            save_sets(folder / SETS, sets, choose_images_per_batch(job))


def choose_images_per_batch(job: Job) -> int:
    """Choose how many images are computed at once; the cells of neighbours are computed one by one."""
    if job.groups is None:
        return 1
    return job.plan.batch or IMAGES_PER_BATCH[job.device.type]


def read_input(job: Job, folder: Path) -> None:
    """Read the input into the working images and see each half's contrast."""
    count = len(job.particles)
    evidence = ContrastEvidence(job.halves)
    working = ScratchImages(folder, count, job.handling.box, WORKING)
    with working as scratch, Progress("read and check", count) as progress:

        def notice(rows: np.ndarray, images: Tensor, profiles: Tensor) -> None:
            if job.plan.contrast == "auto":
                evidence.add(rows, images, profiles)
            progress.advance(len(rows))

        scratch.clear()
        background = prepare_particles(job.particles, job.handling, scratch, job.device, notice)
        scratch.write_through()
    contrasts = evidence.judge() if job.plan.contrast == "auto" else {}
    save_arrays(
        folder / READ,
        deviation=background.deviation.flatten().numpy(),
        halves=np.array(list(contrasts), dtype=np.int64),
        certainty=np.array([contrast.certainty for contrast in contrasts.values()]),
        sign=np.array([contrast.sign for contrast in contrasts.values()]),
    )


@contextmanager
def open_preparation(job: Job, folder: Path) -> Iterator[Preparation]:
    """Open what `read_input` has left."""
    wanted = {"halves": ("i", 1), "sign": ("f", 1), "certainty": ("f", 1), "deviation": ("f", 1)}
    saved = read_arrays(folder / READ, wanted, START_ANEW)
    deviation = saved["deviation"]
    lengths = {len(saved[name]) for name in ("halves", "sign", "certainty")}
    if len(deviation) != len(job.particles) or len(lengths) != 1:
        raise InputError(f"{folder / READ}: is of other particles; {START_ANEW}")
    contrasts = {
        int(half): Contrast(float(sign), float(certainty))
        for half, sign, certainty in zip(
            saved["halves"], saved["sign"], saved["certainty"], strict=True
        )
    }
    signs = np.full(len(job.particles), -1.0 if job.plan.contrast == "dark" else 1.0)
    for half, contrast in contrasts.items():
        signs[job.halves == half] = contrast.sign
    units = torch.from_numpy(signs * deviation).float()
    with ScratchImages(folder, len(job.particles), job.handling.box, WORKING) as scratch:
        if not scratch.is_whole():
            raise InputError(f"{folder / WORKING}: is cut short; {START_ANEW}")
        scratch.set_signs(signs)
        yield Preparation(scratch, units, contrasts)


def form_job_sets(job: Job, scratch: ScratchImages) -> list[ImageSet]:
    """Decide which images are denoised together: sets inside groups, or cells in which neighbours are looked for.

    Parameters
    ----------
    job : Job
        Halves, groups, network.
    scratch : ScratchImages
        The working images of all rows, protein bright.

    Returns
    -------
    list of ImageSet
        In which every row is kept exactly once; sets of equal size follow one another.
    """
    plan = job.plan
    if job.groups is not None:
        return form_sets(job.halves, job.groups, plan.set_size, plan.seed)
    assert isinstance(job.model, PolarTransformer)  # see `choose_groups`
    progress = Progress("find related images", len(job.particles))
    with torch.inference_mode(), progress:
        return form_cells(job.model, scratch, job.halves, plan.seed, job.device, progress.advance)


def save_sets(path: Path, sets: list[ImageSet], images_per_batch: int) -> None:
    """Save sets, and how many of their images are computed at once: a resumed run makes the same batches."""
    save_arrays(
        path,
        rows=np.concatenate([one.rows for one in sets]),
        sizes=np.array([len(one.rows) for one in sets]),
        kept=np.array([one.kept for one in sets]),
        images_per_batch=np.array(images_per_batch),
    )


def load_sets(path: Path, count: int) -> tuple[list[ImageSet], int]:
    """Load what `save_sets` saved.

    Raises
    ------
    InputError
        If the file is damaged, or its sets are not those of `count` particles.
    """
    wanted = {"rows": ("i", 1), "sizes": ("i", 1), "kept": ("i", 1), "images_per_batch": ("i", 0)}
    saved = read_arrays(path, wanted, START_ANEW)
    rows, sizes, kept = saved["rows"], saved["sizes"], saved["kept"]
    in_order = len(sizes) == len(kept) and sizes.sum() == len(rows) and (sizes >= kept).all()
    if not in_order or (kept < 1).any() or rows.min() < 0 or rows.max() >= count:
        raise InputError(f"{path}: is of other particles; {START_ANEW}")
    parts = np.split(rows, np.cumsum(sizes)[:-1])
    sets = [ImageSet(*one) for one in zip(parts, kept.tolist(), strict=True)]
    written = np.bincount(np.concatenate([one.rows[: one.kept] for one in sets]), minlength=count)
    if (written != 1).any():
        raise InputError(f"{path}: is of other particles; {START_ANEW}")
    return sets, max(int(saved["images_per_batch"]), 1)


def save_arrays(path: Path, **arrays: Any) -> None:
    """Save arrays as .npz, complete or not at all."""
    with replace_when_complete(path) as temporary:
        np.savez(temporary, **arrays)
