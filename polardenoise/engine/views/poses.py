"""Poses of images in a volume, by its views: projections that each image is compared with at every rotation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.imaging.backprojection import frequency_radius
from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.projections import (
    VolumeTransform,
    prepare_volume,
    project_at,
)
from polardenoise.engine.neighbours.ring_weights import sum_by_rings
from polardenoise.engine.neighbours.templates import Templates, find_nearest, prepare_templates
from polardenoise.engine.views.frames import place_images

#: Views that an image may show, of those that it shows best.
MOST_LIKELY = 16
#: Projections made at once, and what a ring of the volume is multiplied by at most.
PROJECTIONS_AT_ONCE = 256
HIGHEST_GAIN = 1.5


@dataclass(frozen=True)
class Views:
    """Projections of a volume, ready to be compared with images.

    Attributes
    ----------
    templates : Templates
        The projections.
    frames : Tensor
        `(m, 3, 3)` at which they are.
    transform : VolumeTransform
        Of the volume.
    """

    templates: Templates
    frames: Tensor
    transform: VolumeTransform


def project_all(volume: Tensor, frames: Tensor) -> Tensor:
    """Project a volume `(box, box, box)` at frames `(n, 3, 3)`: `(n, box, box)`."""
    return show_views(prepare_volume(volume), frames)


def show_views(transform: VolumeTransform, frames: Tensor) -> Tensor:
    """Project a prepared volume at frames `(n, 3, 3)`: `(n, box, box)`."""
    return torch.cat([project_at(transform, some) for some in frames.split(PROJECTIONS_AT_ONCE)])


def prepare_views(volume: Tensor, frames: Tensor, grid: PolarGrid) -> Views:
    """Project a volume at frames and prepare the projections for comparison."""
    transform = prepare_volume(volume)
    projections = show_views(transform, frames)
    return Views(prepare_templates(projections[None], grid), frames, transform)


def draw_poses(
    views: Views, images: Tensor, ctf_rings: Tensor, generator: torch.Generator
) -> Tensor:
    """Draw a pose `(n, 3, 3)` for each image by its likelihood.

    Drawn poses spread as far as the images leave them open, where the best ones would gather at what noise prefers.

    Parameters
    ----------
    views : Views
        Of a volume that these images had no part in.
    images : Tensor
        `(n, box, box)` at their centres, phases flipped, noise of variance 1.
    ctf_rings : Tensor
        `(n, box // 2)` |CTF| by ring.
    generator : torch.Generator
        On the CPU.
    """
    nothing = images.new_zeros(()).expand(len(images), len(views.templates.order))
    nearest, scores = find_nearest(views.templates, images, ctf_rings, MOST_LIKELY, nothing)
    angles, scores = scores.shape[-1], scores.flatten(1)
    drawn = draw_places(scores, generator)
    places = nearest.gather(1, (drawn // angles)[:, None])[:, 0]
    return place_images(views.frames, views.templates.order[places], drawn % angles, angles)


def draw_places(scores: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a place `(n,)` of each row of scores `(n, m)`, logarithms of how probable they are; these are overwritten.

    By how far up the chances have added up to a number drawn from 0 to 1: to draw one for each place would be dear.
    """
    added_up = scores.sub_(scores.amax(1, keepdim=True)).exp_().cumsum(1)
    drawn = torch.rand(len(scores), 1, generator=generator).to(scores) * added_up[:, -1:]
    return torch.searchsorted(added_up, drawn)[:, 0].clamp_max(scores.shape[1] - 1)


def measure_gains(volume: Tensor, images: Tensor, ctf_rings: Tensor, frames: Tensor) -> Tensor:
    """Measure how much of a volume is in images at their frames, `(box // 2,)` ring by ring.

    More than 1 where what the volume was made of was blurred by wrong poses; parameters as those of `HalfSums`.
    """
    disk = disk_mask(images.shape[-1], images.shape[-1] / 2 - 0.5, images.device)
    seen = filter_by_rings(project_all(volume, frames), ctf_rings) * disk
    energy = sum_by_rings(seen, seen).clamp_min(torch.finfo(torch.float64).tiny)
    return (sum_by_rings(seen, images * disk) / energy).clamp(0, HIGHEST_GAIN).float()


def scale_shells(volume: Tensor, gains: Tensor) -> Tensor:
    """Multiply the shells of a volume `(N, N, N)` by gains `(N // 2,)`, linearly between them."""
    radius = frequency_radius(volume.shape[-1], volume.device).clamp_max(len(gains) - 1)
    below = radius.floor().long()
    above = (below + 1).clamp_max(len(gains) - 1)
    factors = torch.lerp(gains[below], gains[above], radius - below)
    return torch.fft.irfftn(torch.fft.rfftn(volume) * factors, s=volume.shape)
