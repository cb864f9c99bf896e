"""Twins: classes of the two halves that show the same, found from their finished averages, and joined for display.

Averages of one molecule are alike in what is coarse, whatever they show: which go together is told with every ring of
frequencies as strong as any other.

Nothing of one half goes into the classes of the other: who is in which class is settled before.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from polardenoise.engine.classes.averages import ClassSums
from polardenoise.engine.classes.placement import find_turns
from polardenoise.engine.imaging.ctf_rings import unit_ctf_rings
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.ring_harmonics import FourierRings
from polardenoise.engine.imaging.rotation import turn_images, wrap_degrees
from polardenoise.engine.imaging.rotational_matching import match_images
from polardenoise.engine.neighbours.displacements import correlate, find_peaks

#: Averages that correlate less show different things: they are no twins.
ALIKE = 0.8
#: Rings that have less than this of the energy of the strongest one are strengthened as if they had as much.
FAINTEST_RING = 1e-4
#: Classes that are compared with those of the other half at once.
CLASSES_AT_ONCE = 256


@dataclass(frozen=True)
class Twins:
    """Pairs of classes of two halves.

    Attributes
    ----------
    first, second : Tensor
        `(k,)` int64 classes of either half.
    correlation : Tensor
        `(k,)` of their averages, from `ALIKE` to 1.
    degrees, shifts : Tensor
        `(k,)` counter-clockwise and `(k, 2)` pixels `(x, y)`: turn the second average, then move it, and it lies as the
        first one does.
    """

    first: Tensor
    second: Tensor
    correlation: Tensor
    degrees: Tensor
    shifts: Tensor


def find_twins(
    first: Tensor,
    second: Tensor,
    rings: FourierRings,
    grid: PolarGrid,
    last_empty: tuple[bool, bool] = (False, False),
) -> Twins:
    """Pair finished averages `(m, box, box)` and `(k, box, box)` of two halves, each with one at most.

    Pairs are those that correlate best, in all, with all rings equally strong; what correlates by less than `ALIKE` as
    it is, is none. `last_empty` says of either half whether its last class is that of images that hold next to nothing:
    two such are twins whatever their averages show, and no others are theirs.
    """
    own, theirs = rings.to_harmonics(first), rings.to_harmonics(second)
    weights = weigh_rings(own, theirs, rings)
    correlation = correlate_averages(own, theirs, rings).cpu().numpy()
    flat = correlate_averages(own * weights, theirs * weights, rings).cpu().numpy()
    for likeness in (correlation, flat):
        if last_empty[0]:
            likeness[-1] = -1
        if last_empty[1]:
            likeness[:, -1] = -1
        if all(last_empty):
            likeness[-1, -1] = 1
    one, other = linear_sum_assignment(-flat)
    kept = correlation[one, other] >= ALIKE
    of_first = torch.from_numpy(one[kept]).to(first.device)
    of_second = torch.from_numpy(other[kept]).to(first.device)
    degrees, shifts = lay_onto(first[of_first], second[of_second], rings, grid)
    found = torch.from_numpy(correlation[one[kept], other[kept]]).to(first)
    return Twins(of_first, of_second, found, degrees, shifts)


def weigh_rings(own: Tensor, theirs: Tensor, rings: FourierRings) -> Tensor:
    """Find what makes all rings equally strong in averages of two halves, given by harmonics: `(rings,)`."""
    energy = torch.cat([rings.ring_energies(one) for one in (own, theirs)]).mean(0)
    return energy.clamp_min(max(float(FAINTEST_RING * energy.max()), 1e-12)).rsqrt()


def correlate_averages(own: Tensor, theirs: Tensor, rings: FourierRings) -> Tensor:
    """Correlate averages of harmonics `(2, modes, m, rings)` and `(2, modes, k, rings)` at their best rotations.

    Returns
    -------
    Tensor
        `(m, k)`.
    """
    their_energy = rings.ring_energies(theirs).sum(1).clamp_min(1e-12)
    parts = []
    for some in own.split(CLASSES_AT_ONCE, 2):
        own_energy = rings.ring_energies(some).sum(1).clamp_min(1e-12)
        everywhere = some.new_ones(some.shape[2], rings.box // 2)  # averages have no CTF
        found = match_images(some, everywhere, theirs, rings)
        inner = found.likelihood + 0.5 * their_energy
        parts.append(inner / (own_energy[:, None] * their_energy).sqrt())
    return torch.cat(parts)


def lay_onto(
    first: Tensor, second: Tensor, rings: FourierRings, grid: PolarGrid
) -> tuple[Tensor, Tensor]:
    """Find the degrees `(k,)` and shifts `(k, 2)` that lay each second average onto its first one."""
    if len(first) == 0:
        return first.new_zeros(0), first.new_zeros(0, 2)
    degrees = find_turns(rings.to_harmonics(first), rings.to_harmonics(second), rings)
    likelihood = correlate(
        first, unit_ctf_rings(first[None])[0], turn_images(second, degrees, grid)
    )
    return degrees, find_peaks(likelihood, likelihood)[0]


def lay_sums(second: ClassSums, twins: Twins, grid: PolarGrid) -> ClassSums:
    """Give the sums of the second half's twins, laid onto those of the first half's, in the order of the pairs."""
    parts = [
        shift_images(
            turn_images(second.images[twins.second, part], twins.degrees, grid), twins.shifts
        )
        for part in (0, 1)
    ]
    return ClassSums(torch.stack(parts, 1), second.weights[twins.second])


def lay_images_onto(
    degrees: np.ndarray, displacements: np.ndarray, turn: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Say of images placed in a class how they lie in the average of its twin.

    Parameters
    ----------
    degrees, displacements : ndarray
        `(n,)` and `(n, 2)`: turn the class's average by the one, move it by the other, and it lies as the image does.
    turn, shift : ndarray
        `(n,)` and `(n, 2)`: turned by the one and moved by the other the class's average lies as the twin's does.

    Returns
    -------
    tuple of ndarray
        The same of the twin's average.
    """
    turned = degrees - turn
    cosine, sine = np.cos(np.deg2rad(turned)), np.sin(np.deg2rad(turned))
    x = cosine * shift[:, 0] - sine * shift[:, 1]
    y = sine * shift[:, 0] + cosine * shift[:, 1]
    return wrap_degrees(turned), displacements - np.stack([x, y], 1)
