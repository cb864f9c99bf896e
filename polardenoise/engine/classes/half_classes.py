"""The classes of one half: formed of its denoised images, then its raw images are placed in them and summed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.classes.averages import (
    ClassSums,
    add_to_sums,
    begin_sums,
    find_noise_to_signal,
    finish_sums,
)
from polardenoise.engine.classes.formation import choose_whole_folds, form_classes
from polardenoise.engine.classes.placement import Placement, place_images
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.ring_harmonics import FourierRings, build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import ROTATIONS, compute_image_harmonics
from polardenoise.engine.neighbours.grouping import draw_halves
from polardenoise.engine.particles.scratch_file import ScratchImages
from polardenoise.engine.particles.shared_pixels import SharedPixels
from polardenoise.engine.particles.token_numbers import number_by_appearance
from polardenoise.engine.runtime.progress import tell_pass

#: Images that define the classes together; further ones are assigned to them, so that memory does not grow.
TOGETHER = 4096
#: Share of the images that the smaller part of a half has at least: where there are few micrographs, images are drawn.
SMALLEST_PART = 0.25
#: Raw images that are placed or summed at once.
IMAGES_AT_ONCE = 512

#: Passes of the work on a half, as its progress counts them: the classes are found, which takes longest, all images are
#: summed, placed and summed once more.
PASSES_OF_FINDING, PASSES = 6, 9

#: Loads the denoised images of a cluster by its place in the list: `(n, box, box)` at the centre, and `(n, 2)` pixels
#: `(x, y)`, how far each particle lay off it.
LoadEstimates = Callable[[int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class HalfClasses:
    """The classes of the images of one half.

    Attributes
    ----------
    rows : ndarray
        `(n,)` int64 the row that each image is read from.
    number : Tensor
        `(n,)` int64 class of each, from 0.
    placement : Placement
        Of each in its class.
    sums : ClassSums
        Of its raw images.
    noise_to_signal : Tensor
        `(box // 2,)`, see `find_noise_to_signal`.
    has_empty : bool
        Whether the last class is that of images that hold next to nothing.
    """

    rows: np.ndarray
    number: Tensor
    placement: Placement
    sums: ClassSums
    noise_to_signal: Tensor
    has_empty: bool


def class_half(
    clusters: Sequence[np.ndarray],
    load: LoadEstimates,
    scratch: ScratchImages,
    shared: SharedPixels,
    grid: PolarGrid,
    count: int | None,
    seed: int,
) -> HalfClasses:
    """Class the images of one half.

    Parameters
    ----------
    clusters : sequence of ndarray
        `(n,)` rows of the images of each cluster.
    load : LoadEstimates
        Their denoised images.
    scratch : ScratchImages
        The raw images of all rows, protein bright.
    shared : SharedPixels
        Which images share pixels.
    grid : PolarGrid
        Of the network's box, on the device to compute on.
    count : int or None
        Classes that are asked for; None for as many as there are views that can be told apart.
    seed : int
        Fixes what is drawn.
    """
    rows = np.concatenate(list(clusters))
    images = shared.image_of_row[rows]
    folds = shared.fold[images]
    rings = build_fourier_rings(grid.box)
    number, placement, has_empty = find_classes(
        clusters, load, scratch, shared, rings, grid.forward_blocks.device, count, seed
    )
    tell_pass(PASSES_OF_FINDING)
    part = torch.from_numpy(draw_parts(folds, seed)).to(number.device)
    classes = int(number.max()) + 1
    sums = sum_half(rows, scratch, 2 * number + part, placement, classes, grid)
    noise_to_signal = find_noise_to_signal(sums)
    fixed = torch.from_numpy(find_fixed(number.cpu().numpy(), images, shared)).to(number.device)
    if has_empty:
        fixed |= number == classes - 1
    placed = []
    for some in torch.arange(len(rows)).split(IMAGES_AT_ONCE):
        here = some.to(number.device)
        own = Placement(placement.degrees[here], placement.displacements[here])
        raw, ctf_rings = read_raw(scratch, rows[some.numpy()], number.device)
        new = place_images(raw, ctf_rings, number[here], own, sums, noise_to_signal, grid, rings)
        stays = fixed[here]
        placed.append(
            (
                torch.where(stays, own.degrees, new.degrees),
                torch.where(stays[:, None], own.displacements, new.displacements),
            )
        )
        tell_pass(len(some) / len(rows))
    placement = Placement(*(torch.cat(values) for values in zip(*placed, strict=True)))
    sums = sum_half(rows, scratch, 2 * number + part, placement, classes, grid)
    return HalfClasses(rows, number, placement, sums, find_noise_to_signal(sums), has_empty)


def draw_parts(folds: np.ndarray, seed: int) -> np.ndarray:
    """Divide the images of a half into two parts, `(n,)` 0 and 1, that share no pixels where micrographs allow it."""
    parts = draw_halves(number_by_appearance(folds), seed) - 1
    if np.bincount(parts, minlength=2).min() < SMALLEST_PART * len(parts):
        parts = draw_halves(np.arange(len(folds)), seed) - 1
    return parts


def find_classes(
    clusters: Sequence[np.ndarray],
    load: LoadEstimates,
    scratch: ScratchImages,
    shared: SharedPixels,
    rings: FourierRings,
    device: torch.device,
    count: int | None,
    seed: int,
) -> tuple[Tensor, Placement, bool]:
    """Find the class of every image, where it lies so far, and whether the last class is of empty images.

    Classes are those of `TOGETHER` images or more, whole micrographs; all others are assigned to them.
    """
    rows = np.concatenate(list(clusters))
    images = shared.image_of_row[rows]
    chosen = np.isin(np.arange(len(rows)), choose_whole_folds(shared.fold[images], TOGETHER, seed))
    bounds = np.cumsum([0, *map(len, clusters)])
    estimates, noisy, all_ctf_rings, displacements = [], [], [], []
    for place, own in enumerate(clusters):
        some = chosen[bounds[place] : bounds[place + 1]]
        denoised, moved = (values.to(device) for values in load(place))
        displacements.append(moved)
        here = torch.from_numpy(some)
        raw, ctf_rings = read_raw(scratch, own[some], device)
        centred = shift_images(raw, -moved[here.to(device)]) if len(raw) else raw
        estimates.append(rings.to_harmonics(denoised[here.to(device)]))
        noisy.append(compute_image_harmonics(centred, ctf_rings, rings))
        all_ctf_rings.append(ctf_rings)
    apart = shared.mask(images[chosen])
    formed = form_classes(
        torch.cat(estimates, 2),
        torch.cat(noisy, 2),
        torch.cat(all_ctf_rings),
        rings,
        shared.fold[images[chosen]],
        None if apart is None else torch.from_numpy(apart).to(device),
        count,
        seed,
    )
    number = torch.zeros(len(rows), dtype=torch.int64, device=device)
    rotation = torch.zeros_like(number)
    among = torch.from_numpy(chosen).to(device)
    number[among], rotation[among] = formed.number, formed.rotation
    for place in range(len(clusters)):
        others = ~among[bounds[place] : bounds[place + 1]]
        if not others.any():
            continue
        here = torch.arange(bounds[place], bounds[place + 1], device=device)[others]
        denoised = load(place)[0].to(device)[others]
        number[here], rotation[here] = formed.assign(rings.to_harmonics(denoised), rings)
    placement = Placement(rotation * (360.0 / ROTATIONS), torch.cat(displacements))
    return number, placement, bool((number == formed.averages.shape[2]).any())


def sum_half(
    rows: np.ndarray,
    scratch: ScratchImages,
    part_of_class: Tensor,
    placement: Placement,
    classes: int,
    grid: PolarGrid,
) -> ClassSums:
    """Sum the raw images of a half, class by class, see `add_to_sums`."""
    device = part_of_class.device
    sums = begin_sums(classes, grid, device)
    for some in torch.arange(len(rows)).split(IMAGES_AT_ONCE):
        here = some.to(device)
        raw, ctf_rings = read_raw(scratch, rows[some.numpy()], device)
        add_to_sums(
            sums,
            raw,
            ctf_rings,
            part_of_class[here],
            placement.degrees[here],
            placement.displacements[here],
            grid,
        )
        tell_pass(len(some) / len(rows))
    return finish_sums(sums, grid)


def read_raw(
    scratch: ScratchImages, rows: np.ndarray, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Read raw images `(n, box, box)` and their CTF rings."""
    images, ctf_rings = scratch.read_with_ctf_rings(rows)
    return images.to(device), ctf_rings.to(device)


def find_fixed(number: np.ndarray, images: np.ndarray, shared: SharedPixels) -> np.ndarray:
    """Tell which images share pixels with one of their class, `(n,)` bool: these stay where they lie."""
    fixed = np.zeros(len(number), dtype=bool)
    crowded = np.flatnonzero(shared.crowded[images])
    fold = shared.fold[images[crowded]]
    order = np.argsort(fold, kind="stable")
    for places in np.split(crowded[order], np.flatnonzero(np.diff(fold[order])) + 1):
        if len(places) > 1:
            clash = shared.may_not_meet(images[places][:, None], images[places][None])
            fixed[places] = (clash & (number[places][:, None] == number[places])).any(1)
    return fixed
