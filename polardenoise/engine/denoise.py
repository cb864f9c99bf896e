"""Denoise a whole particle set: read -> group -> denoise -> write."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.background import Background
from polardenoise.engine.checkpoint import ModelCard, load_model
from polardenoise.engine.devices import choose_device
from polardenoise.engine.errors import InputError
from polardenoise.engine.grouping import ImageSet, draw_halves, form_sets
from polardenoise.engine.models import Denoiser
from polardenoise.engine.outputs import Progress, provenance, write_json
from polardenoise.engine.particle_stacks import name_in_star
from polardenoise.engine.particles import (
    ParticleSet,
    read_images,
    read_particles,
    refuse_blank_images,
    write_particles,
)
from polardenoise.engine.stacks import StackWriter
from polardenoise.engine.working_images import (
    Handling,
    ScratchImages,
    compute_profiles,
    prepare_particles,
    return_images,
)

#: Images computed at once where `--batch` leaves it open: enough to fill the device, little enough for any.
IMAGES_PER_BATCH = {"cpu": 128, "cuda": 2048}


@dataclass(frozen=True)
class DenoisePlan:
    """What `polardenoise denoise` was asked for; see its options."""

    particles: Path
    output: Path
    model: str = "default"
    set_size: int = 64
    group_by: str = "random"
    ctf_output: str = "kept"
    ctf_state: str = "auto"
    contrast: str = "bright"
    ignore_halves: bool = False
    seed: int = 0
    device: str = "auto"
    batch: int | None = None
    command: tuple[str, ...] = ()


def denoise_particles(plan: DenoisePlan) -> dict[str, Any]:
    """Denoise the particles of a STAR file into another one, same rows, same order.

    Writes `OUT.star`, `OUT.mrcs` and the provenance `OUT.json`, which appear when they are complete.

    Returns
    -------
    dict
        The summary.

    Raises
    ------
    InputError
        If anything given cannot be used; all of it but the pixels is checked before the work starts, and the pixels
        before the network does.
    """
    stack, record = plan.output.with_suffix(".mrcs"), plan.output.with_suffix(".json")
    particles = read_particles(plan.particles)
    check_outputs(plan, particles, stack)
    device = choose_device(plan.device)
    model, card = load_model(plan.model)
    handling = choose_handling(plan, particles, card)
    halves, drawn = choose_halves(plan, particles)
    sets = form_sets(halves, choose_groups(plan.group_by, particles), plan.set_size, plan.seed)
    plan.output.parent.mkdir(parents=True, exist_ok=True)
    check_disk(plan.output.parent, particles, handling)
    with ScratchImages(plan.output.parent, len(particles), handling.box) as scratch:
        with Progress("read and check", len(particles)) as progress:
            background = prepare_particles(
                particles,
                handling,
                scratch,
                lambda rows: read_checked(particles, rows),
                device,
                progress.advance,
            )

        def profiles(rows: np.ndarray) -> Tensor:
            return compute_profiles(particles, rows, handling)

        with StackWriter(
            stack, len(particles), particles.box, float(np.median(particles.pixel_size))
        ) as writer, Progress("denoise", len(particles)) as progress:
            for rows, estimates in denoise_sets(
                model.to(device), sets, scratch, profiles, device, plan.batch
            ):
                scale = Background(background.mean[rows], background.deviation[rows])
                images = return_images(estimates, scale, particles, rows, handling)
                refuse_bad_estimates(images, particles, rows)
                writer.write_rows(rows, images)
                progress.advance(len(rows))
    path = name_in_star(stack)
    names = [f"{number:06d}@{path}" for number in range(1, len(particles) + 1)]
    new_columns = {"rlnRandomSubset": [str(half) for half in halves]} if drawn else {}
    optics = {} if handling.keeps_ctf else state_corrected(particles)
    write_particles(particles, plan.output, names, new_columns, optics)
    summary = summarise_run(plan, particles, card, handling, sets, halves, drawn)
    facts = provenance(list(plan.command), seed=plan.seed, **summary)
    write_json(record, facts)
    return summary


def denoise_sets(
    model: Denoiser,
    sets: list[ImageSet],
    scratch: ScratchImages,
    profiles: Callable[[np.ndarray], Tensor],
    device: torch.device,
    images_per_batch: int | None,
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Run the network over all sets.

    Parameters
    ----------
    model : Denoiser
        On the device, in inference mode.
    sets : list of ImageSet
        From `form_sets`.
    scratch : ScratchImages
        The working images.
    profiles : callable
        From rows `(m,)` to their CTF profiles `(m, box // 2)`.
    device : torch.device
        Where to compute.
    images_per_batch : int or None
        Images at once, at least one set; None chooses. It never changes a result.

    Yields
    ------
    rows : ndarray
        `(m,)` rows that take their output from this batch.
    estimates : Tensor
        `(m, box, box)` on the CPU.
    """
    limit = images_per_batch or IMAGES_PER_BATCH[device.type]
    for batch in gather_batches(sets, limit):
        rows = np.stack([one.rows for one in batch])  # (sets, K)
        images = scratch.read(rows.ravel()).unflatten(0, rows.shape)
        with torch.inference_mode():
            told = profiles(rows.ravel()).unflatten(0, rows.shape)
            estimates = model(images.to(device), told.to(device)).cpu()  # (sets, K, box, box)
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


