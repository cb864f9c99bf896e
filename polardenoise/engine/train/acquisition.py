"""Simulated training images like those of a particle set: its field of view, its pixel sizes, its CTFs.

A molecule has its true size in the box, as in the set brought to the network's box (`denoise` crops or pads its
transforms: the field of view stays, the pixel size becomes `pixel size * box / working box`), and every image has the
pixel size and the CTF of a particle drawn at random. Views, SNR, blur, shifts and noise are the recipe's.
"""

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from polardenoise.counts import word_count
from polardenoise.engine.particles.mrc import read_volume
from polardenoise.engine.particles.particle_set import ParticleSet, read_particles
from polardenoise.engine.particles.preprocessing import Handling, compute_working_ctf
from polardenoise.engine.particles.set_checks import most_common_pixel_size
from polardenoise.engine.runtime.errors import InputError, TooLargeError
from polardenoise.engine.simulate.sources import MAP_ENDINGS, Density, read_density
from polardenoise.engine.train.optics import Optics, see_misjudged
from polardenoise.engine.train.recipe import Recipe
from polardenoise.engine.train.simulated_feed import (
    CPU,
    TrainingFeed,
    describe_sources,
    draw_validation,
    fix_validation,
    load_molecules,
)
from polardenoise.engine.train.simulated_sets import RASTER_B_FACTOR, draw_batch, stack_molecules
from polardenoise.engine.train.sources import TrainingSources

#: Molecules that an error names; further ones are counted.
NAMED = 3


@dataclass(frozen=True)
class Likeness:
    """The conditions of a particle set in the network's box.

    Attributes
    ----------
    particles : ParticleSet
        The set.
    handling : Handling
        How `denoise` brings it to the network's box.
    pixel_sizes : ndarray
        `(n,)` Angstrom, of each particle in the network's box.
    """

    particles: ParticleSet
    handling: Handling
    pixel_sizes: np.ndarray


def read_likeness(star_path: Path, box: int) -> Likeness:
    """Read the set whose conditions a training is to have.

    Parameters
    ----------
    star_path : Path
        Particles as they will be denoised. Their pixels are not read.
    box : int
        The network's box in pixels.

    Raises
    ------
    InputError
        If the set cannot be read, or holds images whose CTF has been corrected.
    """
    particles = read_particles(star_path)
    if particles.ctf_state == "corrected":
        raise InputError(
            f"--like {star_path}: holds CTF-corrected images; give the particles that they came from"
        )
    return Likeness(
        particles,
        Handling(box, particles.ctf_state, False),
        particles.pixel_size * particles.box / box,
    )


def load_molecule_like(likeness: Likeness, source: str) -> Density:
    """Rasterise one source at the smallest pixel size of a set, in the network's box.

    Raises
    ------
    TooLargeError
        If the molecule does not fit the box; names neither the set nor a cure.
    InputError
        If the source cannot be read, or is a map that does not say how large its voxels are.
    """
    ending = Path(source.removesuffix(".gz").removesuffix(".bz2")).suffix.lower()
    if ending in MAP_ENDINGS and read_volume(source)[1] <= 0:
        raise InputError(
            f"{source}: no voxel size in the header, so its true size is not known; correct the header"
        )
    pixel_size = float(likeness.pixel_sizes.min())
    return read_density(source, likeness.handling.box, pixel_size, RASTER_B_FACTOR)


def tell_large_molecules(too_large: dict[str, float], count: int, likeness: Likeness) -> None:
    """Say which molecules were left out because the box cannot hold them.

    Parameters
    ----------
    too_large : dict
        From their names to their diameters, Angstrom.
    count : int
        Molecules given, those included.
    likeness : Likeness
        Gives the box.

    Raises
    ------
    InputError
        If none is left; names them, the set and the cure.
    """
    if not too_large:
        return
    named = [f"{name} ({size:.0f} A)" for name, size in list(too_large.items())[:NAMED]]
    if len(too_large) > NAMED:
        named.append(f"{len(too_large) - NAMED} more")
    extent = float(likeness.pixel_sizes.min()) * likeness.handling.box
    where = f"too wide for the {extent:.0f} A box of --like {likeness.particles.star_path}"
    if len(too_large) == count:
        raise InputError(
            f"{', '.join(named)}: {where}; give smaller molecules, or extract the particles in a larger box"
        )
    print(
        f"train: {len(too_large)} of {word_count(count, 'molecule')} left out, {where}: {', '.join(named)}",
        flush=True,
    )


