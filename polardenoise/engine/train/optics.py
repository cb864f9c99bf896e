"""Under what the images of a training step were taken: pixel sizes and microscopes, as a recipe says."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf import CtfParameters, compute_ctf
from polardenoise.engine.runtime.devices import send_to_device
from polardenoise.engine.simulate.imperfections import misjudge_defocus
from polardenoise.engine.train.recipe import Recipe

#: Spread of the defocus within a set, and of the astigmatism, in Angstrom.
DEFOCUS_SPREAD = 3_000.0
ASTIGMATISM_SPREAD = 250.0
#: No defocus is drawn outside, in Angstrom.
DEFOCUS_LIMITS = (3_000.0, 40_000.0)
#: Phase shifts that a phase plate has between cleanings, in degrees.
PHASE_PLATE = (30.0, 150.0)


@dataclass(frozen=True)
class Optics:
    """Pixel sizes and CTFs of `sets` sets of `images` images.

    Attributes
    ----------
    pixel_sizes : ndarray
        `(sets, images)` Angstrom.
    magnification : ndarray
        `(sets, images)` size of the molecule over that of its volume, 0 to 1: a shrunken molecule in the same box is
        the same molecule at a larger pixel size.
    abs_ctf : Tensor
        `(sets, images, box, box // 2 + 1)` |CTF| of each image, 1 where there is none, on the device asked for.
    seen_ctf : Tensor, optional
        The same shape: what images carry whose phases were flipped by a wrong defocus, the CTF that they have times the
        sign of the one that they are taken to have. None: `abs_ctf`.
    """

    pixel_sizes: np.ndarray
    magnification: np.ndarray
    abs_ctf: Tensor
    seen_ctf: Tensor | None = None


#: From (pixel size of each set's molecule `(sets,)`, images of a set, recipe, box, device, generator) to the optics.
DrawOptics = Callable[
    [np.ndarray, int, Recipe, int, torch.device, np.random.Generator],
    Optics,
]


def draw_optics(
    own_pixel_sizes: np.ndarray,
    images: int,
    recipe: Recipe,
    box: int,
    device: torch.device,
    generator: np.random.Generator,
) -> Optics:
    """Draw what a recipe says: one pixel size and one microscope a set, one defocus an image.

    Parameters
    ----------
    own_pixel_sizes : ndarray
        `(sets,)` Angstrom, at which each set's molecule was rasterised, filling the recipe's largest `fill`.
    images : int
        Images of a set.
    recipe : Recipe
        The distribution.
    box : int
        Box size in pixels.
    device : torch.device
        Where the CTFs are wanted.
    generator : numpy.random.Generator
        Source of randomness.
    """
    sets = len(own_pixel_sizes)
    magnification = generator.uniform(*recipe.fill, sets) / recipe.fill[1]
    pixel_sizes = own_pixel_sizes / magnification
    seen = np.flatnonzero(generator.random(sets) < recipe.ctf_share)
    abs_ctf = torch.ones(sets, images, box, box // 2 + 1, device=device)
    seen_ctf = None
    if seen.size:
        parameters = draw_ctf(seen.size, images, recipe, generator)
        each = torch.from_numpy(pixel_sizes[seen].repeat(images)).to(device)
        ctf = compute_ctf(parameters.to(device), each, box)
        rows, shape = send_to_device(seen, device), (seen.size, images)
        abs_ctf[rows] = ctf.abs().unflatten(0, shape)
        if recipe.defocus_error:
            seen_ctf = abs_ctf.clone()
            carried = see_misjudged(parameters, ctf, each, recipe.defocus_error, generator)
            seen_ctf[rows] = carried.unflatten(0, shape)
    spread = (sets, images)
    return Optics(
        np.broadcast_to(pixel_sizes[:, None], spread),
        np.broadcast_to(magnification[:, None], spread),
        abs_ctf,
        seen_ctf,
    )


def see_misjudged(
    parameters: CtfParameters,
    ctf: Tensor,
    pixel_sizes: Tensor,
    deviation: float,
    generator: np.random.Generator,
) -> Tensor:
    """Give what `n` flipped images carry whose defocus is wrong, `(n, box, box // 2 + 1)`.

    Parameters
    ----------
    parameters, ctf : CtfParameters, Tensor
        The CTFs that they are taken to have, and these computed, `(n, box, box // 2 + 1)`.
    pixel_sizes : Tensor
        `(n,)` Angstrom, on the device of `ctf`.
    deviation : float
        Of the defocus, Angstrom.
    generator : numpy.random.Generator
        Source of randomness.
    """
    true = misjudge_defocus(parameters, deviation, generator).to(ctf.device)
    return compute_ctf(true, pixel_sizes, ctf.shape[-2]) * torch.where(ctf < 0, -1.0, 1.0)


def draw_ctf(
    sets: int, images: int, recipe: Recipe, generator: np.random.Generator
) -> CtfParameters:
    """Draw the CTFs of `sets` sets, `sets * images` of them, a microscope a set and a defocus an image."""
    microscopes = np.array(recipe.microscopes)[
        generator.integers(len(recipe.microscopes), size=sets)
    ]
    amplitude_contrast = generator.choice(recipe.amplitude_contrast, sets)
    phase_plate = generator.random(sets) < recipe.phase_plate_share
    phase_shift = phase_plate * generator.uniform(*PHASE_PLATE, sets)
    middle = generator.uniform(*recipe.defocus, (sets, 1))
    defocus = middle + generator.normal(0.0, DEFOCUS_SPREAD, (sets, images))
    defocus = np.clip(defocus, *DEFOCUS_LIMITS)
    astigmatism = np.abs(generator.normal(0.0, ASTIGMATISM_SPREAD, (sets, images)))
    angle = generator.uniform(0.0, 180.0, (sets, images))

    def column(values: np.ndarray) -> Tensor:
        each = values if values.ndim == 2 else np.broadcast_to(values[:, None], (sets, images))
        return torch.from_numpy(each.reshape(-1).astype(np.float64))

    return CtfParameters(
        defocus_u=column(defocus + astigmatism / 2),
        defocus_v=column(defocus - astigmatism / 2),
        defocus_angle=column(angle),
        voltage=column(microscopes[:, 0]),
        spherical_aberration=column(microscopes[:, 1]),
        amplitude_contrast=column(amplitude_contrast),
        phase_shift=column(phase_shift),
    )
