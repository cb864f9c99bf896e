"""Neighbours: other copies of the molecule that reach into the box from the side."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf import CtfParameters, apply_ctf, compute_ctf
from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.projections import VolumeTransform, take_projections

#: Share of a density's total that the sphere of its radius holds: molecules at twice the radius touch, and their
#: fringes overlap, as those of long ones do, and of those at different heights in the ice.
INSIDE_RADIUS = 0.8


@dataclass(frozen=True)
class Neighbours:
    """The neighbour of each of `n` particles.

    Attributes
    ----------
    present : ndarray
        `(n,)` bool: whether there is one.
    angles : Tensor
        `(n, 3)` rot, tilt, psi, degrees.
    places : Tensor
        `(n, 2)` x and y of its centre from that of the box, pixels.
    """

    present: np.ndarray
    angles: Tensor
    places: Tensor


def measure_radius(volume: Tensor) -> float:
    """Find the radius in voxels of the sphere about the centre that holds 0.8 of a density `(N, N, N)`.

    At most `N / 2`: projections leave out what lies beyond.
    """
    box = volume.shape[-1]
    squared = (torch.arange(box) - box // 2) ** 2
    radius = (squared[:, None, None] + squared[None, :, None] + squared).float().sqrt()
    held = torch.bincount(radius.round().long().flatten(), volume.clamp(min=0).double().flatten())
    share = held.cumsum(0) / held.sum()
    return min(float((share < INSIDE_RADIUS).sum()), box / 2)


def draw_neighbours(
    share: float, radius: np.ndarray, box: int, generator: np.random.Generator
) -> Neighbours:
    """Draw which particles have a neighbour, its orientation, and where it lies.

    Parameters
    ----------
    share : float
        Of the particles that have one.
    radius : ndarray
        `(n,)` of each particle's molecule, pixels, at most `N / 2`: the two touch at twice this, and at half a box more
        than this little of the neighbour is left in the box. Its distance is uniform in between, its direction too.
    box : int
        `N`, pixels.
    generator : numpy.random.Generator
        Source of randomness.
    """
    count = len(radius)
    present = generator.random(count) < share
    distance = generator.uniform(2 * radius, box / 2 + radius)
    direction = generator.uniform(0, 2 * np.pi, count)
    places = distance[:, None] * np.stack([np.cos(direction), np.sin(direction)], axis=1)
    return Neighbours(present, draw_orientations(count, generator), torch.from_numpy(places))


def project_neighbours(
    transform: VolumeTransform,
    angles: Tensor,
    places: Tensor,
    ctf: CtfParameters | None,
    pixel_size: float,
) -> Tensor:
    """Make the images of neighbours that lie partly outside the box.

    Parameters
    ----------
    transform : VolumeTransform
        Of the molecule, box `N`.
    angles, places : Tensor
        `(k, 3)` degrees and `(k, 2)` pixels, x and y from the centre of the box; at most `N` away.
    ctf : CtfParameters or None
        Of the `k` images. It acts before the box is cut out, so that fringes of what lies outside reach inside.
    pixel_size : float
        Angstrom.

    Returns
    -------
    Tensor
        `(k, N, N)`.
    """
    wide_ctf = None if ctf is None else compute_ctf(ctf, pixel_size, 2 * transform.box)
    return move_beside(take_projections(transform, angles), places, wide_ctf)


def move_beside(images: Tensor, places: Tensor, wide_ctf: Tensor | None = None) -> Tensor:
    """Move images `(k, N, N)` off the centre of their boxes, by `(k, 2)` pixels, x and y; what leaves the box is lost.

    Parameters
    ----------
    images, places : Tensor
        At most `N` pixels are moved.
    wide_ctf : Tensor, optional
        `(k, 2 N, N + 1)` CTFs that act before the box is cut out.
    """
    box = images.shape[-1]
    wide = torch.nn.functional.pad(images, [box // 2] * 4)
    wide = shift_images(wide, places)
    if wide_ctf is not None:
        wide = apply_ctf(wide, wide_ctf)
    return wide[..., box // 2 : box // 2 + box, box // 2 : box // 2 + box]
