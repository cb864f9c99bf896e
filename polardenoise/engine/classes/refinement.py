"""Class refinement: raw images are reassigned among classes, and classes of one view are merged.

Each raw image goes to the class whose average explains it best, again and again. The averages are taken without the
image and those that share pixels with it: else it would find its own noise there, and nothing would move. Then two
classes are merged where their images are explained as well by the average of both.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.imaging.ring_harmonics import FourierRings
from polardenoise.engine.imaging.rotational_matching import (
    ROTATIONS,
    RotationalMatches,
    match_images,
    rotation_matrix,
    select_ctf_rings,
)

#: Rounds of reassignment; it settles earlier as a rule.
ROUNDS = 12

#: Two classes are merged if that costs less than this of each image's log-likelihood (docs/constants.rst).
LIKELIHOOD_TO_LOSE = 0.5

#: Images that are compared with averages of their own at once.
CASES_AT_ONCE = 1024


@dataclass(frozen=True)
class ImageHarmonics:
    """The harmonics of images, as classes are formed of them: raw ones, or denoised ones without CTF.

    Attributes
    ----------
    harmonics : Tensor
        `(2, modes, n, rings)` from `compute_image_harmonics`.
    ctf_rings : Tensor
        `(n, box // 2)` |CTF| by ring.
    modes : Tensor
        `(n, rings, modes)` complex: `harmonics` in another order.
    squares : Tensor
        `(n, rings)` |CTF|^2.
    noise_to_signal : Tensor
        `(rings,)` energy of the noise over that of the signal: the Wiener constant.
    rings : FourierRings
        Of the harmonics.
    left_out : tuple of Tensor
        `(pairs,)` images, and the images that are left out of the averages these are compared with: each itself, first,
        then those that share pixels with it.
    """

    harmonics: Tensor
    ctf_rings: Tensor
    modes: Tensor
    squares: Tensor
    noise_to_signal: Tensor
    rings: FourierRings
    left_out: tuple[Tensor, Tensor]


def refine_classes(
    harmonics: Tensor,
    ctf_rings: Tensor,
    number: Tensor,
    rotation: Tensor,
    signal_to_noise: Tensor,
    rings: FourierRings,
    apart: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Reassign every raw image to the class that explains it best, and merge classes of one view.

    Parameters
    ----------
    harmonics : Tensor
        `(2, modes, n, rings)` from `compute_image_harmonics`.
    ctf_rings : Tensor
        `(n, box // 2)`.
    number, rotation : Tensor
        `(n,)` class and steps of each image to begin with.
    signal_to_noise : Tensor
        `(rings,)` energy of the signal over that of the noise.
    rings : FourierRings
        Of the harmonics.
    apart : Tensor, optional
        `(n, n)` bool: images that share pixels.

    Returns
    -------
    tuple of Tensor
        `(n,)` class, from 0 without gaps, and steps.
    """
    seen = observe_classes(harmonics, ctf_rings, 1 / signal_to_noise, rings, apart)
    number, rotation = reassign(seen, number, rotation)
    while (merged := merge_two_classes(seen, number, rotation)) is not None:
        number, rotation = merged
    return reassign(seen, number, rotation)


def observe_classes(
    harmonics: Tensor,
    ctf_rings: Tensor,
    noise_to_signal: Tensor,
    rings: FourierRings,
    apart: Tensor | None,
) -> ImageHarmonics:
    """Prepare the images of a half for their classes; parameters as for `refine_classes` and `ImageHarmonics`."""
    everyone = torch.arange(len(ctf_rings), device=harmonics.device)
    left_out = everyone, everyone
    if apart is not None:
        first, second = apart.nonzero().unbind(1)
        left_out = torch.cat([everyone, first]), torch.cat([everyone, second])
    return ImageHarmonics(
        harmonics,
        ctf_rings,
        torch.complex(*harmonics).permute(1, 2, 0),
        select_ctf_rings(ctf_rings, rings).square().to(harmonics.device),
        noise_to_signal,
        rings,
        left_out,
    )


