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
from polardenoise.engine.imaging.rotation import wrap_degrees
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
    place = place_second(first, second, twins)
    shown = show_images(first, second, twins, place)
    classes = len(sums.images)
    sizes = np.stack([np.bincount(numbers, minlength=classes) for numbers in shown.number], 1)
    if second is None:
        sizes = np.pad(sizes, ((0, 0), (0, 1)))
    number, rows = np.concatenate(shown.number), np.concatenate(shown.rows)
    of_class = np.array(
        [np.median(score[rows[number == one]]) for one in range(classes)], dtype=np.float64
    )
    order = sort_classes(of_class, resolution, find_empty(first, second, place))
    rank = np.empty(classes, dtype=np.int64)
    rank[order] = np.arange(1, classes + 1)
    correlation = np.zeros(classes)
    correlation[twins.first.cpu().numpy()] = twins.correlation.cpu().numpy()
    shown_averages = average_sums(sums, find_noise_to_signal(sums)).cpu().numpy()
    degrees = wrap_degrees(np.concatenate(shown.degrees)).astype(np.float32)
    displacements = np.concatenate(shown.displacements).astype(np.float32)
    count = len(shared.image_of_row)
    return JoinedClasses(
        shown_number=spread(rows, rank[number], count, shared),
        shown_degrees=spread(rows, degrees, count, shared),
        shown_displacements=spread(rows, displacements, count, shared),
        shown_averages=shown_averages[order],
        shown_sizes=sizes[order],
        shown_resolution=resolution[order],
        shown_correlation=correlation[order],
        shown_score=of_class[order],
        **describe_halves(halves, averages, twins, shared),
    )


@dataclass(frozen=True)
class ShownImages:
    """The images of each half as they lie in the classes that are shown; lists of one half, or of two.

    Attributes
    ----------
    rows, number : list of ndarray
        `(n,)` int64 the row that each is read from, and its class among those shown, from 0, not yet sorted.
    degrees, displacements : list of ndarray
        `(n,)` and `(n, 2)` float64, as `JoinedClasses` has them.
    """

    rows: list[np.ndarray]
    number: list[np.ndarray]
    degrees: list[np.ndarray]
    displacements: list[np.ndarray]


def place_second(first: HalfClasses, second: HalfClasses | None, twins: Twins) -> np.ndarray:
    """Tell where the classes of the second half stand among those shown: at their twins, or behind, `(k,)`."""
    place = np.full(0 if second is None else len(second.sums.images), -1)
    place[twins.second.cpu().numpy()] = twins.first.cpu().numpy()
    alone = np.flatnonzero(place < 0)
    place[alone] = len(first.sums.images) + np.arange(len(alone))
    return place


def show_images(
    first: HalfClasses, second: HalfClasses | None, twins: Twins, place: np.ndarray
) -> ShownImages:
    """Say of the images of both halves how they lie in the classes that are shown; `place` is of `place_second`."""
    shown = ShownImages(
        [first.rows],
        [first.number.cpu().numpy()],
        [first.placement.degrees.cpu().numpy().astype(np.float64)],
        [first.placement.displacements.cpu().numpy().astype(np.float64)],
    )
    if second is None:
        return shown
    number = second.number.cpu().numpy()
    turn, shift = np.zeros(len(place)), np.zeros((len(place), 2))
    turn[twins.second.cpu().numpy()] = twins.degrees.cpu().numpy()
    shift[twins.second.cpu().numpy()] = twins.shifts.cpu().numpy()
    degrees, displacements = lay_images_onto(
        second.placement.degrees.cpu().numpy().astype(np.float64),
        second.placement.displacements.cpu().numpy().astype(np.float64),
        turn[number],
        shift[number],
    )
    return ShownImages(
        [*shown.rows, second.rows],
        [*shown.number, place[number]],
        [*shown.degrees, degrees],
        [*shown.displacements, displacements],
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
        "class_in_plane_degrees": spread(
            rows, wrap_degrees(degrees).astype(np.float32), count, shared
        ),
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
