"""Placement: the angle and the displacement of each image in its class, finer than the search has left them.

An image is held against the average of its class without itself: else it would find its own noise there and stay.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.classes.averages import ClassSums
from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.ring_harmonics import FourierRings
from polardenoise.engine.imaging.rotation import turn_images, wrap_degrees
from polardenoise.engine.imaging.rotational_matching import (
    compute_image_harmonics,
    rotation_matrix,
)
from polardenoise.engine.neighbours.displacements import correlate, find_displacements

#: Rotations that are tried, evenly over a turn: less than a degree apart.
FINE_ROTATIONS = 480


@dataclass(frozen=True)
class Placement:
    """Where the images of classes lie.

    Attributes
    ----------
    degrees : Tensor
        `(n,)` counter-clockwise: take the average onto the image.
    displacements : Tensor
        `(n, 2)` pixels, `(x, y)`: how far the particle lies off the centre of its image.
    """

    degrees: Tensor
    displacements: Tensor


def place_images(
    images: Tensor,
    ctf_rings: Tensor,
    number: Tensor,
    current: Placement,
    sums: ClassSums,
    noise_to_signal: Tensor,
    grid: PolarGrid,
    rings: FourierRings,
) -> Placement:
    """Place images in their classes: first the displacement, then the angle.

    Parameters
    ----------
    images, ctf_rings : Tensor
        `(n, box, box)` raw, and `(n, box // 2)`.
    number : Tensor
        `(n,)` class of each.
    current : Placement
        By which they are in the sums.
    sums, noise_to_signal
        Of all classes.
    grid, rings
        Of the same box.
    """
    others = average_others(images, ctf_rings, number, current, sums, noise_to_signal, grid)
    centred = shift_images(images, -current.displacements)
    likelihood = correlate(centred, ctf_rings, others)
    # The average has nothing of the image, nor is it blurred by more than the images' own spread: as it says.
    found, _, _ = find_displacements(
        likelihood[None],
        current.displacements[None],
        spread_factor=1.0,
        step_factor=1.0,
        sharpness=1.0,
    )
    displacements = found[0]
    centred = shift_images(images, -displacements)
    turned = find_turns(
        compute_image_harmonics(centred, ctf_rings, rings), rings.to_harmonics(others), rings
    )
    return Placement(current.degrees + turned, displacements)


def average_others(
    images: Tensor,
    ctf_rings: Tensor,
    number: Tensor,
    current: Placement,
    sums: ClassSums,
    noise_to_signal: Tensor,
    grid: PolarGrid,
) -> Tensor:
    """Average for each image the others of its class, turned onto it, `(n, box, box)`, without CTF."""
    disk = disk_mask(grid.box, grid.box / 2 - 0.5, images.device).to(images)
    onto = turn_images(sums.images.sum(1)[number], current.degrees, grid)
    own = disk * filter_by_rings(shift_images(images, -current.displacements), ctf_rings)
    weights = sums.weights.sum(1)[number] - ctf_rings.square()
    return filter_by_rings(onto - own, 1 / (weights.clamp_min(0) + noise_to_signal))


def find_turns(images: Tensor, references: Tensor, rings: FourierRings) -> Tensor:
    """Find the degrees, `(n,)` from -180 to 180, that turn each reference onto its image.

    Both are harmonics `(2, modes, n, rings)`, the images as they are matched.
    """
    one, other = torch.complex(*images), torch.complex(*references)
    products = (one * other.conj()).sum(-1).T  # (n, modes)
    scores = torch.cat([products.real, products.imag], 1) @ (
        rotation_matrix(rings.modes, images.device, FINE_ROTATIONS).T
    )
    return wrap_degrees(scores.argmax(1) * (360.0 / FINE_ROTATIONS))
