"""Training on a pair of particle sets: noisy images and their truth, in the same order.

The images are prepared as `denoise` prepares them and wait in scratch files; every step draws sets of them at random,
inside a half, and inside a class half of the time. Some particles of each half are never drawn: the history's figure is
measured on those. Images that share pixels are never in one set; in crowded sets whole micrographs are held out.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polardenoise.counts import word_count
from polardenoise.engine.imaging.background import Background
from polardenoise.engine.neighbours.grouping import draw_halves
from polardenoise.engine.particles.half_sets import find_inseparable
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import ParticleSet, read_particles
from polardenoise.engine.particles.preprocessing import (
    Handling,
    compute_working_ctf,
    prepare_particles,
    resample,
)
from polardenoise.engine.particles.scratch_file import ScratchImages
from polardenoise.engine.particles.set_checks import (
    CTF_FREE_STATES,
    check_match,
    refuse_computed,
)
from polardenoise.engine.particles.shared_pixels import SharedPixels, find_shared_pixels
from polardenoise.engine.particles.token_numbers import number_tokens
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.progress import Progress
from polardenoise.engine.train.recipe import Recipe
from polardenoise.engine.train.simulated_sets import TrainingBatch, stack_sets

#: Share of each half that is held out.
HELD_OUT = 0.1
#: Particles that a half has at least: fewer hold nothing to learn and nothing to judge by.
FEWEST_IN_A_HALF = 10
#: Images read at once while the truth is prepared, bytes.
CHUNK_BYTES = 2**27


@dataclass(frozen=True)
class ParticlePair:
    """Noisy particles and their truth.

    Attributes
    ----------
    noisy, clean : ParticleSet
        The same particles in the same order; `clean` has no CTF.
    halves : ndarray
        `(n,)` the half of each particle.
    halves_drawn : bool
        Whether the halves were drawn, for want of `rlnRandomSubset`.
    classes : ndarray or None
        `(n,)` the class of each particle, from `rlnClassNumber`.
    shared : SharedPixels
        Which rows of the noisy set show one image, of which the first stands for all, and which share pixels.
    """

    noisy: ParticleSet
    clean: ParticleSet
    halves: np.ndarray
    halves_drawn: bool
    classes: np.ndarray | None
    shared: SharedPixels

    def __len__(self) -> int:
        """Count the particles."""
        return len(self.noisy)


@dataclass(frozen=True)
class PreparedPair:
    """A pair in the network's box, on disk.

    Attributes
    ----------
    pair : ParticlePair
        Where the images are from.
    handling : Handling
        How they were prepared.
    noisy, clean : ScratchImages
        Row by row: noisy images as `prepare_images` makes them, and the truth over the same deviation.
    """

    pair: ParticlePair
    handling: Handling
    noisy: ScratchImages
    clean: ScratchImages


def read_pair(noisy_star: Path, clean_star: Path, seed: int) -> ParticlePair:
    """Read a pair of sets and check all of it but the pixels.

    Parameters
    ----------
    noisy_star, clean_star : Path
        The two sets.
    seed : int
        Draws the halves where `noisy_star` has no `rlnRandomSubset`.

    Raises
    ------
    InputError
        If a set cannot be read, the two do not match, the truth has a CTF, the images have none any more or are
        denoised, or a half has too few particles.
    """
    noisy, clean = read_particles(noisy_star), read_particles(clean_star)
    check_match(noisy, clean)
    if clean.ctf_state not in CTF_FREE_STATES:
        raise InputError(
            f"--pairs {clean_star}: carries its CTF ({clean.ctf_state}); give a truth without, "
            "with no defocus columns"
        )
    if noisy.ctf_state == "corrected":
        raise InputError(
            f"--pairs {noisy_star}: holds CTF-corrected images; give the particles that they came from"
        )
    refuse_computed(noisy, "--pairs")
    drawn = noisy.random_subset is None
    if noisy.random_subset is None:
        image, units = find_inseparable(noisy)
        halves = draw_halves(units, seed)[image]
    else:
        halves = noisy.random_subset
    if not drawn and clean.random_subset is not None:
        other = np.flatnonzero(halves != clean.random_subset)
        if other.size:
            raise InputError(
                f"--pairs {clean_star}: row {other[0] + 1}: rlnRandomSubset is not that of {noisy_star}; "
                "give the same particles in the same order"
            )
    tokens = noisy.column("rlnClassNumber")
    classes = None if tokens is None else number_tokens(tokens)
    shared = find_shared_pixels(noisy, halves, classes)
    of_images = halves[shared.first_row]
    for half, count in zip(*np.unique(of_images, return_counts=True), strict=True):
        if count < FEWEST_IN_A_HALF:
            raise InputError(
                f"--pairs {noisy_star}: half {half} has {word_count(count, 'particle')}; give at least "
                f"{FEWEST_IN_A_HALF}"
            )
    return ParticlePair(noisy, clean, halves, drawn, classes, shared)


def prepare_pair(
    pair: ParticlePair, box: int, folder: Path, device: torch.device, resources: ExitStack
) -> PreparedPair:
    """Bring both sets to the network's box, into two scratch files.

    Parameters
    ----------
    pair : ParticlePair
        The sets.
    box : int
        The network's box in pixels.
    folder : Path
        Where the scratch files lie; they have no name there and vanish with the process.
    device : torch.device
        Where to compute.
    resources : ExitStack
        Closes the files.

    Raises
    ------
    InputError
        If an image is blank or has pixels that are not finite, or the truth is zero everywhere.
    """
    count = len(pair)
    handling = Handling(box, pair.noisy.ctf_state, False)
    noisy = resources.enter_context(ScratchImages(folder, count, box))
    clean = resources.enter_context(ScratchImages(folder, count, box))
    with Progress("read noisy", count) as progress:
        background, _ = prepare_particles(
            pair.noisy,
            handling,
            noisy,
            device,
            lambda rows, *_: progress.advance(len(rows)),
        )
    chunk = max(1, CHUNK_BYTES // (4 * pair.clean.box**2))
    power = 0.0
    with Progress("read clean", count) as progress:
        for start in range(0, count, chunk):
            rows = np.arange(start, min(start + chunk, count))
            images = torch.from_numpy(read_images(pair.clean, rows)).to(device)
            scale = Background(background.mean[rows], background.deviation[rows])
            truth = prepare_truth(images, scale, handling)
            power += float(truth.square().sum())
            clean.append(truth)
            progress.advance(len(rows))
    if power == 0:
        raise InputError(f"--pairs {pair.clean.star_path}: the truth is zero everywhere")
    return PreparedPair(pair, handling, noisy, clean)


def prepare_truth(images: Tensor, background: Background, handling: Handling) -> Tensor:
    """Bring the truth to the box and units of its noisy images.

    Parameters
    ----------
    images : Tensor
        `(m, N, N)` as read, without CTF.
    background : Background
        Of the noisy images, from `prepare_images`.
    handling : Handling
        As the noisy images were prepared.

    Returns
    -------
    Tensor
        `(m, box, box)` over the deviation of the noise. No mean is taken off: the truth's background is 0, and the
        network is to give nothing there.
    """
    return resample(images, handling.box) / background.deviation.to(images.device)


def hold_out(
    halves: np.ndarray, shared: SharedPixels, seed: int
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Divide the images of each half into those to train on and the last tenth of a random order.

    Parameters
    ----------
    halves : ndarray
        `(n,)` the half of each particle.
    shared : SharedPixels
        Where images share pixels, those of one fold follow one another in the order.
    seed : int
        Fixes the order.

    Returns
    -------
    training, held_out : dict
        From half to the rows of its images.
    """
    rows, images = shared.first_row, np.arange(len(shared))
    generator = np.random.default_rng([seed, 3])
    training, held_out = {}, {}
    for half in np.unique(halves):
        order = generator.permutation(images[halves[rows] == half])
        if shared.crowded[order].any():
            fold = shared.fold[order]
            order = order[np.argsort(generator.permutation(fold.max() + 1)[fold], kind="stable")]
        order = rows[order]
        kept = len(order) - max(1, round(HELD_OUT * len(order)))
        training[int(half)], held_out[int(half)] = order[:kept], order[kept:]
    return training, held_out


