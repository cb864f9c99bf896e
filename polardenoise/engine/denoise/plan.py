"""What `denoise` is asked for, and all that can be checked before the work starts."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polardenoise import __version__
from polardenoise.engine.denoise.adapted_halves import (
    check_adapted_halves,
    choose_networks,
    choose_set_sizes,
    choose_widest_sets,
)
from polardenoise.engine.denoise.options import DenoisePlan
from polardenoise.engine.neighbours.folds import FOLDS, divide_into_folds
from polardenoise.engine.neighbours.grouping import draw_halves
from polardenoise.engine.neighbours.templates import MOST_TEMPLATES
from polardenoise.engine.networks.checkpoint import (
    ModelCard,
    find_model,
    hash_file,
    load_model_of_halves,
)
from polardenoise.engine.networks.denoiser import Denoiser
from polardenoise.engine.networks.registry import is_joint
from polardenoise.engine.particles.cryosparc.column_names import name_column
from polardenoise.engine.particles.half_sets import doubt_halves, doubt_lone_half, find_inseparable
from polardenoise.engine.particles.image_names import refuse_unquotable_stack
from polardenoise.engine.particles.mrc_header import StackHeader
from polardenoise.engine.particles.particle_set import ParticleSet, read_particles, select_rows
from polardenoise.engine.particles.preprocessing import Handling
from polardenoise.engine.particles.set_checks import (
    doubt_ctf,
    doubt_pixel_sizes,
    most_common_pixel_size,
    refuse_denoised,
)
from polardenoise.engine.particles.shared_pixels import SharedPixels, find_shared_pixels
from polardenoise.engine.particles.token_numbers import number_tokens
from polardenoise.engine.runtime.devices import choose_device
from polardenoise.engine.runtime.errors import InputError, UnclearCtfError
from polardenoise.engine.runtime.file_list import FileList, check_room, list_model_files
from polardenoise.engine.runtime.options import state_options
from polardenoise.engine.runtime.row_numbers import say_how_rows_count

#: The fact that a resumed run may leave out: what was kept for pictures and matches is then not needed.
KEEPS_MATCHES = "--matches or --report"
#: Bytes of each value of a template: its estimate, the template and a view, in half precision.
TEMPLATE_BYTES = 6
#: What to do where a file that an earlier run has left cannot be used.
START_ANEW = "leave --resume out to start anew"
#: What follows the name of the output in those of the files of classes, and their kinds.
DATA, AVERAGES, MODEL = "_2d_data.star", "_2d_classes.mrcs", "_2d_model.star"
CLASS_FILES = {AVERAGES: "mrc", DATA: "star", MODEL: "star"}
#: Bytes that a report takes, and a row of the file of matches.
REPORT_BYTES, MATCHES_BYTES = 4_000_000, 600


@dataclass(frozen=True)
class Job:
    """A plan that has been checked: everything but the pixels is known to be usable.

    Attributes
    ----------
    plan : DenoisePlan
        What was asked for.
    particles : ParticleSet
        The input.
    model, card : Denoiser, ModelCard
        The network on its device, and what it is.
    networks : dict
        From each half to the network that denoises it: `model`, or that adapted to the half.
    set_sizes, widest_sets : dict
        From each half to K, the images that are denoised together, and to the most that it may be for an image.
    device : torch.device
        Where to compute.
    handling : Handling
        How images are brought to the network and back.
    halves : ndarray
        `(n,)` half of each row; `drawn` says whether they were drawn here and are to be written.
    groups : ndarray or None
        `(n,)` group of each row: sets are drawn inside them. None where neighbours are to be found.
    shared : SharedPixels
        Which rows show one image, and which images share pixels. The first row of each image is computed.
    folds : ndarray
        `(n,)` fold of each row in its half, from 1; 0 where images are denoised by their neighbours alone.
    optics : tuple
        `(n,)` optics group of each row, from 0, and their names.
    warnings : tuple of str
        What the set, or the user, says that contradicts itself.
    box : int
        Of the images to write, pixels.
    pixel_size : float
        Of the images to write, Angstrom.
    stack : Path
        The images to write.
    files : FileList
        All that is read and written.
    """

    plan: DenoisePlan
    particles: ParticleSet
    model: Denoiser
    card: ModelCard
    networks: dict[int, Denoiser]
    set_sizes: dict[int, int]
    widest_sets: dict[int, int]
    device: torch.device
    handling: Handling
    halves: np.ndarray
    drawn: bool
    groups: np.ndarray | None
    shared: SharedPixels
    folds: np.ndarray
    optics: tuple[np.ndarray, list[str]]
    warnings: tuple[str, ...]
    box: int
    pixel_size: float
    stack: Path
    files: FileList

    @property
    def working_pixel_size(self) -> float:
        """Pixel size of the network's box, Angstrom."""
        return most_common_pixel_size(self.particles) * self.particles.box / self.handling.box

    def choose_set_size(self, rows: np.ndarray) -> int:
        """Choose K for rows of one half."""
        return self.set_sizes[int(self.halves[rows[0]])]

    def choose_widest_set(self, rows: np.ndarray) -> int:
        """Choose the most that K may be for an image among rows of one half."""
        return self.widest_sets[int(self.halves[rows[0]])]

    def choose_network(self, rows: np.ndarray) -> Denoiser:
        """Choose the network that denoises rows of one half."""
        return self.networks[int(self.halves[rows[0]])]

    @property
    def keeps_matches(self) -> bool:
        """Whether matches are asked for, shown in a report, or needed for classes."""
        asked = self.plan.matches is not None or self.plan.report is not None
        return (asked and self.groups is None) or self.writes_classes

    @property
    def writes_classes(self) -> bool:
        """Whether scores and classes are written: images are compared, and nobody has said otherwise."""
        return self.groups is None and self.plan.class_count != 0


