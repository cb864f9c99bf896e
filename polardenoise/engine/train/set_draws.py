"""What the images of a training step show: molecules, orientations, blur, shifts, SNR, and which show no such thing.

All sets of a step are drawn together, by numpy: the same step shows the same wherever it is computed. The many numbers,
the pixels of the noise, are drawn where the images are made (:mod:`.simulated_sets`).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.euler_angles import matrices_from_angles
from polardenoise.engine.train.recipe import Recipe
from polardenoise.engine.train.unlisted_molecules import Joined

#: Half-angles of a "cone" of views in degrees: 64 neighbours among 10,000 random views span 9 degrees, 128 among 1,000
#: span 42.
CONE_HALF_ANGLES = (2.0, 40.0)

#: In half of the cones up to this share of the images was taken for neighbours and is not.
LARGEST_STRAY_SHARE = 0.4

#: Coloured noise has the measured spectrum to a power between 0, white, and this.
STRONGEST_COLOUR = 1.5


@dataclass(frozen=True)
class SetDraws:
    """What `sets` sets of `images` images show.

    Attributes
    ----------
    molecules : ndarray
        `(sets, images)` number of the molecule that each image shows.
    junk : ndarray
        `(sets, images)` whether that is another molecule than the set's.
    matrices : Tensor
        `(sets, images, 3, 3)` float64 orientations, as `matrices_from_angles` makes them.
    blur : ndarray
        `(sets,)` B-factor in Angstrom^2 added to that of the molecules.
    shifts : ndarray
        `(sets, images, 2)` by how many pixels in x and y the particle is off centre.
    snr : ndarray
        `(sets,)`.
    particle : ndarray
        `(sets, images)` whether there is anything but noise.
    colour : ndarray
        `(sets,)` power of the measured noise spectrum; 0 for white noise.
    deformations : Tensor, optional
        `(sets, 3, 3)` by what the molecules are deformed, see :mod:`.unlisted_molecules`.
    joined : Joined, optional
        What is grown together with them.
    """

    molecules: np.ndarray
    junk: np.ndarray
    matrices: Tensor
    blur: np.ndarray
    shifts: np.ndarray
    snr: np.ndarray
    particle: np.ndarray
    colour: np.ndarray
    deformations: Tensor | None = None
    joined: Joined | None = None


def draw_sets(
    shown: np.ndarray, molecules: int, images: int, recipe: Recipe, generator: np.random.Generator
) -> SetDraws:
    """Draw what some sets show.

    Parameters
    ----------
    shown : ndarray
        `(sets,)` number of each set's molecule.
    molecules : int
        How many there are: junk shows any of them.
    images : int
        Images of a set.
    recipe : Recipe
        The distribution.
    generator : numpy.random.Generator
        Source of randomness.
    """
    sets = len(shown)
    size = (sets, images)
    names = list(recipe.view_modes)
    shares = np.array([recipe.view_modes[name] for name in names])
    modes = np.array(names)[generator.choice(len(names), sets, p=shares / shares.sum())]
    matrices = draw_set_orientations(modes, images, generator)
    blur = generator.uniform(*recipe.blur, sets)
    off_centre = generator.random((sets, 1, 1)) < recipe.shift_share
    largest = recipe.largest_shift
    shifts = off_centre * generator.uniform(-largest, largest, (*size, 2))
    lowest, highest = recipe.snr
    snr = np.exp(generator.uniform(math.log(lowest), math.log(highest), sets))
    particle = generator.random(size) >= recipe.noise_only_share
    # In a set of noise alone nothing may be made of it.
    particle &= generator.random((sets, 1)) >= recipe.noise_only_share
    junk = generator.random(size) < recipe.junk_share
    junk[:, 0] = False  # the SNR is that of the set's own molecule
    others = generator.integers(molecules, size=size)
    coloured = generator.random(sets) < recipe.coloured_share
    colour = coloured * generator.uniform(0.0, STRONGEST_COLOUR, sets)
    return SetDraws(
        np.where(junk, others, shown[:, None]), junk, matrices, blur, shifts, snr, particle, colour
    )


def draw_set_orientations(modes: np.ndarray, images: int, generator: np.random.Generator) -> Tensor:
    """Draw the orientations of the images of some sets.

    Parameters
    ----------
    modes : ndarray
        `(sets,)` view modes of `Recipe.view_modes`.
    images : int
        Images of a set.
    generator : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    Tensor
        `(sets, images, 3, 3)` float64. Views of a set hold equally many images, or differ by one; in-plane rotations
        are uniform.
    """
    sets = len(modes)
    size = (sets, images)
    views = np.where(modes == "few", generator.integers(2, 9, sets), 1)
    views = np.where(modes == "random", images, views)
    view = np.argsort(generator.random(size), axis=1) % views[:, None]
    rot = generator.uniform(-180.0, 180.0, size)
    tilt = np.degrees(np.arccos(generator.uniform(-1.0, 1.0, size)))
    psi = generator.uniform(-180.0, 180.0, size)
    rot, tilt = (np.take_along_axis(angle, view, 1) for angle in (rot, tilt))
    # Of a cone, tilt each image away from the common view by up to the half-angle, evenly over the cap; in half of the
    # sets some images stray over the whole sphere. So are the sets that a search for neighbours finds.
    cone = modes == "cone"
    half_angle = cone * np.radians(generator.uniform(*CONE_HALF_ANGLES, sets))
    away = generator.uniform(np.cos(half_angle)[:, None], 1.0, size)
    stray_share = cone * (generator.random(sets) < 0.5)
    stray_share = stray_share * generator.uniform(0.0, LARGEST_STRAY_SHARE, sets)
    stray = generator.random(size) < stray_share[:, None]
    away = np.where(stray, generator.uniform(-1.0, 1.0, size), away)
    azimuth = generator.uniform(-180.0, 180.0, size)
    wobble = np.stack([azimuth, np.degrees(np.arccos(away)), -azimuth], axis=-1)
    views_drawn = torch.from_numpy(np.stack([rot, tilt, psi], axis=-1))
    return matrices_from_angles(views_drawn) @ matrices_from_angles(torch.from_numpy(wobble))