def draw_pair_batch(
    prepared: PreparedPair,
    members: dict[int, np.ndarray],
    recipe: Recipe,
    seed: int,
    step: int,
) -> TrainingBatch:
    """Draw the training sets of one step.

    Parameters
    ----------
    prepared : PreparedPair
        The images.
    members : dict
        From half to the rows that may be drawn.
    recipe : Recipe
        Images of a step and of a set; a half with fewer images gives smaller sets.
    seed, step : int
        Together they fix every draw.
    """
    generator = np.random.default_rng([seed, step])
    images = min(int(generator.choice(recipe.images_per_set)), *map(len, members.values()))
    return draw_pair_sets(
        prepared, members, max(1, recipe.images_per_step // images), images, generator
    )


def draw_pair_sets(
    prepared: PreparedPair,
    members: dict[int, np.ndarray],
    sets: int,
    images: int,
    generator: np.random.Generator,
) -> TrainingBatch:
    """Draw `sets` sets of `images` images, each from one half; other parameters as for `draw_pair_batch`."""
    halves = list(members)
    pair = prepared.pair
    drawn = []
    for _ in range(sets):
        half = halves[generator.integers(len(halves))]
        drawn.append(draw_rows(members[half], pair.classes, images, generator, pair.shared))
    size = min(map(len, drawn))  # crowded sets may have no more images that share nothing
    return stack_sets([read_set(prepared, rows[:size]) for rows in drawn])


def draw_rows(
    members: np.ndarray,
    classes: np.ndarray | None,
    images: int,
    generator: np.random.Generator,
    shared: SharedPixels,
) -> np.ndarray:
    """Draw the rows of one set.

    Parameters
    ----------
    members : ndarray
        Rows of one half, at least `images`.
    classes : ndarray or None
        `(n,)` the class of every particle.
    images : int
        How many rows, each once.
    generator : numpy.random.Generator
        Source of randomness.
    shared : SharedPixels
        Images that share pixels are not drawn together.

    Returns
    -------
    ndarray
        `(images,)`, fewer where no more go together. Half of the time, where there are classes, of one class (each as
        often as it has members), filled up with other members where the class has too few.
    """
    crowded = shared.crowded[shared.image_of_row[members]].any()
    if classes is None or generator.random() < 0.5:
        if not crowded:
            return generator.choice(members, images, replace=False)
        order = generator.permutation(members)
    else:
        same = classes[members] == classes[generator.choice(members)]
        order = generator.permutation(members[same])
        if not crowded:
            rows, others = order[:images], members[~same]
            return np.concatenate([rows, generator.choice(others, images - len(rows), False)])
        order = np.concatenate([order, generator.permutation(members[~same])])
    return shared.first_row[shared.fill_up([], shared.image_of_row[order].tolist(), images)]


def read_set(prepared: PreparedPair, rows: np.ndarray) -> TrainingBatch:
    """Read one set, `(images, box, box)`, with the |CTF| of each image."""
    handling, box = prepared.handling, prepared.handling.box
    abs_ctf = torch.ones(len(rows), box, box // 2 + 1)
    if handling.ctf_state != "none":
        particles = prepared.pair.noisy
        abs_ctf = compute_working_ctf(particles, rows, handling, torch.device("cpu")).abs()
    return TrainingBatch(prepared.noisy.read(rows), prepared.clean.read(rows), abs_ctf)
