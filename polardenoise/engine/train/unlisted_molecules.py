"""Molecules that no list has: each set's deformed, and in some sets two of them grown together.

A network learns a list of molecules by heart: its loss falls, its error in others does not (docs/training.rst). A
transform sampled at `S k` instead of `k` is that of the volume shrunken by `S`, so another molecule for every set costs
one small matrix product. Pairs of molecules at random sizes, orientations and distances do not repeat either: the
second one's transform is added to the first one's, moved by a ramp of phases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.batched_projections import TransformStack, take_spectra
from polardenoise.engine.imaging.euler_angles import draw_orientations, matrices_from_angles
from polardenoise.engine.runtime.devices import send_to_device
from polardenoise.engine.train.recipe import Recipe

#: How large the two parts are beside a molecule that stands alone.
PART_SIZES = (0.62, 0.85)
#: The power of the second part's images over that of the first one's, drawn log-uniformly.
POWER_RATIOS = (0.2, 1.5)


@dataclass(frozen=True)
class Joined:
    """What is grown together with the molecules of `sets` sets.

    Attributes
    ----------
    present : ndarray
        `(sets,)` bool, whether there is a second part.
    molecules : ndarray
        `(sets,)` number of the molecule that it is.
    sizes : ndarray
        `(sets,)` size of both parts over that of the molecules; 1 where there is one part.
    turned : Tensor
        `(sets, 3, 3)` float64, how the second part lies to the first.
    places : Tensor
        `(sets, 3)` float64, voxels from the centre of the first part to that of the second; 0 where there is none.
    power_ratios : ndarray
        `(sets,)` power of the second part's images over that of the first one's.
    """

    present: np.ndarray
    molecules: np.ndarray
    sizes: np.ndarray
    turned: Tensor
    places: Tensor
    power_ratios: np.ndarray


def draw_deformations(sets: int, recipe: Recipe, generator: np.random.Generator) -> Tensor | None:
    """Draw by what the molecules of sets are deformed.

    Parameters
    ----------
    sets : int
        How many.
    recipe : Recipe
        Its `shrinking`.
    generator : numpy.random.Generator
        Source of randomness, not touched where nothing is deformed.

    Returns
    -------
    Tensor or None
        `(sets, 3, 3)` float64, to be multiplied from the left to orientations: symmetric, with eigenvalues between
        1 - `shrinking` and 1, times -1 for half of the sets. Never more than 1: a transform is known to the Nyquist
        frequency only. None where nothing is deformed.
    """
    if not recipe.shrinking:
        return None
    axes = matrices_from_angles(draw_orientations(sets, generator))
    factors = torch.from_numpy(generator.uniform(1 - recipe.shrinking, 1.0, (sets, 3)))
    # The longest axis stays as it is: it fills the box as it did.
    factors = factors / factors.amax(-1, keepdim=True)
    signs = torch.from_numpy(np.where(generator.random(sets) < 0.5, -1.0, 1.0))
    return (axes * factors[:, None, :]) @ axes.mT * signs[:, None, None]


def draw_joined(
    radii: np.ndarray, shown: np.ndarray, recipe: Recipe, generator: np.random.Generator
) -> Joined | None:
    """Draw what is grown together.

    Parameters
    ----------
    radii : ndarray
        `(molecules,)` voxels.
    shown : ndarray
        `(sets,)` number of the sets' own molecules.
    recipe : Recipe
        Its `joined_share`.
    generator : numpy.random.Generator
        Source of randomness, not touched where nothing is joined.

    Returns
    -------
    Joined or None
        None where the recipe joins nothing. Centres are as far apart as keeps both parts within the radius of the
        larger molecule.
    """
    if not recipe.joined_share:
        return None
    sets = len(shown)
    present = generator.random(sets) < recipe.joined_share
    molecules = generator.integers(len(radii), size=sets)
    sizes = np.where(present, generator.uniform(*PART_SIZES, sets), 1.0)
    turned = matrices_from_angles(draw_orientations(sets, generator))
    direction = generator.normal(size=(sets, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    larger = np.maximum(radii[shown], radii[molecules])
    distance = 2 * (1 - sizes) * larger * present
    least, most = map(math.log, POWER_RATIOS)
    ratios = np.exp(generator.uniform(least, most, sets))
    places = torch.from_numpy(direction * distance[:, None])
    return Joined(present, molecules, sizes, turned, places, ratios)


def add_second_parts(
    spectra: Tensor, stack: TransformStack, joined: Joined, scaled: Tensor, own: np.ndarray
) -> Tensor:
    """Add the second parts to projections of the first, both moved so that their middle is in the centre.

    Parameters
    ----------
    spectra : Tensor
        `(sets, images, N, N // 2 + 1)` of the first parts, centred on pixel 0.
    stack : TransformStack
        The molecules.
    joined : Joined
        The second parts.
    scaled : Tensor
        `(sets, images, 3, 3)` float64 orientations of the images times the magnification.
    own : ndarray
        `(sets, images)` bool: which images show the set's molecule. The others stay as they are.

    Returns
    -------
    Tensor
        `(sets, images, N, N // 2 + 1)`.
    """
    rows = np.flatnonzero(joined.present)
    if not rows.size:
        return spectra
    device = spectra.device
    on_device = send_to_device(rows, device)
    images = spectra.shape[1]
    sizes = torch.from_numpy(joined.sizes[rows, None, None, None])
    matrices = sizes * (joined.turned[rows][:, None].mT @ scaled[rows])
    second = take_spectra(
        stack,
        send_to_device(np.repeat(joined.molecules[rows], images), device),
        send_to_device(matrices.flatten(0, 1).numpy(), device),
    ).unflatten(0, (len(rows), images))
    first = spectra[on_device]
    belongs = send_to_device(own[rows].astype(np.float32), device)[..., None, None]
    # A projection along z of what lies at t has its centre at the x and y of t as the image sees it.
    places = joined.places[rows]
    moved = (scaled[rows].mT @ places[:, None, :, None])[..., :2, 0]  # (rows, images, 2)
    half_way = send_to_device((moved / 2).float().numpy(), device) * belongs[..., 0]
    ratio = send_to_device(joined.power_ratios[rows].astype(np.float32), device)
    shown = sum_power(second * belongs).clamp(min=1e-20)
    factor = (ratio * sum_power(first * belongs) / shown).sqrt()
    second = second * belongs * factor[:, None, None, None]
    whole = move_spectra(first, -half_way) + move_spectra(second, half_way)
    return spectra.index_copy(0, on_device, whole)


def move_spectra(spectra: Tensor, shifts: Tensor) -> Tensor:
    """Move the images of transforms `(..., N, N // 2 + 1)` by `(..., 2)` pixels, x and y."""
    box = spectra.shape[-2]
    along_y = torch.fft.fftfreq(box, device=spectra.device)
    along_x = torch.fft.rfftfreq(box, device=spectra.device)
    x, y = shifts.unbind(-1)
    ramp_x = torch.exp(-2j * torch.pi * x[..., None] * along_x)
    ramp_y = torch.exp(-2j * torch.pi * y[..., None] * along_y)
    return spectra * ramp_x[..., None, :] * ramp_y[..., :, None]


def sum_power(spectra: Tensor) -> Tensor:
    """Sum the power of each set's transforms without their means, `(sets,)`."""
    power = spectra.abs().square()
    return power.sum((1, 2, 3)) - power[..., 0, 0].sum(1)
