"""Training sets drawn afresh at every step: molecules, views, CTFs, shifts and noise.

Nothing is stored but the molecules. All images of a step are made together, on the device that holds the molecules'
transforms. Step `n` of seed `s` shows the same molecules, views and CTFs wherever and whenever it is computed, and on
devices of the same kind the same noise too: a resumed training is the training that was not interrupted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.background import measure_background, normalise
from polardenoise.engine.imaging.batched_projections import (
    TransformStack,
    stack_transforms,
    take_spectra,
)
from polardenoise.engine.imaging.noise_spectrum import NoiseSpectrum
from polardenoise.engine.imaging.rings import average_rings
from polardenoise.engine.runtime.devices import send_to_device
from polardenoise.engine.simulate.imperfections import lay_slopes
from polardenoise.engine.simulate.noise import show_ice
from polardenoise.engine.simulate.noise_spectrum import MEASURED
from polardenoise.engine.simulate.overlapping_particles import measure_radius, move_beside
from polardenoise.engine.simulate.sources import Density, read_density
from polardenoise.engine.train.noise import draw_noise
from polardenoise.engine.train.nuisances import Nuisances, draw_nuisances
from polardenoise.engine.train.optics import DrawOptics, Optics, draw_optics
from polardenoise.engine.train.recipe import Recipe
from polardenoise.engine.train.set_draws import SetDraws, draw_sets
from polardenoise.engine.train.unlisted_molecules import (
    add_second_parts,
    draw_deformations,
    draw_joined,
    move_spectra,
)
from polardenoise.engine.train.whitening import draw_whitening_errors, whiten_sets

#: Molecules are rasterised once at the largest fill and shrunk at random by sampling their transform more coarsely.
RASTER_B_FACTOR = 80.0


@dataclass(frozen=True)
class Molecules:
    """What sets may show, ready for projection.

    Attributes
    ----------
    stack : TransformStack
        On the device that the images are made on.
    pixel_sizes : ndarray
        `(molecules,)` Angstrom, at which each was rasterised.
    radii : ndarray
        `(molecules,)` voxels there, see `overlapping_particles.measure_radius`.
    """

    stack: TransformStack
    pixel_sizes: np.ndarray
    radii: np.ndarray

    def __len__(self) -> int:
        """Count the molecules."""
        return len(self.pixel_sizes)


@dataclass(frozen=True)
class TrainingBatch:
    """Normalised images and what the network should make of them.

    Attributes
    ----------
    noisy, clean : Tensor
        `(sets, images, box, box)` in units of the measured noise; `noisy` is phase-flipped where it has a CTF,
        `clean` has none.
    abs_ctf : Tensor
        `(sets, images, box, box // 2 + 1)`, |CTF| of each image, 1 where there is none.
    whitening : Tensor or None
        `(sets, images, box // 2)` by what each ring of frequencies of `noisy` was multiplied to make its noise white.
    """

    noisy: Tensor
    clean: Tensor
    abs_ctf: Tensor
    whitening: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "TrainingBatch":
        """Apply a function to all of it."""
        whitening = None if self.whitening is None else change(self.whitening)
        return TrainingBatch(
            change(self.noisy), change(self.clean), change(self.abs_ctf), whitening
        )

    def average_ctf_rings(self) -> Tensor:
        """Give what the network is told of each ring, `(sets, images, box // 2)`: |CTF|, times the whitening."""
        rings = average_rings(self.abs_ctf)
        return rings if self.whitening is None else rings * self.whitening


def load_molecule(source: str, box: int, largest_fill: float) -> Density:
    """Rasterise one source for training; maps keep their field of view."""
    return read_density(source, box, None, RASTER_B_FACTOR, fill=largest_fill)


def stack_molecules(densities: Sequence[Density], device: torch.device) -> Molecules:
    """Transform molecules for projection on a device; at least one."""
    stack = stack_transforms([density.volume for density in densities], device)
    return Molecules(
        stack,
        np.array([density.pixel_size for density in densities]),
        np.array([measure_radius(density.volume) for density in densities]),
    )


def draw_batch(
    molecules: Molecules,
    recipe: Recipe,
    seed: int,
    step: int,
    draw_optics: DrawOptics = draw_optics,
) -> TrainingBatch:
    """Draw the training sets of one step.

    Parameters
    ----------
    molecules : Molecules
        Sets show one molecule each, drawn evenly.
    recipe : Recipe
        The distribution.
    seed, step : int
        Together they fix every draw.
    draw_optics : callable, optional
        Draws pixel sizes and CTFs; the recipe's, if nothing else is said.
    """
    generator = np.random.default_rng([seed, step])
    images = int(generator.choice(recipe.images_per_set))
    sets = max(1, recipe.images_per_step // images)
    shown = generator.integers(len(molecules), size=sets)
    return draw_sets_of(molecules, shown, images, recipe, generator, draw_optics)


def draw_sets_of(
    molecules: Molecules,
    shown: np.ndarray,
    images: int,
    recipe: Recipe,
    generator: np.random.Generator,
    draw_optics: DrawOptics = draw_optics,
) -> TrainingBatch:
    """Draw one set of `images` images of each of the molecules numbered `shown`; the rest as for `draw_batch`."""
    device = molecules.stack.samples.device
    draws = draw_sets(shown, len(molecules), images, recipe, generator)
    own_pixel_sizes = molecules.pixel_sizes[shown]
    optics = draw_optics(own_pixel_sizes, images, recipe, molecules.stack.box, device, generator)
    noise_generator = torch.Generator(device).manual_seed(int(generator.integers(2**63)))
    # Drawn last: where there are none, all else is as if nobody had asked.
    radius = molecules.radii[draws.molecules] * optics.magnification
    nuisances = draw_nuisances(radius, molecules.stack.box, recipe, generator)
    spectrum = choose_spectrum(recipe)
    whitened = draw_whitened(draws.colour, nuisances, recipe, generator)
    draws = replace(
        draws,
        deformations=draw_deformations(len(shown), recipe, generator),
        joined=draw_joined(molecules.radii, shown, recipe, generator),
    )
    errors = draw_whitening_errors(len(shown), molecules.stack.box, recipe, generator)
    return simulate_sets(
        molecules.stack, draws, optics, noise_generator, nuisances, spectrum, whitened, errors
    )


def draw_whitened(
    colour: np.ndarray,
    nuisances: Nuisances | None,
    recipe: Recipe,
    generator: np.random.Generator,
) -> np.ndarray | None:
    """Draw which sets are whitened, `(sets,)` bool, among those whose noise is not white; None without a draw."""
    if not recipe.whitened_share:
        return None
    coloured = colour > 0
    if nuisances is not None:
        coloured = coloured | (nuisances.ice > 0).any(1)
    return coloured & (generator.random(len(colour)) < recipe.whitened_share)


def choose_spectrum(recipe: Recipe) -> NoiseSpectrum:
    """Take the spectrum of coloured noise from a recipe, or the measured one."""
    if not recipe.noise_spectrum:
        return MEASURED
    return NoiseSpectrum(*np.array(recipe.noise_spectrum).T)


def simulate_sets(
    stack: TransformStack,
    draws: SetDraws,
    optics: Optics,
    generator: torch.Generator,
    nuisances: Nuisances | None = None,
    spectrum: NoiseSpectrum = MEASURED,
    whitened: np.ndarray | None = None,
    whitening_errors: np.ndarray | None = None,
) -> TrainingBatch:
    """Make the images of some sets.

    Parameters
    ----------
    stack : TransformStack
        The molecules.
    draws, optics
        What the images show, and under what conditions.
    generator : torch.Generator
        Of the noise; on the device of the stack.
    nuisances : Nuisances, optional
        What else the boxes show.
    spectrum : NoiseSpectrum
        Of coloured noise.
    whitened : ndarray, optional
        `(sets,)` bool: whose noise is made white.
    whitening_errors : ndarray, optional
        From `draw_whitening_errors`.
    """
    box, images = stack.box, draws.molecules.shape[1]
    abs_ctf = optics.abs_ctf
    carried = abs_ctf if optics.seen_ctf is None else optics.seen_ctf
    spectra = project_sets(stack, draws, optics)
    clean = torch.fft.irfft2(spectra, s=(box, box))
    # White noise stays white when phases are flipped: the flipped image is |CTF| times the clean one plus noise.
    seen = torch.fft.irfft2(spectra * carried, s=(box, box))
    snr, own, particle = (
        send_to_device(values, stack.samples.device)
        for values in (draws.snr, ~draws.junk, draws.particle)
    )
    # One contrast for all images of the set's molecule, whose mean power the SNR counts; junk has the same power.
    power = seen.square().mean((-2, -1))  # (sets, images)
    mean_power = (power * own).sum(1, keepdim=True) / own.sum(1, keepdim=True)
    power = torch.where(own > 0, mean_power, power)
    strength = torch.sqrt(snr[:, None] / power)
    scale = (strength * particle)[..., None, None]
    noise = draw_noise(images, box, optics.pixel_sizes[:, 0], draws.colour, generator, spectrum)
    beside: Tensor | float = 0.0
    if nuisances is not None:
        contrast = send_to_device(nuisances.contrast.astype(np.float32), noise.device)
        scale = scale * contrast[..., None, None]
        beside = show_nuisances(stack, draws, optics, nuisances, strength)
        if nuisances.ice.any():
            white = torch.randn(noise.shape, device=noise.device, generator=generator)
            ice = send_to_device(nuisances.ice.astype(np.float32), noise.device)
            noise = noise + show_ice(white, carried, ice[..., None, None])
    noisy = seen * scale + (noise + beside)
    background = measure_background(noisy)
    noisy, clean = normalise(noisy, background), clean * (scale / background.deviation)
    if whitened is None:
        return TrainingBatch(noisy, clean, abs_ctf)
    noisy, factors = whiten_sets(noisy, noise, whitened, whitening_errors)
    return TrainingBatch(noisy, clean, abs_ctf, factors)


def show_nuisances(
    stack: TransformStack, draws: SetDraws, optics: Optics, nuisances: Nuisances, strength: Tensor
) -> Tensor:
    """Make what is neither particle nor noise, `(sets, images, box, box)`.

    A neighbour is seen through the CTF at the centre of a box and then moved: fringes that leave that box are lost.

    Parameters
    ----------
    stack, draws, optics, nuisances
        As for `simulate_sets`.
    strength : Tensor
        `(sets, images)` what the molecules' images are multiplied by.
    """
    box, size = stack.box, draws.molecules.shape
    device = stack.samples.device
    slopes = lay_slopes(send_to_device(nuisances.gradients, device), box)
    if not nuisances.beside.any():
        return slopes
    carried = optics.abs_ctf if optics.seen_ctf is None else optics.seen_ctf
    spectra = project_sets(stack, nuisances.show_neighbours(draws), optics) * carried
    images = torch.fft.irfft2(spectra, s=(box, box)).flatten(0, 1)
    beside = move_beside(images, nuisances.places.flatten(0, 1).to(device)).unflatten(0, size)
    present = send_to_device(nuisances.beside, device)
    return slopes + beside * (strength * present)[..., None, None]


def project_sets(stack: TransformStack, draws: SetDraws, optics: Optics) -> Tensor:
    """Project the molecules, blur the sets and move the images off centre.

    Returns
    -------
    Tensor
        `(sets, images, box, box // 2 + 1)` transforms of the clean images, without CTF.
    """
    device, box = stack.samples.device, stack.box
    size = draws.molecules.shape
    scaled = draws.matrices * torch.from_numpy(optics.magnification[..., None, None].copy())
    first = scaled
    if draws.deformations is not None:
        first = draws.deformations[:, None] @ first
    if draws.joined is not None:
        first = first * torch.from_numpy(draws.joined.sizes)[:, None, None, None]
    matrices = send_to_device(first.flatten(0, 1).numpy(), device)
    spectra = take_spectra(stack, send_to_device(draws.molecules.ravel(), device), matrices)
    if draws.joined is not None:
        by_set = spectra.unflatten(0, size)
        own = ~draws.junk
        spectra = add_second_parts(by_set, stack, draws.joined, scaled, own).flatten(0, 1)
    along_y = torch.fft.fftfreq(box, device=device)
    along_x = torch.fft.rfftfreq(box, device=device)
    # As dense as before and smaller: a^3 F(a k). Blur: exp(-B k^2 / 4), and k is in cycles per pixel here.
    strength = send_to_device(optics.magnification.ravel() ** 3, device)
    decay = send_to_device((draws.blur[:, None] / (4 * optics.pixel_sizes**2)).ravel(), device)
    squared = along_y[:, None] ** 2 + along_x**2
    envelope = strength[:, None, None] * torch.exp(-decay[:, None, None] * squared)
    # Shifts move the centre from pixel 0 to box // 2 as well.
    shifts = send_to_device(draws.shifts.reshape(-1, 2) + box // 2, device)
    return move_spectra(spectra * envelope, shifts).unflatten(0, size)


def stack_sets(sets: list[TrainingBatch]) -> TrainingBatch:
    """Stack single sets `(images, ...)` of equal size, without whitening, into a batch `(sets, images, ...)`."""
    return TrainingBatch(
        torch.stack([one.noisy for one in sets]),
        torch.stack([one.clean for one in sets]),
        torch.stack([one.abs_ctf for one in sets]),
    )
