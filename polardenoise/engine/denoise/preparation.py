"""Preparation of a run: the input is read once, its contrast found, the sets formed."""

import json
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
from polardenoise.engine.neighbours.clusters import form_clusters
from polardenoise.engine.neighbours.grouping import ImageSet, form_sets
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.particles.preprocessing import prepare_particles
from polardenoise.engine.particles.scratch_file import ScratchImages
from polardenoise.engine.runtime.devices import choose_precision, name_precision
from polardenoise.engine.runtime.files import replace_when_complete, write_json
from polardenoise.engine.runtime.progress import Progress

WORKING = "working.f32"
READ = "read.npz"
SETS = "sets.npz"
COMPUTING = "computing.json"


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


@dataclass(frozen=True)
class Computing:
    """How the network is run. A resumed run keeps it, and so ends with the bytes of a run that was never stopped.

    Attributes
    ----------
    precision : torch.dtype
        Of the convolutions.
    images_per_batch : int
        Images computed at once.
    """

    precision: torch.dtype
    images_per_batch: int


def prepare_run(job: Job, folder: Path) -> None:
    """Read and check the pixels in row order and form the sets; what an earlier run has completed is not done again."""
    if not (folder / COMPUTING).exists():
        computing = {
            "precision": name_precision(choose_precision(job.device, job.plan.precision)),
            "images_per_batch": choose_images_per_batch(job),
        }
        write_json(folder / COMPUTING, computing)
    if not (folder / READ).exists():
        read_input(job, folder)
    with open_preparation(job, folder) as preparation:
        if preparation.contrasts:
            print(f"contrast: {word_contrasts(preparation.contrasts)}", flush=True)
        if not (folder / SETS).exists():
            save_sets(folder / SETS, form_job_sets(job, preparation.scratch))


def choose_images_per_batch(job: Job) -> int:
    """Choose how many images are computed at once; the clusters of neighbours are computed one by one."""
    if job.groups is None:
        return 1
    return job.plan.batch or IMAGES_PER_BATCH[job.device.type]


def read_computing(folder: Path) -> Computing:
    """Read how the network of a run is run."""
    saved = json.loads((folder / COMPUTING).read_text())
    return Computing(getattr(torch, saved["precision"]), saved["images_per_batch"])


def read_input(job: Job, folder: Path) -> None:
    """Read the input into the working images and see each half's contrast."""
    count = len(job.particles)
    evidence = ContrastEvidence(job.halves)
    working = ScratchImages(folder, count, job.handling.box, WORKING)
    with working as scratch, Progress("read and check", count) as progress:

        def notice(rows: np.ndarray, images: Tensor, ctf_rings: Tensor) -> None:
            if job.plan.contrast == "auto":
                evidence.add(rows, images, ctf_rings)
            progress.advance(len(rows))

        scratch.clear()
        background = prepare_particles(job.particles, job.handling, scratch, job.device, notice)
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
    with np.load(folder / READ) as saved:
        contrasts = {
            int(half): Contrast(float(sign), float(certainty))
            for half, sign, certainty in zip(
                saved["halves"], saved["sign"], saved["certainty"], strict=True
            )
        }
        deviation = saved["deviation"]
    signs = np.full(len(job.particles), -1.0 if job.plan.contrast == "dark" else 1.0)
    for half, contrast in contrasts.items():
        signs[job.halves == half] = contrast.sign
    units = torch.from_numpy(signs * deviation).float()
    with ScratchImages(folder, len(job.particles), job.handling.box, WORKING) as scratch:
        scratch.set_signs(signs)
        yield Preparation(scratch, units, contrasts)


def form_job_sets(job: Job, scratch: ScratchImages) -> list[ImageSet]:
    """Decide which images are denoised together: sets inside groups, or clusters in which neighbours are looked for.

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
    model, progress = as_joint(job.model), Progress("find related images", len(job.particles))
    with torch.inference_mode(), progress:
        return form_clusters(model, scratch, job.halves, plan.seed, job.device, progress.advance)


def save_sets(path: Path, sets: list[ImageSet]) -> None:
    """Save sets: a resumed run has the same."""
    save_arrays(
        path,
        rows=np.concatenate([one.rows for one in sets]),
        sizes=np.array([len(one.rows) for one in sets]),
        kept=np.array([one.kept for one in sets]),
    )


def load_sets(path: Path) -> list[ImageSet]:
    """Load what `save_sets` saved."""
    with np.load(path) as saved:
        rows = np.split(saved["rows"], np.cumsum(saved["sizes"])[:-1])
        return [ImageSet(*one) for one in zip(rows, saved["kept"].tolist(), strict=True)]


def save_arrays(path: Path, **arrays: Any) -> None:
    """Save arrays as .npz, complete or not at all."""
    with replace_when_complete(path) as temporary:
        np.savez(temporary, **arrays)
