"""Preparation of a run: the input is read once, its contrast and noise found, coloured noise whitened, sets formed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import torch
from torch import Tensor

from polardenoise.counts import choose_verb, word_count
from polardenoise.engine.classes.pixel_sample import PixelSample, take_pixel_sample
from polardenoise.engine.denoise.batches import IMAGES_PER_BATCH
from polardenoise.engine.denoise.contrast import (
    Contrast,
    ContrastEvidence,
    Contrasts,
    doubt_contrasts,
    word_contrasts,
)
from polardenoise.engine.denoise.noise.whitening import (
    Ctf,
    NoiseColour,
    NoiseColours,
    NoiseEvidence,
    whiten_scratch,
    word_noise,
)
from polardenoise.engine.denoise.plan import START_ANEW, Job
from polardenoise.engine.neighbours.clusters import form_clusters
from polardenoise.engine.neighbours.grouping import ImageSet, form_sets
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.particles.preprocessing import (
    SeePixels,
    pass_over,
    prepare_particles,
)
from polardenoise.engine.particles.scratch_file import ScratchImages
from polardenoise.engine.runtime.arrays import read_arrays, save_arrays
from polardenoise.engine.runtime.devices import choose_precision, name_precision
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import write_json
from polardenoise.engine.runtime.input_files import read_json
from polardenoise.engine.runtime.progress import Progress
from polardenoise.engine.runtime.row_numbers import say_how_rows_count
from polardenoise.engine.runtime.running_command import warn

WORKING = "working.f32"
READ = "read.npz"
SETS = "sets.npz"
COMPUTING = "computing.json"
SAMPLE = "pixel_sample.json"


@dataclass(frozen=True)
class Preparation:
    """What the network is run on.

    Attributes
    ----------
    scratch : ScratchImages
        The working images of all rows, protein bright, whitened where `colours` says so.
    units : Tensor
        `(n,)` the standard deviation of each image's noise, negative where protein is dark in the input.
    contrasts : Contrasts
        What was found in each half and its optics groups, whatever the user has said.
    colours : NoiseColours
        The noise of each half.
    hot : ndarray
        `(n,)` int64: pixels of each image that were replaced, being no pixels of an image.
    """

    scratch: ScratchImages
    units: Tensor
    contrasts: Contrasts
    colours: NoiseColours
    hot: np.ndarray

    def doubt(self, job: Job) -> list[str]:
        """Word what is wrong with the pixels of a set."""
        doubts = []
        if job.plan.tells_contrast:
            doubts += doubt_contrasts(self.contrasts, job.plan.contrast, job.optics[1])
        rows = np.flatnonzero(self.hot)
        if len(rows):
            first = job.particles.row_number(rows[0])
            doubts.append(
                f"{word_count(len(rows), 'image')} {choose_verb(len(rows), 'has', 'have')} pixels far beyond all "
                f"others of it ({'the first in ' if len(rows) > 1 else ''}row {first} of {job.particles.star_path}): "
                "what surrounds them was taken instead; remove the row or extract it again if that is not enough"
            )
        return [say_how_rows_count(doubt, of_rows_option=True) for doubt in doubts]


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


class ComputingFile(msgspec.Struct):
    """`Computing` as it is saved."""

    precision: Literal["bfloat16", "float32"]
    images_per_batch: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


def prepare_run(job: Job, folder: Path) -> None:
    """Read and check the pixels in row order and form the sets; what an earlier run has completed is not done again."""
    forget_what_is_gone(job, folder)
    if not (folder / COMPUTING).exists():
        computing = {
            "precision": name_precision(choose_precision(job.device, job.plan.precision)),
            "images_per_batch": choose_images_per_batch(job),
        }
        write_json(folder / COMPUTING, computing)
    if not (folder / READ).exists():
        read_input(job, folder)
    if not (folder / SAMPLE).exists():
        write_json(folder / SAMPLE, msgspec.structs.asdict(take_pixel_sample(job.particles)))
    with open_preparation(job, folder) as preparation:
        found, setting = preparation.contrasts, job.plan.contrast
        asked = "" if setting == "auto" else f"{setting}, as given; found: "
        if job.plan.tells_contrast:
            print(f"contrast: {asked}{word_contrasts(found, setting)}", flush=True)
        print(f"noise: {word_noise(preparation.colours)}", flush=True)
        for doubt in preparation.doubt(job):
            warn(doubt)
        if not (folder / SETS).exists():
            save_sets(folder / SETS, form_job_sets(job, preparation))


def settle_folds(job: Job, folder: Path) -> Job:
    """Leave halves whole whose noise is coloured and left so, which is known once the input has been read.

    Such is the noise of real particles. It has structure as well, which poses follow, and ring weights are learned as
    if it had none: what templates and views add is worse there than neighbours alone (docs/templates.rst).
    """
    with open_preparation(job, folder) as preparation:
        coloured = np.isin(job.halves, list(preparation.colours.list_left()))
    return replace(job, folds=np.where(coloured, 0, job.folds))


def forget_what_is_gone(job: Job, folder: Path) -> None:
    """Let the working images of an earlier run count only if they are there, and whole.

    What its journals say is done, `open_batches.list_open_batches` holds against the images themselves.
    """
    if not name_working_images(job, folder).holds(int(job.shared.first_row[-1])):
        (folder / READ).unlink(missing_ok=True)


def name_working_images(job: Job, folder: Path) -> ScratchImages:
    """Name the file of the working images, to be opened."""
    return ScratchImages(folder, len(job.particles), job.handling.box, WORKING)


def choose_images_per_batch(job: Job) -> int:
    """Choose how many images are computed at once; the clusters of neighbours are computed one by one."""
    if job.groups is None:
        return 1
    return job.plan.batch or IMAGES_PER_BATCH[job.device.type]


def read_computing(folder: Path) -> Computing:
    """Read how the network of a run is run."""
    saved = read_json(folder / COMPUTING, ComputingFile, START_ANEW)
    return Computing(getattr(torch, saved.precision), saved.images_per_batch)


def state_sample(folder: Path) -> dict[str, Any]:
    """State which pixels some images of the input had when it was read, for the provenance."""
    sample = read_json(folder / SAMPLE, PixelSample, START_ANEW)
    return msgspec.structs.asdict(sample)


def read_input(job: Job, folder: Path, see: SeePixels = pass_over) -> None:
    """Read the input into the working images, see the contrast of each half and optics group, and whiten the noise.

    `see` is shown the pixels as they were read, as by `prepare_particles`.
    """
    shared = job.shared
    evidence = ContrastEvidence(job.halves, job.optics[0])
    counted = shared.count_once(job.halves)
    told = job.card.knows_whitened_images
    noise = NoiseEvidence(job.halves, counted, job.handling.box, state_ctf(job), told)
    working = name_working_images(job, folder)
    with working as scratch, Progress("read and check", len(shared)) as progress:

        def notice(rows: np.ndarray, images: Tensor, ctf_rings: Tensor) -> None:
            new = counted[rows]
            if new.any():
                own = torch.from_numpy(new).to(images.device)
                evidence.add(rows[new], images[own], ctf_rings[own])
                noise.add(rows[new], images[own])
            progress.advance(len(rows))

        scratch.clear()
        background, hot = prepare_particles(
            job.particles, job.handling, scratch, job.device, notice, shared.first_row, see
        )
        colours = noise.judge()
        whiten_scratch(scratch, colours, shared.first_row, job.halves, job.device)
        scratch.write_through()
    contrasts = evidence.judge()
    found = [*contrasts.halves.values(), *contrasts.groups.values()]
    save_arrays(
        folder / READ,
        deviation=background.deviation.flatten().numpy(),
        hot=hot,
        # Half and group of each contrast; -1 is the half as a whole.
        parts=np.array([*((half, -1) for half in contrasts.halves), *contrasts.groups]),
        certainty=np.array([contrast.certainty for contrast in found]),
        sign=np.array([contrast.sign for contrast in found]),
        # In the order of the halves: what the working images have been whitened with.
        noise_halves=np.array(list(colours.of_halves)),
        noise_images=np.array([colour.images for colour in colours.of_halves.values()]),
        ring_power=np.stack([colour.ring_power.numpy() for colour in colours.of_halves.values()]),
    )


def state_ctf(job: Job) -> Ctf:
    """State whether the images have a CTF, as far as is known."""
    if job.handling.ctf_state != "none":
        return "known"
    return "none" if job.plan.ctf_state == "none" else "unknown"


@contextmanager
def open_preparation(job: Job, folder: Path) -> Iterator[Preparation]:
    """Open what `read_input` has left."""
    wanted = {
        "parts": ("i", 2),
        "sign": ("f", 1),
        "certainty": ("f", 1),
        "deviation": ("f", 1),
        "hot": ("i", 1),
        "noise_halves": ("i", 1),
        "noise_images": ("i", 1),
        "ring_power": ("f", 2),
    }
    saved = read_arrays(folder / READ, wanted, START_ANEW)
    deviation, hot = saved["deviation"], saved["hot"]
    lengths = {len(saved[name]) for name in ("parts", "sign", "certainty")}
    known = {len(deviation), len(hot)} == {len(job.particles)} and saved["parts"].shape[1] == 2
    if not known or len(lengths) != 1:
        raise InputError(f"{folder / READ}: is of other particles; {START_ANEW}")
    colours = load_colours(job, saved, folder / READ)
    found = {
        (int(half), int(group)): Contrast(float(sign), float(certainty))
        for (half, group), sign, certainty in zip(
            saved["parts"], saved["sign"], saved["certainty"], strict=True
        )
    }
    contrasts = Contrasts(
        {part[0]: contrast for part, contrast in found.items() if part[1] < 0},
        {part: contrast for part, contrast in found.items() if part[1] >= 0},
    )
    signs = np.full(len(job.particles), -1.0 if job.plan.contrast == "dark" else 1.0)
    if job.plan.contrast == "auto":
        signs = contrasts.choose_signs(job.halves, job.optics[0])
    units = torch.from_numpy(signs * deviation).float()
    working = name_working_images(job, folder)
    if not working.holds(int(job.shared.first_row[-1])):
        raise InputError(f"{folder / WORKING}: is cut short; {START_ANEW}")
    with working as scratch:
        scratch.set_signs(signs)
        yield Preparation(scratch, units, contrasts, colours, hot)


def load_colours(job: Job, saved: dict[str, np.ndarray], path: Path) -> NoiseColours:
    """Take the noise of each half from what `read_input` has saved."""
    halves, images, ring_power = (
        saved[name] for name in ("noise_halves", "noise_images", "ring_power")
    )
    shape = (len(np.unique(job.halves)), job.handling.box // 2)
    if (
        not np.array_equal(halves, np.unique(job.halves))
        or images.shape != shape[:1]
        or ring_power.shape != shape
        or not (ring_power > 0).all()
    ):
        raise InputError(f"{path}: is of other particles; {START_ANEW}")
    ctf, told = state_ctf(job), job.card.knows_whitened_images
    return NoiseColours(
        {
            half: NoiseColour(count, torch.from_numpy(own), ctf, told)
            for half, count, own in zip(halves.tolist(), images.tolist(), ring_power, strict=True)
        }
    )


def form_job_sets(job: Job, preparation: Preparation) -> list[ImageSet]:
    """Decide which images are denoised together: sets inside groups, or clusters in which neighbours are looked for.

    Parameters
    ----------
    job : Job
        Halves, groups, network.
    preparation : Preparation
        The working images of all rows, protein bright, and their noise.

    Returns
    -------
    list of ImageSet
        In which every image is kept exactly once; sets of equal size follow one another.
    """
    plan = job.plan
    if job.groups is not None:
        return form_sets(job.halves, job.groups, max(job.set_sizes.values()), plan.seed, job.shared)
    model, progress = as_joint(job.model), Progress("find related images", len(job.shared))
    with torch.inference_mode(), progress:
        return form_clusters(
            model,
            preparation.scratch,
            job.halves,
            plan.seed,
            job.device,
            progress.advance,
            job.shared,
            preparation.colours.list_left(),
        )


def save_sets(path: Path, sets: list[ImageSet]) -> None:
    """Save sets: a resumed run has the same."""
    save_arrays(
        path,
        rows=np.concatenate([one.rows for one in sets]),
        sizes=np.array([len(one.rows) for one in sets]),
        kept=np.array([one.kept for one in sets]),
    )


def load_sets(path: Path, own_rows: np.ndarray) -> list[ImageSet]:
    """Load what `save_sets` saved.

    Parameters
    ----------
    path : Path
        The file.
    own_rows : ndarray
        `(m,)` int64 the first row of each image: the rows that are written.

    Raises
    ------
    InputError
        If the file is damaged, or its sets are not those of these rows.
    """
    wanted = {"rows": ("i", 1), "sizes": ("i", 1), "kept": ("i", 1)}
    saved = read_arrays(path, wanted, START_ANEW)
    rows, sizes, kept = saved["rows"], saved["sizes"], saved["kept"]
    in_order = len(sizes) == len(kept) and sizes.sum() == len(rows) and (sizes >= kept).all()
    if not in_order or (kept < 1).any() or not np.isin(rows, own_rows).all():
        raise InputError(f"{path}: is of other particles; {START_ANEW}")
    parts = np.split(rows, np.cumsum(sizes)[:-1])
    sets = [ImageSet(*one) for one in zip(parts, kept.tolist(), strict=True)]
    written = np.concatenate([one.rows[: one.kept] for one in sets])
    if not np.array_equal(np.sort(written), np.sort(own_rows)):
        raise InputError(f"{path}: is of other particles; {START_ANEW}")
    return sets
