"""The classes of both halves as one list: twins share a number, and their finished averages are joined for display."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from polardenoise.engine.classes.averages import (
    ClassSums,
    average_sums,
    find_noise_to_signal,
    measure_resolutions,
    split_parts,
)
from polardenoise.engine.classes.half_classes import HalfClasses
from polardenoise.engine.classes.twins import Twins, find_twins, lay_images_onto, lay_sums
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.particles.shared_pixels import SharedPixels

#: The arrays of the classes of halves, as `--matches` writes them.
OF_MATCHES = (
    "class_number",
    "class_in_plane_degrees",
    "class_averages",
    "class_half",
    "class_size",
    "class_twin",
)


@dataclass(frozen=True)
class JoinedClasses:
    """The classes of a run; rows are those of the particle set, displacements in pixels of the network's box.

    Attributes
    ----------
    shown_number : ndarray
        `(n,)` int64 class of each row, from 1: the best first, those of images that hold next to nothing last.
    shown_degrees, shown_displacements : ndarray
        `(n,)` and `(n, 2)` float32: turn the shown average counter-clockwise by the one, then move it by the other,
        `(x, y)`, and it lies as the image does.
    shown_averages : ndarray
        `(S, box, box)` float32, of both halves where there are twins.
    shown_sizes : ndarray
        `(S, 2)` int64 images of either half (all in the first where there is one).
    shown_resolution : ndarray
        `(S,)` Angstrom: to what detail the halves agree, or two parts of the class where it has no twin.
    shown_correlation : ndarray
        `(S,)` of the averages of the twins; 0 without one.
    shown_score : ndarray
        `(S,)` median score of the images.
    class_number, class_in_plane_degrees : ndarray
        `(n,)` the same of the classes of the half, from 1 over both.
    class_averages, class_half, class_size, class_twin : ndarray
        Of these classes; a twin of 0 is none.
    """

    shown_number: np.ndarray
    shown_degrees: np.ndarray
    shown_displacements: np.ndarray
    shown_averages: np.ndarray
    shown_sizes: np.ndarray
    shown_resolution: np.ndarray
    shown_correlation: np.ndarray
    shown_score: np.ndarray
    class_number: np.ndarray
    class_in_plane_degrees: np.ndarray
    class_averages: np.ndarray
    class_half: np.ndarray
    class_size: np.ndarray
    class_twin: np.ndarray


def join_halves(
    halves: Mapping[int, HalfClasses],
    score: np.ndarray,
    shared: SharedPixels,
    grid: PolarGrid,
    pixel_size: float,
) -> JoinedClasses:
    """Join the classes of one or two halves.

    Parameters
    ----------
    halves : mapping
        Half -> its classes.
    score : ndarray
        `(n,)` of each row.
    shared : SharedPixels
        Which rows show one image: all of them get its class.
    grid : PolarGrid
        Of the network's box, where the sums are.
    pixel_size : float
        Of that box, Angstrom.
    """
    names = sorted(halves)
    first, second = halves[names[0]], halves[names[-1]] if len(names) > 1 else None
    averages = [average_sums(one.sums, one.noise_to_signal) for one in halves.values()]
    twins = pair_halves(first, second, averages, grid)
    sums, resolution = show_sums(first, second, twins, grid, pixel_size)
    of_first = len(first.sums.images)
    # Where the classes of the second half stand among those shown: at their twins, or behind.
    place = np.full(0 if second is None else len(second.sums.images), -1)
    place[twins.second.cpu().numpy()] = twins.first.cpu().numpy()
    alone = np.flatnonzero(place < 0)
    place[alone] = of_first + np.arange(len(alone))
    rows = [one.rows for one in (first, second) if one is not None]
    number = [first.number.cpu().numpy()]
    degrees = [first.placement.degrees.cpu().numpy().astype(np.float64)]
    moved = [first.placement.displacements.cpu().numpy().astype(np.float64)]
    if second is not None:
        of_second = second.number.cpu().numpy()
        turn, shift = np.zeros(len(place)), np.zeros((len(place), 2))
        turn[twins.second.cpu().numpy()] = twins.degrees.cpu().numpy()
        shift[twins.second.cpu().numpy()] = twins.shifts.cpu().numpy()
        laid = lay_images_onto(
            second.placement.degrees.cpu().numpy().astype(np.float64),
            second.placement.displacements.cpu().numpy().astype(np.float64),
            turn[of_second],
            shift[of_second],
        )
        number.append(place[of_second])
        degrees.append(laid[0])
        moved.append(laid[1])
    classes = len(sums.images)
    sizes = np.zeros((classes, 2), dtype=np.int64)
    for column, numbers in enumerate(number):
        sizes[:, column] = np.bincount(numbers, minlength=classes)
    everywhere, all_rows = np.concatenate(number), np.concatenate(rows)
    of_class = np.array(
        [np.median(score[all_rows[everywhere == one]]) for one in range(classes)], dtype=np.float64
    )
    order = sort_classes(of_class, resolution, find_empty(first, second, place))
    rank = np.empty(classes, dtype=np.int64)
    rank[order] = np.arange(1, classes + 1)
    correlation = np.zeros(classes)
    correlation[twins.first.cpu().numpy()] = twins.correlation.cpu().numpy()
    shown_averages = average_sums(sums, find_noise_to_signal(sums)).cpu().numpy()
    count = len(shared.image_of_row)
    return JoinedClasses(
        shown_number=spread(all_rows, rank[everywhere], count, shared),
        shown_degrees=spread(
            all_rows, wrap(np.concatenate(degrees)).astype(np.float32), count, shared
        ),
        shown_displacements=spread(
            all_rows, np.concatenate(moved).astype(np.float32), count, shared
        ),
        shown_averages=shown_averages[order],
        shown_sizes=sizes[order],
        shown_resolution=resolution[order],
        shown_correlation=correlation[order],
        shown_score=of_class[order],
        **describe_halves(halves, averages, twins, shared),
    )


def pair_halves(
    first: HalfClasses, second: HalfClasses | None, averages: list[torch.Tensor], grid: PolarGrid
) -> Twins:
    """Find the twins of two halves; none where there is one. Classes of empty images pair with one another only."""
    if second is None:
        nothing = averages[0].new_zeros(0)
        nowhere = nothing.long()
        return Twins(nowhere, nowhere, nothing, nothing, averages[0].new_zeros(0, 2))
    return find_twins(
        averages[0],
        averages[1],
        build_fourier_rings(grid.box),
        grid,
        (first.has_empty, second.has_empty),
    )


def show_sums(
    first: HalfClasses,
    second: HalfClasses | None,
    twins: Twins,
    grid: PolarGrid,
    pixel_size: float,
) -> tuple[ClassSums, np.ndarray]:
    """Give the sums that are shown, the first half's, then the second's that have no twin; and their resolutions."""
    resolution = measure_resolutions(*split_parts(first.sums), pixel_size)
    if second is None:
        return first.sums, resolution.cpu().numpy()
    images, weights = first.sums.images.clone(), first.sums.weights.clone()
    if len(twins.first):
        own = ClassSums(images[twins.first], weights[twins.first])
        laid = lay_sums(second.sums, twins, grid)
        resolution[twins.first] = measure_resolutions(own, laid, pixel_size)
        images[twins.first] += laid.images
        weights[twins.first] += laid.weights
    alone = torch.ones(len(second.sums.images), dtype=torch.bool, device=images.device)
    alone[twins.second] = False
    others = ClassSums(second.sums.images[alone], second.sums.weights[alone])
    theirs = measure_resolutions(*split_parts(others), pixel_size)
    return (
        ClassSums(torch.cat([images, others.images]), torch.cat([weights, others.weights])),
        torch.cat([resolution, theirs]).cpu().numpy(),
    )


def find_empty(first: HalfClasses, second: HalfClasses | None, place: np.ndarray) -> np.ndarray:
    """Tell of the classes that are shown which are of images that hold next to nothing."""
    empty = np.zeros(max(len(first.sums.images), place.max(initial=-1) + 1), dtype=bool)
    if first.has_empty:
        empty[len(first.sums.images) - 1] = True
    if second is not None and second.has_empty:
        empty[place[-1]] = True
    return empty


def sort_classes(score: np.ndarray, resolution: np.ndarray, empty: np.ndarray) -> np.ndarray:
    """Sort classes by the median score of their images, the best first; of equal ones the finer; empty ones last."""
    return np.lexsort((resolution, -score, empty))


def describe_halves(
    halves: Mapping[int, HalfClasses],
    averages: list[torch.Tensor],
    twins: Twins,
    shared: SharedPixels,
) -> dict[str, np.ndarray]:
    """Describe the classes of each half, numbered on from 1, as `--matches` writes them."""
    before = np.cumsum([0, *(len(one) for one in averages)])
    twin = np.zeros(before[-1], dtype=np.int64)
    one, other = twins.first.cpu().numpy(), twins.second.cpu().numpy()
    twin[one], twin[before[-2] + other] = before[-2] + other + 1, one + 1
    parts = list(halves.values())
    rows = np.concatenate([part.rows for part in parts])
    number = np.concatenate(
        [part.number.cpu().numpy() + 1 + start for part, start in zip(parts, before, strict=False)]
    )
    degrees = np.concatenate([part.placement.degrees.cpu().numpy() for part in parts])
    count = len(shared.image_of_row)
    return {
        "class_number": spread(rows, number, count, shared),
        "class_in_plane_degrees": spread(rows, wrap(degrees).astype(np.float32), count, shared),
        "class_averages": torch.cat(averages).cpu().numpy(),
        "class_half": np.repeat(np.array(list(halves)), np.diff(before)),
        "class_size": np.bincount(number, minlength=before[-1] + 1)[1:],
        "class_twin": twin,
    }


def spread(rows: np.ndarray, values: np.ndarray, count: int, shared: SharedPixels) -> np.ndarray:
    """Give every one of `count` rows the value of its image, `(m, ...)`, which stands at the image's first row."""
    everywhere = np.zeros((count, *values.shape[1:]), dtype=values.dtype)
    everywhere[rows] = values
    return everywhere[shared.shown_by(np.arange(count))]


def wrap(degrees: np.ndarray) -> np.ndarray:
    """Bring degrees to -180 to 180."""
    return (degrees + 180.0) % 360.0 - 180.0