def check_plan(plan: DenoisePlan, process: int = 0) -> Job:
    """Read and check everything that the plan names but the pixels; errors as `pipeline.denoise_particles`.

    Of several processes on a machine, `process` (from 0) is this one.
    """
    if plan.output.suffix != ".star":
        raise InputError(f"-o {plan.output}: must end in .star; the images go beside it as .mrcs")
    stack = plan.output.with_suffix(".mrcs")
    try:
        whole = read_particles(plan.particles, plan.ctf_state, plan.pixel_size, plan.cryosparc)
    except UnclearCtfError as error:
        raise InputError(f"{error}, or say what they are with --ctf-state") from error
    refuse_denoised(whole)
    # Halves are drawn for the whole file, so that runs on parts of it agree.
    halves, drawn = choose_halves(plan, whole)
    particles = select_rows(whole, plan.rows)
    halves = halves[plan.rows]
    device = choose_device(plan.device, process)
    model, card, known = load_model_of_halves(plan.model)
    files = check_outputs(plan, card, whole, stack)
    handling = choose_handling(plan, particles, card)
    groups = choose_groups(plan.group_by, particles, card)
    if plan.matches is not None and groups is not None:
        raise InputError(
            f"--matches: {card.name} is a {card.architecture}, which compares no images; use a polar transformer"
        )
    if plan.class_count and groups is not None:
        raise InputError(
            f"--class-count {plan.class_count}: classes are of images that are compared with one another; use a polar "
            "transformer with --group-by neighbours, or leave it out"
        )
    adapted = check_adapted_halves(
        plan.model, card, known, particles, halves, ignored=plan.ignore_halves
    )
    set_sizes = choose_set_sizes(plan.set_size, card, halves, searched=groups is None)
    shared = find_shared_pixels(particles, halves, groups, handling.ctf_state != "none")
    box = handling.box if plan.output_box == "working" else particles.box
    pixel_size = most_common_pixel_size(particles) * particles.box / box
    return Job(
        plan=plan,
        particles=particles,
        model=model.to(device),
        card=card,
        set_sizes=set_sizes,
        widest_sets=choose_widest_sets(plan.set_size, card, set_sizes, searched=groups is None),
        networks=choose_networks(model.to(device), known, halves),
        device=device,
        handling=handling,
        halves=halves,
        drawn=drawn,
        groups=groups,
        shared=shared,
        folds=choose_folds(halves, groups, shared, plan.seed),
        optics=particles.number_optics_groups(),
        warnings=tuple(
            say_how_rows_count(doubt, of_rows_option=True)
            for doubt in (
                *doubt_set(particles, halves, None if plan.ignore_halves else drawn),
                *doubt_company(shared, halves, max(set_sizes.values())),
                *adapted,
            )
        ),
        box=box,
        pixel_size=pixel_size,
        stack=stack,
        files=files,
    )


def choose_handling(plan: DenoisePlan, particles: ParticleSet, card: ModelCard) -> Handling:
    """Decide what is done to the images from the set's state and the user's word."""
    state = particles.ctf_state
    if state == "corrected":
        raise InputError(
            f"{plan.particles}: holds CTF-corrected images; denoise the particles that they came from"
        )
    if state != "none" and particles.ctf is None:
        column = name_column(plan.particles, "rlnDefocusU")
        raise InputError(
            f"--ctf-state {state}: {plan.particles} has no {column}; add CTF columns or use --ctf-state none"
        )
    return Handling(card.sizes["box"], state, plan.ctf_output == "kept")


def choose_halves(plan: DenoisePlan, particles: ParticleSet) -> tuple[np.ndarray, bool]:
    """Give each row its half, and whether it was drawn (and is to be written)."""
    if plan.ignore_halves:
        return np.ones(len(particles), dtype=np.int64), False
    if particles.random_subset is not None:
        return particles.random_subset, False
    image, units = find_inseparable(particles)
    return draw_halves(units, plan.seed)[image], True


def doubt_set(particles: ParticleSet, halves: np.ndarray, drawn: bool | None) -> list[str]:
    """Word what is wrong with a set that can be denoised all the same; `drawn` None where halves are ignored."""
    given = drawn is not None and not drawn
    doubts = [*doubt_halves(particles, halves), *doubt_lone_half(halves)] if given else []
    if drawn and len(particles) > 1 and len(np.unique(halves)) == 1:
        doubts.append(
            "all rows show one image or one filament, which no half can have without the other: all are in half 1"
        )
    return doubts + doubt_ctf(particles) + doubt_pixel_sizes(particles)


