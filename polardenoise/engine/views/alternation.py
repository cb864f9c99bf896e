"""Alternation: two folds of a half place their images in each other's volume, and make one volume of both.

An image that had helped to make a volume would find its own noise in it. So the images of each fold are placed by the
volume of the other one; what comes of both is for the images of the third.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.neighbours.template_denoising import find_by_templates
from polardenoise.engine.views.ab_initio import MOST_IMAGES, find_frames
from polardenoise.engine.views.frames import spread_frames
from polardenoise.engine.views.poses import (
    Views,
    draw_poses,
    measure_gains,
    prepare_views,
    scale_shells,
    show_views,
)
from polardenoise.engine.views.volume_sums import HalfSums, begin_sums, solve_volume

#: Views of a volume that images are compared with.
VIEWS = 1024
#: Images of each fold that the first volumes are made of, before all are placed.
FIRST_IMAGES = 2048
#: Images that are placed at once, and that the gains of a volume are measured on.
PLACED_AT_ONCE = 512


@dataclass(frozen=True)
class FoldImages:
    """The images of a fold, in an order of chance.

    Attributes
    ----------
    count : int
        How many.
    read : callable
        Takes a slice and gives these images `(n, box, box)`, phases flipped, noise of variance 1, and their |CTF|
        `(n, box // 2)` by ring.
    displacements : Tensor or None
        `(count, 2)` pixels, how far the particles lie off the centre as far as it is known, better each time that they
        are placed; None where all lie at the centre.
    """

    count: int
    read: Callable[[slice], tuple[Tensor, Tensor]]
    displacements: Tensor | None


@dataclass(frozen=True)
class PlacedImages:
    """Images with their poses in a volume, the first ones of some.

    Attributes
    ----------
    images, ctf_rings, frames : Tensor
        `(n, box, box)` at their centres, `(n, box // 2)` and `(n, 3, 3)`.
    """

    images: Tensor
    ctf_rings: Tensor
    frames: Tensor


def make_volume(
    first: FoldImages,
    second: FoldImages,
    estimates: Tensor,
    grid: PolarGrid,
    generator: torch.Generator,
    advance: Callable[[int], None],
) -> Tensor:
    """Make the volume that two folds speak for.

    Parameters
    ----------
    first, second : FoldImages
        Of the folds.
    estimates : Tensor
        `(m, box, box)` of images of the first fold, nearly free of noise, at their centres.
    grid : PolarGrid
        That views are compared and gathered on.
    generator : torch.Generator
        On the CPU.
    advance : callable
        Told the number of images that were placed, of `count_placed` in all.

    Returns
    -------
    Tensor
        `(box, box, box)`, one of the two mirror images, in any orientation.
    """
    placed = place_estimates(estimates, generator)
    volume = solve_volume(sum_placed(placed))
    both = []
    for fold, count in list_placements(first, second):
        views = prepare_views(volume, spread_frames(VIEWS, generator).to(estimates), grid)
        own, sums = place_fold(fold, count, views, generator, advance)
        volume = solve_volume(sums)
        gains = measure_gains(volume, placed.images, placed.ctf_rings, placed.frames)
        volume, placed = scale_shells(volume, gains), own
        both.append(sums)
    return scale_shells(solve_volume(both[-1] + both[-2]), gains)


def list_placements(first: FoldImages, second: FoldImages) -> list[tuple[FoldImages, int]]:
    """List which fold is placed after which, and how many of its images."""
    some = [(fold, min(FIRST_IMAGES, fold.count)) for fold in (second, first)]
    return some + [(fold, fold.count) for fold in (second, first)]


def count_placed(first: int, second: int) -> int:
    """Count the images that are placed for a volume of two folds of so many."""
    return sum(min(FIRST_IMAGES, count) + count for count in (first, second))


def place_estimates(estimates: Tensor, generator: torch.Generator) -> PlacedImages:
    """Find the poses of estimates `(m, box, box)`, of some at random if they are many, with nothing to begin with."""
    drawn = torch.randperm(len(estimates), generator=generator)[:MOST_IMAGES]
    some = estimates[drawn.to(estimates.device)]
    seen_whole = some.new_ones(len(some), some.shape[-1] // 2)
    return PlacedImages(some, seen_whole, find_frames(some, generator))


def sum_placed(placed: PlacedImages) -> HalfSums:
    """Sum images at their poses."""
    sums = begin_sums(placed.images.shape[-1], placed.images.device)
    sums.add_images(placed.images, placed.ctf_rings, placed.frames)
    return sums


def place_fold(
    fold: FoldImages,
    count: int,
    views: Views,
    generator: torch.Generator,
    advance: Callable[[int], None],
) -> tuple[PlacedImages, HalfSums]:
    """Place the first `count` images of a fold by views; their sums, and the first of them."""
    sums = begin_sums(views.templates.grid.box, views.frames.device)
    first = None
    for start in range(0, count, PLACED_AT_ONCE):
        some = slice(start, min(start + PLACED_AT_ONCE, count))
        images, ctf_rings = fold.read(some)
        if fold.displacements is None:
            frames = draw_poses(views, images, ctf_rings, generator)
        else:
            before = fold.displacements[some]
            centred = shift_images(images, -before)
            frames = draw_poses(views, centred, ctf_rings, generator)
            moved = find_by_templates(
                centred, ctf_rings, show_views(views.transform, frames), before
            )
            fold.displacements[some] = moved
            images = shift_images(images, -moved)
        sums.add_images(images, ctf_rings, frames)
        first = first or PlacedImages(images, ctf_rings, frames)
        advance(len(images))
    if first is None:
        raise ValueError("a fold without images")
    return first, sums