def choose_handling(plan: DenoisePlan, particles: ParticleSet, card: ModelCard) -> Handling:
    """Decide what is done to the images from the set's state and the user's word."""
    state = particles.ctf_state if plan.ctf_state == "auto" else plan.ctf_state
    if state == "corrected":
        raise InputError(
            f"{plan.particles}: holds CTF-corrected images; denoise the particles that they came from"
        )
    if state != "none" and particles.ctf is None:
        raise InputError(
            f"--ctf-state {state}: {plan.particles} has no rlnDefocusU; add CTF columns or use --ctf-state none"
        )
    sign = -1.0 if plan.contrast == "dark" else 1.0
    return Handling(card.sizes["box"], state, plan.ctf_output == "kept", sign)


def choose_halves(plan: DenoisePlan, particles: ParticleSet) -> tuple[np.ndarray, bool]:
    """Give each row its half, and whether it was drawn (and is to be written)."""
    if plan.ignore_halves:
        return np.ones(len(particles), dtype=np.int64), False
    if particles.random_subset is not None:
        return particles.random_subset, False
    return draw_halves(len(particles), plan.seed), True


def choose_groups(group_by: str, particles: ParticleSet) -> np.ndarray:
    """Give each row its group: all one for "random", else the text of a column."""
    if group_by == "random":
        return np.zeros(len(particles), dtype=np.int64)
    if group_by == "neighbours":
        raise InputError("--group-by neighbours: is not available yet; use random or a column")
    tokens = particles.column(group_by.lstrip("_"))
    if tokens is None:
        raise InputError(
            f"--group-by {group_by}: {particles.star_path} has no such column; name one of its columns or random"
        )
    return np.array(tokens)


def check_outputs(plan: DenoisePlan, particles: ParticleSet, stack: Path) -> None:
    """Refuse an output that would replace the input."""
    if plan.output.suffix != ".star":
        raise InputError(f"-o {plan.output}: must end in .star; the images go beside it as .mrcs")
    inputs = {plan.particles.resolve(), *(header.path.resolve() for header in particles.headers)}
    for path in (plan.output, stack):
        if path.resolve() in inputs:
            raise InputError(
                f"-o {plan.output}: would replace the input {path}; choose another name"
            )


def check_disk(folder: Path, particles: ParticleSet, handling: Handling) -> None:
    """Refuse to start where the disk cannot hold the result and the working images."""
    needed = 4 * len(particles) * (particles.box**2 + handling.box**2)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free; make room or choose another -o"
        )


def read_checked(particles: ParticleSet, rows: np.ndarray) -> np.ndarray:
    """Read images and refuse pixels that are not finite and blank images, naming the row."""
    images = read_images(particles, rows)
    refuse_blank_images(particles, rows, images)
    return images


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


def summarise_run(
    plan: DenoisePlan,
    particles: ParticleSet,
    card: ModelCard,
    handling: Handling,
    sets: list[ImageSet],
    halves: np.ndarray,
    drawn: bool,
) -> dict[str, Any]:
    """Gather what the summary, the provenance and downstream programs need to know."""
    pixel_size = float(np.median(particles.pixel_size))
    sizes = [len(one.rows) for one in sets]
    return {
        "output": str(plan.output),
        "input": str(plan.particles.resolve()),
        "particles": len(particles),
        "model": card.name,
        "model_sha256": card.weights_sha256,
        "model_trained_on": card.description,
        "group_by": plan.group_by,
        "set_size": plan.set_size,
        "sets": len(sets),
        "smallest_set": min(sizes),
        "halves": "ignored" if plan.ignore_halves else "drawn" if drawn else "rlnRandomSubset",
        "half_counts": [int((halves == half).sum()) for half in np.unique(halves)],
        "ctf_state": handling.ctf_state,
        "ctf_output": "kept" if handling.keeps_ctf else "corrected",
        "contrast": plan.contrast,
        "box": particles.box,
        "working_box": handling.box,
        "finest_detail_angstrom": 2 * pixel_size * max(particles.box / handling.box, 1.0),
    }
