"""What real boxes show beside noise and the particle, in training: neighbours, slopes, ice, contrast that varies.

None of it is in the target but the contrast. With all of a recipe's shares and strengths at 0 nothing is drawn: such a
training is what it was before there were any.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from polardenoise.engine.imaging.euler_angles import matrices_from_angles
from polardenoise.engine.simulate.imperfections import draw_contrasts, draw_gradients
from polardenoise.engine.simulate.overlapping_particles import draw_neighbours
from polardenoise.engine.train.recipe import Recipe
from polardenoise.engine.train.set_draws import SetDraws


@dataclass(frozen=True)
class Nuisances:
    """What `sets` sets of `images` images show besides.

    Attributes
    ----------
    contrast : ndarray
        `(sets, images)` what each particle is multiplied by.
    gradients : ndarray
        `(sets, images, 2)` of the background along x and y, see `imperfections.lay_slopes`.
    beside : ndarray
        `(sets, images)` whether a neighbour reaches into the box.
    matrices : Tensor
        `(sets, images, 3, 3)` its orientation.
    places : Tensor
        `(sets, images, 2)` x and y of its centre from that of the box, pixels.
    ice : ndarray
        `(sets, images)` standard deviation of what the structure of the ice shows, in units of the noise's.
    """

    contrast: np.ndarray
    gradients: np.ndarray
    beside: np.ndarray
    matrices: Tensor
    places: Tensor
    ice: np.ndarray

    def only_in(self, sets: np.ndarray) -> Nuisances:
        """Show it in some sets, `(sets,)` bool, and nothing in the others."""
        own = sets[:, None]
        return replace(
            self,
            contrast=np.where(own, self.contrast, 1.0),
            gradients=self.gradients * own[..., None],
            beside=self.beside & own,
            ice=self.ice * own,
        )

    def show_neighbours(self, draws: SetDraws) -> SetDraws:
        """Give the draws of the neighbours' own images, at the centre: the molecules of the particles."""
        return replace(draws, matrices=self.matrices, shifts=np.zeros_like(draws.shifts))


def draw_nuisances(
    radius: np.ndarray, box: int, recipe: Recipe, generator: np.random.Generator
) -> Nuisances | None:
    """Draw what sets show besides.

    Parameters
    ----------
    radius : ndarray
        `(sets, images)` of each image's molecule, pixels.
    box : int
        `N`, pixels.
    recipe : Recipe
        The distribution.
    generator : numpy.random.Generator
        Source of randomness, not touched where the recipe asks for nothing.

    Returns
    -------
    Nuisances or None
        None where the recipe asks for nothing.
    """
    if not (recipe.contrast_spread or recipe.slope or recipe.neighbour_share or recipe.ice):
        return None
    size = radius.shape
    contrast = draw_contrasts(size, recipe.contrast_spread, generator)
    gradients = draw_gradients(size, recipe.slope, generator)
    found = draw_neighbours(recipe.neighbour_share, radius.ravel(), box, generator)
    # Drawn last, and only where there is any: recipes without draw what they drew before there was ice.
    ice = np.zeros(size)
    if recipe.ice:
        ice += generator.uniform(0, recipe.ice, len(radius))[:, None]
    if recipe.ice_spread:
        ice *= draw_contrasts(size, recipe.ice_spread, generator)
    everywhere = Nuisances(
        contrast,
        gradients,
        found.present.reshape(size),
        matrices_from_angles(found.angles).unflatten(0, size),
        found.places.unflatten(0, size),
        ice,
    )
    # Drawn after all else, and only where some sets have none, as above.
    if recipe.real_share == 1:
        return everywhere
    return everywhere.only_in(generator.random(len(radius)) < recipe.real_share)
