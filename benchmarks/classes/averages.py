"""How good class averages are: each is put back to where its particles lie, and held against the truth of each.

What is read is the layout of a RELION Class2D job, ours and RELION's own alike.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.evaluate.against_truth import compare_images
from polardenoise.engine.imaging.euler_angles import matrices_from_angles
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.rotation import rotate_images
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.star import read_star
from polardenoise.engine.particles.star_tables import find_particle_table


@dataclass(frozen=True)
class PlacedImages:
    """Where the images of a set lie in their classes, in the order of the stack.

    Attributes
    ----------
    number : ndarray
        `(n,)` int64 class, from 1.
    psi : ndarray
        `(n,)` degrees, RELION's.
    origins : ndarray
        `(n, 2)` Angstrom, RELION's: minus where the particle lies.
    """

    number: np.ndarray
    psi: np.ndarray
    origins: np.ndarray


def read_placed_images(data: Path) -> PlacedImages:
    """Read `NAME_data.star`, whatever the order of its rows."""
    document = read_star(data)
    table = find_particle_table(document)
    place = np.array([int(name.partition("@")[0]) for name in table.column("rlnImageName")])
    order = np.argsort(place)
    values = {
        name: np.array(table.column(name), dtype=np.float64)[order]
        for name in ("rlnClassNumber", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst")
    }
    number, psi, x, y = values.values()
    return PlacedImages(number.astype(np.int64), psi, np.stack([x, y], 1))


def read_averages(stack: Path) -> Tensor:
    """Read `NAME_classes.mrcs`, `(classes, N, N)`."""
    averages = read_particles(stack, pixel_size=1.0)
    return torch.from_numpy(read_images(averages, slice(None)))


def put_back(averages: Tensor, placed: PlacedImages, pixel_size: float) -> Tensor:
    """Turn and move the average of each image's class to where the image lies in its box, `(n, N, N)`."""
    own = averages[torch.from_numpy(placed.number - 1)]
    turned = rotate_images(own, torch.from_numpy(placed.psi))
    return shift_images(turned, torch.from_numpy(-placed.origins / pixel_size))


def measure_error(
    averages: Tensor, placed: PlacedImages, clean: Tensor, pixel_size: float
) -> float:
    """Relative MSE of averages that were put back, after the one scale for all that makes it smallest."""
    return compare_images(put_back(averages, placed, pixel_size), clean).relative_mse_scaled()


def measure_viewing_angle(number: np.ndarray, angles: np.ndarray, symmetry: Tensor) -> float:
    """Median angle between an image's viewing direction and that of the image in the middle of its class, degrees.

    Parameters
    ----------
    number : ndarray
        `(n,)` class of each.
    angles : ndarray
        `(n, 3)` true Euler angles, degrees.
    symmetry : Tensor
        `(m, 3, 3)` turns that bring the molecule onto itself. Mirror images are apart: no turn brings them together.
    """
    directions = matrices_from_angles(torch.from_numpy(angles).double())[:, :, 2]
    found = []
    for one in np.unique(number):
        own = directions[torch.from_numpy(np.flatnonzero(number == one))]
        cosine = torch.stack([own @ turn @ own.T for turn in symmetry.to(own)]).amax(0)
        apart = cosine.clamp(-1, 1).arccos().rad2deg()
        found.append(apart[:, apart.sum(0).argmin()])
    return float(torch.cat(found).median())
