"""Class averages: Wiener averages of raw images, turned back and moved to the centre, each weighted by its CTF.

Two parts of each class are summed apart: what both show is signal, what differs is noise. Never of denoised pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.frc import fourier_ring_correlation
from polardenoise.engine.imaging.fsc import resolution_at
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.rings import average_rings
from polardenoise.engine.imaging.rotation import transform_polar, turn_polar, untransform_polar

#: Weights `sum |CTF|^2` below this are taken as no observation of a ring.
LEAST_WEIGHT = 1e-2
#: The noise is at most so many times the signal in the Wiener constant: a ring without signal gets next to nothing.
MOST_NOISE = 1e6
#: The Wiener constant of rings that no class has in both parts.
UNKNOWN_NOISE = 1.0
#: Where two halves of the data correlate less, nothing finer is resolved.
RESOLVED = 0.143


@dataclass(frozen=True)
class ClassSums:
    """Sums of the raw images of classes.

    Attributes
    ----------
    images : Tensor
        `(classes, 2, box, box)` sums of both parts of each class, each image multiplied by |CTF| and put at the centre.
    weights : Tensor
        `(classes, 2, box // 2)` sums of |CTF|^2 by ring.
    """

    images: Tensor
    weights: Tensor


@dataclass(frozen=True)
class PolarSums:
    """`ClassSums` on their way: transforms of the polar grid `(2 * classes, rings, frequencies)`, and weights."""

    transforms: Tensor
    weights: Tensor


def begin_sums(classes: int, grid: PolarGrid, device: torch.device) -> PolarSums:
    """Begin the sums of some classes."""
    shape = 2 * classes, grid.rings, grid.angles // 2 + 1
    return PolarSums(
        torch.zeros(shape, dtype=torch.complex64, device=device),
        torch.zeros(2 * classes, grid.box // 2, device=device),
    )


def add_to_sums(
    sums: PolarSums,
    images: Tensor,
    ctf_rings: Tensor,
    part_of_class: Tensor,
    degrees: Tensor,
    displacements: Tensor,
    grid: PolarGrid,
) -> None:
    """Add raw images to the sums.

    Parameters
    ----------
    sums : PolarSums
        Changed in place.
    images, ctf_rings : Tensor
        `(n, box, box)` phases flipped, noise 1; `(n, box // 2)` |CTF| by ring.
    part_of_class : Tensor
        `(n,)` int64: twice the class and 0 or 1.
    degrees : Tensor
        `(n,)` counter-clockwise: take the average onto the image.
    displacements : Tensor
        `(n, 2)` pixels, `(x, y)`: how far the particle lies off the centre.
    grid : PolarGrid
        Of the same box.
    """
    seen = shift_images(filter_by_rings(images, ctf_rings), -displacements)
    turned = turn_polar(transform_polar(seen, grid), -degrees)
    sums.transforms.index_add_(0, part_of_class, turned)
    sums.weights.index_add_(0, part_of_class, ctf_rings.square())


def finish_sums(sums: PolarSums, grid: PolarGrid) -> ClassSums:
    """Bring finished sums to images."""
    images = untransform_polar(sums.transforms, grid)
    return ClassSums(images.unflatten(0, (-1, 2)), sums.weights.unflatten(0, (-1, 2)))


def find_noise_to_signal(sums: ClassSums) -> Tensor:
    """Find the Wiener constant of each ring, `(box // 2,)`: power of an image's noise over that of the classes.

    The two parts of a class differ by their noise, and its images by their views: both count as noise. All classes tell
    together.
    """
    quotient = divide_by_weights(sums.images.flatten(0, 1), sums.weights.flatten(0, 1))
    first, second = torch.fft.rfft2(quotient).unflatten(0, (-1, 2)).unbind(1)
    both = (sums.weights > LEAST_WEIGHT).all(1)  # (classes, rings)
    common = (average_rings((first * second.conj()).real) * both).sum(0)
    apart = (average_rings((first - second).abs().square()) * both).sum(0)
    variances = (1 / sums.weights.clamp_min(LEAST_WEIGHT)).sum(1) * both
    noise = apart / variances.sum(0).clamp_min(1e-12)
    signal = common / both.sum(0).clamp_min(1)
    ratio = noise / torch.maximum(signal, noise / MOST_NOISE).clamp_min(1e-12)
    ratio = torch.where(both.any(0), ratio.clamp(1e-6, MOST_NOISE), UNKNOWN_NOISE)
    ratio[0] = ratio[1]  # one number an image, the mean, tells too little
    return ratio


def divide_by_weights(images: Tensor, weights: Tensor) -> Tensor:
    """Divide sums `(n, box, box)` by their weights `(n, box // 2)`, nothing where nothing was observed."""
    return filter_by_rings(images, (weights > LEAST_WEIGHT) / weights.clamp_min(LEAST_WEIGHT))


def average_sums(sums: ClassSums, noise_to_signal: Tensor) -> Tensor:
    """Give the Wiener average of each class, `(classes, box, box)`, without CTF, in units of the noise."""
    weights = sums.weights.sum(1)
    return filter_by_rings(sums.images.sum(1), 1 / (weights + noise_to_signal))


def measure_resolutions(first: ClassSums, second: ClassSums, pixel_size: float) -> Tensor:
    """Measure to what detail two sums of each class agree, `(classes,)` Angstrom.

    Both parts of either are taken together. The first ring in which they correlate less than `RESOLVED`, interpolated;
    the Nyquist limit where there is none, the box where nothing agrees.
    """
    if len(first.images) == 0:
        return first.images.new_zeros(0)
    one, other = (
        divide_by_weights(sums.images.sum(1), sums.weights.sum(1)) for sums in (first, second)
    )
    return find_crossings(fourier_ring_correlation(one, other), one.shape[-1] * pixel_size)


def split_parts(sums: ClassSums) -> tuple[ClassSums, ClassSums]:
    """Take the two parts of each class as sums of their own."""
    one, other = (
        ClassSums(sums.images[:, part : part + 1], sums.weights[:, part : part + 1])
        for part in (0, 1)
    )
    return one, other


def find_crossings(curves: Tensor, field: float) -> Tensor:
    """Find where curves `(n, rings)` over rings 0, 1, ... of a field of view (Angstrom) first fall below `RESOLVED`."""
    box = 2 * (curves.shape[1] - 1)
    found = [resolution_at(curve, RESOLVED, field / box, box) for curve in curves.cpu().numpy()]
    return torch.tensor(found, dtype=curves.dtype, device=curves.device)