def feed_from_likeness(
    sources: TrainingSources,
    likeness: Likeness,
    recipe: Recipe,
    seed: int,
    device: torch.device,
) -> TrainingFeed:
    """Simulate molecules under the conditions of a particle set.

    Parameters
    ----------
    sources : TrainingSources
        The molecules. Those that the box cannot hold are left out, and counted; if it holds none of those for
        validation, the training's own molecules serve, in images of their own.
    likeness : Likeness
        The conditions.
    recipe : Recipe
        The rest of the distribution, from `fit_recipe`.
    seed : int
        Fixes every draw.
    device : torch.device
        Where the images are made.

    Raises
    ------
    InputError
        If no molecule to train on fits the box.
    """
    too_large: dict[str, float] = {}

    def load(source: str) -> Density | None:
        try:
            return load_molecule_like(likeness, source)
        except TooLargeError as error:
            too_large[source] = error.diameter
            return None

    loaded = load_molecules(sources.training, load)
    left_out = len(too_large)
    tell_large_molecules(too_large, len(loaded), likeness)
    trained_on = tuple(source for source in sources.training if source not in too_large)
    densities = [density for density in loaded if density is not None]
    molecules = stack_molecules(densities, device)
    fitting: dict[str, Density] = {}
    for source in sources.validation:
        if len(fitting) < recipe.validation_sets and (density := load(source)) is not None:
            fitting[source] = density
    validated_on, validation = tuple(fitting), list(fitting.values())
    if not fitting:
        count = recipe.validation_sets
        validated_on, validation = trained_on[:count], densities[:count]
    draw_optics = functools.partial(draw_optics_like, likeness)
    particles = likeness.particles
    pixel_size = most_common_pixel_size(particles)
    like = {
        "particles": particles.star_path.name,
        "count": len(particles),
        "box": particles.box,
        "pixel_size": pixel_size,
        "working_pixel_size": pixel_size * particles.box / likeness.handling.box,
        "ctf_state": particles.ctf_state,
    }
    return TrainingFeed(
        draw=lambda step: draw_batch(molecules, recipe, seed, step, draw_optics),
        validation=draw_validation(
            stack_molecules(validation, CPU), fix_validation(recipe), draw_optics
        ),
        trained_on={**describe_sources(trained_on, validated_on, recipe), "like": like},
        description=f"{word_count(len(molecules), 'molecule')} like {particles.star_path.name}",
        counts={"molecules": len(molecules), "left_out": left_out},
    )


def fit_recipe(recipe: Recipe, particles: ParticleSet) -> Recipe:
    """Give every set a CTF where the particles have one, and none a CTF where they do not: a share of 1 or of 0."""
    return dataclasses.replace(recipe, ctf_share=0.0 if particles.ctf_state == "none" else 1.0)


def draw_optics_like(
    likeness: Likeness,
    own_pixel_sizes: np.ndarray,
    images: int,
    recipe: Recipe,
    box: int,
    device: torch.device,
    generator: np.random.Generator,
) -> Optics:
    """Draw the conditions of a particle set; parameters and result as for `optics.draw_optics`.

    Every image has the pixel size and the CTF of a particle drawn at random, and the molecule its true size there.
    """
    size = (len(own_pixel_sizes), images)
    rows = generator.integers(len(likeness.particles), size=size)
    pixel_sizes = likeness.pixel_sizes[rows]
    abs_ctf = torch.ones(*size, box, box // 2 + 1, device=device)
    seen_ctf = None
    if recipe.ctf_share > 0:
        particles = likeness.particles
        ctf = compute_working_ctf(particles, rows.ravel(), likeness.handling, device)
        abs_ctf = ctf.abs().unflatten(0, size)
        if recipe.defocus_error and particles.ctf is not None:
            parameters = particles.ctf.select(torch.from_numpy(rows.ravel()))
            each = torch.from_numpy(pixel_sizes.ravel()).to(device)
            carried = see_misjudged(parameters, ctf, each, recipe.defocus_error, generator)
            seen_ctf = carried.unflatten(0, size)
    return Optics(pixel_sizes, own_pixel_sizes[:, None] / pixel_sizes, abs_ctf, seen_ctf)
