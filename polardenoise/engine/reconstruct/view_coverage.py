"""How much of Fourier space the views of two half maps measure: what else is there, their correlation does not know.

An image measures the plane through the origin that is normal to its viewing direction, and of a shell as much as lies
within a voxel of that plane. A few views measure a few planes; where both half maps have the same ones, they agree
there, whatever the rest of the molecule looks like, and the correlation of the shell says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polardenoise.counts import word_count
from polardenoise.engine.imaging.euler_angles import matrices_from_angles, spread_directions

#: Directions of Fourier space that are asked about, spread evenly over half a sphere.
DIRECTIONS = 1000
#: Distance from a plane up to which a voxel is measured: that of the gridding kernel (`backprojection.BLOB_RADIUS`).
REACH = 1.0
#: Share of the directions that both halves must have measured. In all directions 120 images do so for a shell of 32
#: voxels; what is tilted by up to 53 degrees from one axis has this share, however many there are.
ENOUGH = 0.8
#: Views less than this apart, degrees, count as one.
SAME_VIEW = 1.0
#: Views are counted up to this many: more are not few.
MOST_COUNTED = 100
VIEWS_AT_ONCE = 4096


@dataclass(frozen=True)
class MeasuredShares:
    """Shares of a shell of Fourier space that both halves have measured.

    Attributes
    ----------
    by_images : float
        What the images themselves measure.
    with_symmetry : float
        What they and their symmetric copies measure: as much as they do if the molecule has the symmetry.
    """

    by_images: float
    with_symmetry: float


def measure_shares(
    angles: np.ndarray, halves: tuple[np.ndarray, np.ndarray], symmetry: Tensor, shell: float
) -> MeasuredShares:
    """Give what both halves have measured, with and without symmetry; parameters as for `measure_share`."""
    by_images = measure_share(angles, halves, symmetry[:1], shell)
    if len(symmetry) == 1:
        return MeasuredShares(by_images, by_images)
    return MeasuredShares(by_images, measure_share(angles, halves, symmetry, shell))


def measure_share(
    angles: np.ndarray, halves: tuple[np.ndarray, np.ndarray], symmetry: Tensor, shell: float
) -> float:
    """Give the share of a shell of Fourier space that both halves have measured.

    Parameters
    ----------
    angles : ndarray
        `(n, 3)` rot, tilt, psi of all particles, degrees.
    halves : tuple of ndarray
        Rows of each half, from 0.
    symmetry : Tensor
        `(s, 3, 3)` rotations of the point group.
    shell : float
        Its radius, voxels of the transform of the box.
    """
    gaps = torch.stack([find_gaps(angles, rows, symmetry, shell) for rows in halves]).amax(0)
    return float((gaps * shell <= REACH).double().mean())


def find_gaps(angles: np.ndarray, rows: np.ndarray, symmetry: Tensor, shell: float) -> Tensor:
    """Find how far each direction of Fourier space lies from the nearest plane that an image measures.

    Parameters
    ----------
    angles, symmetry, shell
        As for `measure_share`. Where all of the shell is measured nobody looks for nearer planes.
    rows : ndarray
        `(m,)` the particles asked about, from 0.

    Returns
    -------
    Tensor
        `(DIRECTIONS,)` sine of the angle from the plane, 0 to 1.
    """
    directions = spread_directions(DIRECTIONS)
    gaps = torch.ones(DIRECTIONS)
    for some in np.split(rows, range(VIEWS_AT_ONCE, len(rows), VIEWS_AT_ONCE)):
        views = matrices_from_angles(torch.from_numpy(angles[some]))[:, :, 2].float()
        for rotation in symmetry.float():
            distances = (directions @ rotation @ views.T).abs().amin(1)
            torch.minimum(gaps, distances, out=gaps)
        if (gaps * shell <= REACH).all():
            break
    return gaps


def count_views(angles: np.ndarray, symmetry: Tensor) -> int:
    """Count the views of particles, `(n, 3)` degrees, up to `MOST_COUNTED`: opposite and symmetric ones are one."""
    directions = matrices_from_angles(torch.from_numpy(angles))[:, :, 2].float()
    cosine = float(np.cos(np.radians(SAME_VIEW)))
    count = 0
    while len(directions) and count < MOST_COUNTED:
        for copy in symmetry.float() @ directions[0]:
            directions = directions[(directions @ copy).abs() < cosine]
        count += 1
    return count


def doubt_views(
    shares: MeasuredShares, angles: np.ndarray, symmetry: Tensor, group: str, angstrom: float
) -> list[str]:
    """Word that the views of a set measure too little for its half maps to tell a resolution.

    Parameters
    ----------
    shares : MeasuredShares
        Of the directions: what both halves have measured where their correlation falls.
    angles, symmetry
        As for `measure_share`.
    group : str
        The name of the point group.
    angstrom : float
        Where the correlation falls.
    """
    if shares.by_images >= ENOUGH:
        return []
    by_images, with_symmetry = f"{shares.by_images:.0%}", f"{shares.with_symmetry:.0%}"
    if shares.with_symmetry >= ENOUGH:
        return [
            f"the images themselves are seen from too few sides{word_views(angles, symmetry[:1])}: both halves have "
            f"measured {by_images} of all directions at {angstrom:.2f} A, {with_symmetry} if their copies by symmetry "
            f"{group} count, {ENOUGH:.0%} are needed; the FSC is a resolution only if the molecule has that symmetry: "
            "compare with --symmetry c1, or add particles of other views"
        ]
    themselves, cure = "", "add particles of other views"
    if len(symmetry) > 1:
        themselves = f" ({by_images} without symmetry {group})"
    else:
        cure += ", or, if the molecule has one, its --symmetry"
    return [
        f"the particles are seen from too few sides{word_views(angles, symmetry)}: both halves have measured "
        f"{with_symmetry} of all directions at {angstrom:.2f} A{themselves}, {ENOUGH:.0%} are needed; the FSC says "
        f"nothing of the rest of the map, and is no resolution: {cure}"
    ]


def word_views(angles: np.ndarray, symmetry: Tensor) -> str:
    """Say in brackets how many views there are; nothing where they are many."""
    views = count_views(angles, symmetry)
    return f" ({word_count(views, 'view')})" if views < MOST_COUNTED else ""