def reassign(seen: ImageHarmonics, number: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Let every raw image of classes `number` go to the one that explains it best, itself left out, until they stay."""
    everyone = torch.arange(len(number), device=number.device)
    for only_into_larger in [True, False] * (ROUNDS // 2):
        found = match_with_classes(seen, number, rotation)
        best = found.likelihood.argmax(1)
        settled = bool((best == number).all())
        if only_into_larger:
            best = keep_from_swapping(number, best)
        rotation = found.rotation[everyone, best]
        number = torch.unique(best, return_inverse=True)[1]
        if settled:
            break
    return number, rotation


def merge_two_classes(
    seen: ImageHarmonics, number: Tensor, rotation: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Make one of the smallest class that can be and the one that explains its images best; None where none can be."""
    found = match_with_classes(seen, number, rotation)
    own = found.likelihood.gather(1, number[:, None])[:, 0]
    sizes = number.bincount()
    if len(sizes) < 2:
        return None
    for one in sizes.argsort(stable=True).tolist():
        members = (number == one).nonzero()[:, 0]
        others = found.likelihood[members].mean(0)
        others[one] = -math.inf
        partner = int(others.argmax())
        both = ((number == one) | (number == partner)).nonzero()[:, 0]
        turned_by = rotation.clone()
        turned_by[members] = found.rotation[members, partner]
        likelihood, steps = match_as_one(seen, both, turned_by[both])
        if (likelihood - own[both]).mean() >= -LIKELIHOOD_TO_LOSE:
            joined, turned_by = number.clone(), rotation.clone()
            joined[members], turned_by[both] = partner, steps
            return torch.unique(joined, return_inverse=True)[1], turned_by
    return None


def match_with_classes(seen: ImageHarmonics, number: Tensor, rotation: Tensor) -> RotationalMatches:
    """Compare every image with the average of every class, which leaves out what shares pixels with it, and itself."""
    everyone = torch.arange(len(number), device=number.device)
    averages = average_classes(seen, everyone, number, rotation)
    found = match_images(seen.harmonics, seen.ctf_rings, averages, seen.rings)
    for images, classes, likelihood, steps in match_without(seen, everyone, number, rotation):
        found.likelihood[images, classes], found.rotation[images, classes] = likelihood, steps
    return found


def average_classes(
    seen: ImageHarmonics, images: Tensor, number: Tensor, rotation: Tensor
) -> Tensor:
    """Average some images `(m,)` class by class: harmonics `(2, modes, classes, rings)`."""
    sums, weights = sum_classes(seen, images, number, rotation)
    averages = sums / (weights + seen.noise_to_signal)[..., None]
    return torch.view_as_real(averages).permute(3, 2, 0, 1).contiguous()


def match_as_one(seen: ImageHarmonics, images: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Compare each of some images, one class, with the average of the others, see `match_each`."""
    one_class = torch.zeros_like(images)
    parts = list(match_without(seen, images, one_class, rotation))
    return torch.cat([part[2] for part in parts]), torch.cat([part[3] for part in parts])


def sum_classes(
    seen: ImageHarmonics, images: Tensor, number: Tensor, rotation: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum some images, each turned back by its steps, and their weights, class by class.

    Returns
    -------
    tuple of Tensor
        `(classes, rings, modes)` complex and `(classes, rings)`. The quotient, with the Wiener constant added to the
        weights, is the class's average.
    """
    turned = turn_modes(seen.modes[images], -rotation)
    classes = int(number.max()) + 1
    sums = turned.new_zeros(classes, *turned.shape[1:]).index_add_(0, number, turned)
    squares = seen.squares[images]
    return sums, squares.new_zeros(classes, squares.shape[1]).index_add_(0, number, squares)


def match_without(
    seen: ImageHarmonics, images: Tensor, number: Tensor, rotation: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Compare images with the classes that they, or images that share pixels with them, are in, without all of these.

    Parameters
    ----------
    seen : ImageHarmonics
        All images.
    images, number, rotation : Tensor
        `(m,)` those that are classed, their classes and steps.

    Yields
    ------
    tuple of Tensor
        Places in `images`, ascending, and classes; likelihoods and steps as `match_each` gives them. Each image comes
        with its own class at least.
    """
    sums, weights = sum_classes(seen, images, number, rotation)
    place = torch.full((len(seen.squares),), -1, device=images.device)
    place[images] = torch.arange(len(images), device=images.device)
    pairs = place[torch.stack(seen.left_out)]
    image, other = pairs[:, (pairs >= 0).all(0)]
    cases, case = torch.unique(image * len(sums) + number[other], return_inverse=True)
    for start in range(0, len(cases), CASES_AT_ONCE):
        some = cases[start : start + CASES_AT_ONCE]
        of_image, in_class = some // len(sums), some % len(sums)
        these = (case >= start) & (case < start + len(some))
        left_out = other[these]
        own, own_weights = sum_classes(
            seen, images[left_out], case[these] - start, rotation[left_out]
        )
        squares = seen.squares[images[of_image]]
        left = weights[in_class] + seen.noise_to_signal - own_weights
        averages = (sums[in_class] - own) / left[..., None]
        matches = match_each(seen.modes[images[of_image]], averages, squares, seen.rings)
        yield of_image, in_class, *matches


def keep_from_swapping(number: Tensor, best: Tensor) -> Tensor:
    """Let images `(n,)` of class `number` go to class `best` only where that is the larger one, else stay.

    Images of one view in two small classes would else change places for ever: each fits the other's average better
    than that of its own class without itself.
    """
    sizes = number.bincount()
    place = torch.empty_like(sizes)
    order = sizes.argsort(stable=True)
    place[order] = torch.arange(len(sizes), device=sizes.device)
    return torch.where(place[best] > place[number], best, number)


def match_each(
    images: Tensor, others: Tensor, squares: Tensor, rings: FourierRings
) -> tuple[Tensor, Tensor]:
    """Compare each of `(n, rings, modes)` noisy images with one clean image of its own, as `match_images` does.

    Returns
    -------
    tuple of Tensor
        `(n,)` log-likelihood ratio at the best rotation, and its steps.
    """
    weights = rings.weights(images.device)
    products = (images * others.conj()).sum(1)  # (n, modes)
    scores = (
        torch.cat([products.real, products.imag], 1) @ rotation_matrix(rings.modes, images.device).T
    )
    best, steps = scores.max(1)
    seen = ((others.abs().square() * weights).sum(-1) * squares).sum(1)
    return best - 0.5 * seen, steps


def turn_modes(images: Tensor, steps: Tensor) -> Tensor:
    """Turn `(n, rings, modes)` complex coefficients counter-clockwise by `(n,)` steps."""
    order = torch.arange(images.shape[-1], device=images.device)
    phase = -2 * math.pi / ROTATIONS * steps[:, None] * order
    return images * torch.polar(torch.ones_like(phase), phase)[:, None]