def doubt_company(shared: SharedPixels, halves: np.ndarray, images_per_set: int) -> list[str]:
    """Word in which halves `(n,)` images share pixels so widely that few go together."""
    doubts = []
    of_images = halves[shared.first_row]
    for half in np.unique(of_images):
        images = np.flatnonzero(of_images == half)
        most = min(images_per_set, len(images))
        together = shared.count_together(images, most)
        if together < most:
            doubts.append(
                f"images of half {half} share pixels so widely that only {together} or so go together (of {most}): "
                "there is little to denoise them by; give more micrographs"
            )
    return doubts


def choose_groups(group_by: str, particles: ParticleSet, card: ModelCard) -> np.ndarray | None:
    """Give each row its group: all one for "random", else by a column; None where neighbours are looked for.

    Networks that see one image at a time have no use for neighbours: for them any grouping is as good as another.
    """
    if compares_images(group_by, card):
        return None
    if group_by in ("neighbours", "random"):
        return np.zeros(len(particles), dtype=np.int64)
    tokens = particles.column(group_by.lstrip("_"))
    if tokens is None:
        raise InputError(
            f"--group-by {group_by}: {particles.star_path} has no such column; name one of its columns or random"
        )
    return number_tokens(tokens)


def compares_images(group_by: str, card: ModelCard) -> bool:
    """Tell whether images are compared with one another to find their neighbours."""
    return group_by == "neighbours" and is_joint(card.architecture)


def choose_folds(
    halves: np.ndarray, groups: np.ndarray | None, shared: SharedPixels, seed: int
) -> np.ndarray:
    """Give each row its fold; 0 for all where images are grouped by what the user has said."""
    if groups is not None:
        return np.zeros(len(halves), dtype=np.int64)
    return divide_into_folds(halves, shared, seed)


def name_class_file(output: Path, ending: str) -> Path:
    """Name a file of classes beside the output, by one of the endings of `CLASS_FILES`."""
    return output.with_name(f"{output.stem}{ending}")


def check_outputs(
    plan: DenoisePlan, card: ModelCard, particles: ParticleSet, stack: Path
) -> FileList:
    """List all that is read and written; refuse outputs that would replace what is not theirs, or have no place."""
    if plan.matches is not None and plan.matches.suffix != ".npz":
        raise InputError(f"--matches {plan.matches}: must end in .npz")
    refuse_unquotable_stack("-o", stack)
    files = FileList([*plan.files.inputs], [*plan.files.outputs])
    files.read("PARTICLES.star", *particles.inputs)
    files.read("--model", *list_model_files(find_model(plan.model)))
    count = len(particles)
    files.write("-o", plan.output, "star", size=sum(map(len, particles.document.lines)))
    files.write("-o", stack, "mrc")
    files.write("-o", plan.output.with_suffix(".json"), "summary", content="summary")
    files.write("-o", plan.data_set, "records")
    files.write("--matches", plan.matches, "matches", size=MATCHES_BYTES * count)
    files.write("--report", plan.report, "folder", size=REPORT_BYTES)
    if compares_images(plan.group_by, card) and plan.class_count != 0:
        for ending, kind in CLASS_FILES.items():
            files.write("-o", name_class_file(plan.output, ending), kind)
    files.check()
    return files


def check_disk(job: Job, folder: Path) -> None:
    """Refuse to start where the disks cannot be written or cannot hold the result and the working images.

    What the folder of a run that goes on holds already is not needed again.
    """
    job.files.probe()
    box = job.handling.box
    needed = 4 * len(job.particles) * (job.box**2 + box**2 + box // 2)
    parts = len(np.unique(job.halves[job.folds > 0])) * FOLDS
    needed += TEMPLATE_BYTES * parts * MOST_TEMPLATES * box**2
    if job.keeps_matches:
        needed += 2 * len(job.particles) * box**2  # the estimates that classes are made of
    taken = sum(512 * path.lstat().st_blocks for path in folder.iterdir())
    check_room(folder, needed - taken)


def state_facts(job: Job) -> dict[str, Any]:
    """State all that the result depends on, by the names that a message can give it."""
    return {
        "version": __version__,
        "input": [
            *map(hash_file, job.particles.files),
            *map(state_stack, job.particles.headers),
        ],
        **state_options(job.plan),
        "--model": {"name": job.card.name, "sha256": job.card.weights_sha256},
        "--device": job.device.type,
        KEEPS_MATCHES: job.keeps_matches,
    }


def hash_facts(facts: dict[str, Any]) -> str:
    """Put the facts of a run into one word."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def state_stack(header: StackHeader) -> list[Any]:
    """Tell a stack from another of the same name, without reading it; a project may be moved as a whole."""
    size, changed, *_ = header.state
    return [header.path.name, size, changed]
