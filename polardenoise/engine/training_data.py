"""Training sets drawn afresh at every step: molecules, views, CTFs, shifts and noise.

Nothing is stored but the volumes. Step `n` of seed `s` draws the same images wherever and whenever it is computed,
so that a resumed training is the training that was not interrupted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch_fourier_shift import fourier_shift_dft_2d

from polardenoise.engine.background import measure_background, normalise
from polardenoise.engine.ctf import CtfParameters, compute_ctf
from polardenoise.engine.molecules import read_density
from polardenoise.engine.orientations import (
    angles_from_matrices,
    draw_orientations,
    draw_views,
    matrices_from_angles,
)
from polardenoise.engine.projections import VolumeTransform, prepare_volume, take_projections
from polardenoise.engine.recipe import Recipe

#: Molecules are rasterised once at the largest fill and shrunk at random by sampling their transform more coarsely.
RASTER_B_FACTOR = 80.0

#: Half-angles of a "cone" of views in degrees: 64 neighbours among 10,000 random views span 9 degrees, 128 among 1,000
#: span 42.
CONE_HALF_ANGLES = (2.0, 40.0)

#: In half of the cones up to this share of the images was taken for neighbours and is not.
LARGEST_STRAY_SHARE = 0.4


@dataclass(frozen=True)
class Molecule:
    """A molecule ready for projection, filling `fill` of the box at `pixel_size` Angstrom."""

    transform: VolumeTransform
    pixel_size: float


@dataclass(frozen=True)
class TrainingBatch:
    """Normalised images and what the network should make of them.

    Attributes
    ----------
    noisy, clean : Tensor
        `(sets, images, box, box)` in units of the measured noise; `noisy` is phase-flipped where it has a CTF,
        `clean` has none.
    transfer : Tensor
        `(sets, images, box, box // 2 + 1)`, |CTF| of each image, 1 where there is none.
    """

    noisy: Tensor
    clean: Tensor
    transfer: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> "TrainingBatch":
        """Apply a function to all three."""
        return TrainingBatch(change(self.noisy), change(self.clean), change(self.transfer))


#: From (molecule, recipe, box, images, view mode, generator) to one set `(images, box, box)`.
DrawOne = Callable[[Molecule, Recipe, int, int, str, np.random.Generator], TrainingBatch]


def stack_sets(sets: list[TrainingBatch]) -> TrainingBatch:
    """Stack single sets `(images, ...)` of equal size into a batch `(sets, images, ...)`."""
    return TrainingBatch(
        torch.stack([one.noisy for one in sets]),
        torch.stack([one.clean for one in sets]),
        torch.stack([one.transfer for one in sets]),
    )


def load_molecule(source: str, box: int, largest_fill: float) -> Molecule:
    """Rasterise one source for training; maps keep their field of view."""
    density = read_density(source, box, None, RASTER_B_FACTOR, fill=largest_fill)
    return Molecule(prepare_volume(density.volume), density.pixel_size)


def draw_batch(
    molecules: list[Molecule],
    recipe: Recipe,
    box: int,
    seed: int,
    step: int,
    draw_one: DrawOne | None = None,
) -> TrainingBatch:
    """Draw the training sets of one step.

    Parameters
    ----------
    molecules : list of Molecule
        Sets show one molecule each, drawn evenly.
    recipe : Recipe
        The distribution.
    box : int
        Box size in pixels.
    seed, step : int
        Together they fix every draw.
    draw_one : callable, optional
        Draws one set; takes what `draw_set` takes, which is the rule.
    """
    draw_one = draw_one or draw_set
    generator = np.random.default_rng([seed, step])
    images_per_set = int(generator.choice(recipe.images_per_set))
    sets = max(1, recipe.images_per_step // images_per_set)
    modes = list(recipe.view_modes)
    shares = np.array([recipe.view_modes[mode] for mode in modes])
    drawn = [
        draw_one(
            molecules[generator.integers(len(molecules))],
            recipe,
            box,
            images_per_set,
            str(generator.choice(modes, p=shares / shares.sum())),
            generator,
        )
        for _ in range(sets)
    ]
    return stack_sets(drawn)


def draw_set(
    molecule: Molecule,
    recipe: Recipe,
    box: int,
    images: int,
    mode: str,
    generator: np.random.Generator,
) -> TrainingBatch:
    """Draw one set of `images` images, `(images, box, box)`; parameters as for `draw_batch`."""
    angles = draw_set_angles(mode, images, generator)
    magnification = generator.uniform(*recipe.fill) / recipe.fill[1]
    # A shrunken molecule in the same box is the same molecule at a larger pixel size.
    pixel_size = molecule.pixel_size / magnification
    pixel_sizes = torch.full((images,), pixel_size, dtype=torch.float64)
    spectrum = draw_spectrum(molecule, angles, pixel_sizes, recipe, generator)
    transfer = None
    if generator.random() < recipe.ctf_share:
        transfer = compute_ctf(draw_ctf(images, generator), pixel_size, box).abs()
    return drown_in_noise(spectrum, transfer, recipe, generator)


def draw_spectrum(
    molecule: Molecule,
    angles: Tensor,
    pixel_sizes: Tensor,
    recipe: Recipe,
    generator: np.random.Generator,
) -> Tensor:
    """Project a molecule, blur the set and move its images off centre as the recipe says.

    Parameters
    ----------
    molecule : Molecule
        What the set shows.
    angles : Tensor
        `(images, 3)` RELION Euler angles in degrees.
    pixel_sizes : Tensor
        `(images,)` float64 Angstrom, at least the molecule's own: the box shows more, and the molecule smaller.
    recipe, generator
        As for `draw_batch`.

    Returns
    -------
    Tensor
        `(images, box, box // 2 + 1)` transforms of the clean images, without CTF.
    """
    box, images = molecule.transform.box, len(angles)
    projections = take_projections(molecule.transform, angles, molecule.pixel_size / pixel_sizes)
    blur = blur_transfer(box, pixel_sizes, generator.uniform(*recipe.blur))
    spectrum = torch.fft.rfft2(projections) * blur
    if generator.random() < recipe.shift_share:
        shifts = generator.uniform(-recipe.largest_shift, recipe.largest_shift, (images, 2))
        rows_then_columns = torch.from_numpy(shifts[:, ::-1].astype(np.float32))
        spectrum = fourier_shift_dft_2d(
            spectrum, (box, box), rows_then_columns, rfft=True, fftshifted=False
        )
    return spectrum


def drown_in_noise(
    spectrum: Tensor, transfer: Tensor | None, recipe: Recipe, generator: np.random.Generator
) -> TrainingBatch:
    """Give a set its CTF, an SNR, noise, and the normalisation that every image gets.

    Parameters
    ----------
    spectrum : Tensor
        `(images, box, box // 2 + 1)`, from `draw_spectrum`.
    transfer : Tensor or None
        `(images, box, box // 2 + 1)` |CTF|; None without a CTF.
    recipe, generator
        As for `draw_batch`.

    Returns
    -------
    TrainingBatch
        One set, `(images, box, box)`.
    """
    images, box = spectrum.shape[:2]
    clean = torch.fft.irfft2(spectrum, s=(box, box))
    seen = clean
    if transfer is None:
        transfer = torch.ones(images, box, box // 2 + 1)
    else:
        # White noise stays white when phases are flipped: the flipped image is |CTF| times the clean one plus noise.
        seen = torch.fft.irfft2(spectrum * transfer, s=(box, box))
    snr = math.exp(generator.uniform(*np.log(recipe.snr)))
    scale = torch.sqrt(snr / seen.square().mean())
    particle = torch.from_numpy(generator.random(images) >= recipe.noise_only_share)
    if generator.random() < recipe.noise_only_share:
        particle[:] = False  # a set of noise alone: nothing may be made of it
    particle = (particle.float() * scale)[:, None, None]
    noise = torch.from_numpy(generator.standard_normal((images, box, box), dtype=np.float32))
    noisy = seen * particle + noise
    background = measure_background(noisy)
    clean = clean * particle / background.deviation
    return TrainingBatch(normalise(noisy, background), clean, transfer)


def draw_set_angles(mode: str, images: int, generator: np.random.Generator) -> Tensor:
    """Draw RELION Euler angles `(images, 3)` in degrees for a view mode of `Recipe.view_modes`."""
    if mode == "random":
        return draw_orientations(images, generator)
    if mode == "few":
        return draw_views(int(generator.integers(2, 9)), images, generator)[0]
    angles = draw_views(1, images, generator)[0]
    if mode == "cone":
        # Tilt each image away from the common view by up to the half-angle, evenly over the cap; in half of the sets
        # some images stray over the whole sphere. So are the sets that a search for neighbours finds.
        half_angle = math.radians(generator.uniform(*CONE_HALF_ANGLES))
        cosines = generator.uniform(math.cos(half_angle), 1.0, images)
        strays = generator.random() < 0.5
        share = generator.uniform(0.0, LARGEST_STRAY_SHARE)
        stray = strays & (generator.random(images) < share)
        cosines = np.where(stray, generator.uniform(-1.0, 1.0, images), cosines)
        wobble = np.stack(
            [generator.uniform(-180, 180, images), np.degrees(np.arccos(cosines)), np.zeros(images)]
        )
        wobble[2] = -wobble[0]
        matrices = matrices_from_angles(angles) @ matrices_from_angles(torch.from_numpy(wobble.T))
        angles = angles_from_matrices(matrices)
    return angles


def draw_ctf(images: int, generator: np.random.Generator) -> CtfParameters:
    """Draw CTFs as microscopes have them: one microscope a set, one defocus an image."""
    voltage, spherical_aberration = [(300.0, 2.7), (200.0, 2.7), (300.0, 0.01), (200.0, 1.4)][
        generator.integers(4)
    ]
    middle = generator.uniform(6_000.0, 28_000.0)
    defocus = np.clip(middle + generator.normal(0.0, 3_000.0, images), 3_000.0, 40_000.0)
    astigmatism = np.abs(generator.normal(0.0, 250.0, images))

    def column(value: float | np.ndarray) -> Tensor:
        return torch.from_numpy(np.broadcast_to(value, (images,)).astype(np.float64))

    return CtfParameters(
        defocus_u=column(defocus + astigmatism / 2),
        defocus_v=column(defocus - astigmatism / 2),
        defocus_angle=column(generator.uniform(0.0, 180.0, images)),
        voltage=column(voltage),
        spherical_aberration=column(spherical_aberration),
        amplitude_contrast=column(float(generator.choice([0.07, 0.1]))),
        phase_shift=column(0.0),
    )


def blur_transfer(box: int, pixel_sizes: Tensor, b_factor: float) -> Tensor:
    """Transfer `exp(-B k^2 / 4)` of a B-factor in Angstrom^2 at `(n,)` pixel sizes, `(n, box, box // 2 + 1)`."""
    squared = squared_frequencies(box) / pixel_sizes[:, None, None] ** 2
    return torch.exp(-b_factor / 4 * squared).float()


def squared_frequencies(box: int) -> Tensor:
    """Squared spatial frequency in cycles^2 / pixel^2, `(box, box // 2 + 1)` float64."""
    along_y = torch.fft.fftfreq(box, dtype=torch.float64)
    along_x = torch.fft.rfftfreq(box, dtype=torch.float64)
    return along_y[:, None] ** 2 + along_x**2
