"""Templates of a half: estimates of images of one fold, through which all images of the other fold are seen.

A template shows an image at every rotation with a likelihood (see `rotational_matching`); the estimate of an image
through all of them is its expectation over templates and rotations. Thousands of templates hold far more of a large set
than the neighbours of one image do, and comparing an image with them costs a fraction of a pass of the network.

The expectation is smoother than the image: templates that stand some degrees apart are averaged. How much smoother is
seen by taking the expectation of the templates themselves, which are next to free of noise: an image seen through
these smoothed templates is smoothed twice, and the difference of both is what the first smoothing has taken, nearly.
`ring_weights` puts them together.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.ring_harmonics import FourierRings, build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import (
    compute_image_harmonics,
    select_ctf_rings,
)
from polardenoise.engine.networks.angular_attention import transform_angles
from polardenoise.engine.networks.template_evidence import pair_parts, score_templates

#: Templates of a fold, at most.
MOST_TEMPLATES = 2048
#: Log-likelihoods of images are divided by this, and those of templates, without noise, by that (docs/templates.rst).
TEMPERATURE, SMOOTHING = 2.0, 4.0
#: Templates that each image, and each template, shows best: what the others add is next to nothing.
MOST_NEAREST = 96
#: Log-likelihoods that are so far below the best one of an image are taken as that far.
FAR_BELOW = 80.0
#: Directions in which templates are told apart to be put in order, and the smallest part that is cut no further.
DIRECTIONS, SMALLEST_PART = 6, 8
#: Scores (images x templates x rotations) at once, images whose best scores are kept, and images gathered at once.
SCORES_AT_ONCE = {"cpu": 2**23, "cuda": 2**26}
IMAGES_AT_ONCE = 512
GATHERED_AT_ONCE = {"cpu": 32, "cuda": 256}


@dataclass(frozen=True)
class Templates:
    """Templates, ready to be compared with images, as they are and mirrored, and to be gathered.

    Attributes
    ----------
    harmonics : Tensor
        `(modes, 2 m, 2 * rings)`: real and imaginary parts, those of the mirrored templates last.
    energies : Tensor
        `(2 m, rings)`.
    order : Tensor
        `(2 m,)` int64: from their places to those that they were given in, mirrored ones from `m` on.
    spectra : tuple of Tensor
        `(frequencies, m, polar rings)` complex, one of each kind: transforms over the angles of the polar templates.
    rings : FourierRings
        Of the harmonics.
    grid : PolarGrid
        Of the polar templates.
    """

    harmonics: Tensor
    energies: Tensor
    order: Tensor
    spectra: tuple[Tensor, ...]
    rings: FourierRings
    grid: PolarGrid

    def add_kind(self, images: Tensor) -> "Templates":
        """Add a kind `(m, box, box)`, in the order that the first was given in: it is gathered as well."""
        polar = self.grid.to_polar(images[self.order[: len(images)]])
        return replace(self, spectra=(*self.spectra, transform_angles(polar)))


@dataclass(frozen=True)
class Expectation:
    """Images as templates show them.

    Attributes
    ----------
    estimates : Tensor
        `(kinds, n, box, box)`: through each kind of the templates.
    evidence : Tensor
        `(n,)` logarithm of how much more probable an image is if it shows one of the templates than if it is noise.
    """

    estimates: Tensor
    evidence: Tensor


def see_through_one_another(templates: Templates, estimates: Tensor) -> Tensor:
    """See estimates `(m, box, box)` through the templates that were prepared of them: they come out smoother."""
    everywhere = estimates.new_ones(len(estimates), estimates.shape[-1] // 2)
    return expect_images(templates, estimates, everywhere, SMOOTHING).estimates[0]


def prepare_templates(images: Tensor, grid: PolarGrid) -> Templates:
    """Prepare templates `(kinds, m, box, box)`: the first kind is compared with images, all are gathered."""
    rings = build_fourier_rings(images.shape[-1])
    harmonics = rings.to_harmonics(images[0])
    # So that images of one block show few different ones (`gather_templates`).
    order = order_by_likeness(harmonics)
    harmonics = rings.append_mirrored(harmonics[:, :, order])
    templates = Templates(
        torch.cat([harmonics[0], harmonics[1]], -1),
        rings.ring_energies(harmonics),
        torch.cat([order, order + len(order)]),
        (),
        rings,
        grid,
    )
    for kind in images:
        templates = templates.add_kind(kind)
    return templates


def order_by_likeness(harmonics: Tensor) -> Tensor:
    """Order images by what they show, whatever their rotation: `(m,)` places, the like side by side, nearly.

    The amplitudes of harmonics `(2, modes, m, rings)` are cut in halves, again and again, each time across the
    direction in which a part is the widest.
    """
    amplitudes = harmonics.square().sum(0).sqrt().movedim(1, 0).flatten(1)
    amplitudes = amplitudes - amplitudes.mean(0)
    _, directions = torch.linalg.eigh(amplitudes.mT @ amplitudes)
    seen = amplitudes @ directions[:, -DIRECTIONS:]

    def cut(places: Tensor) -> list[Tensor]:
        if len(places) <= SMALLEST_PART:
            return [places]
        widest = seen[places].var(0).argmax()
        places = places[seen[places, widest].argsort(stable=True)]
        middle = len(places) // 2
        return cut(places[:middle]) + cut(places[middle:])

    return torch.cat(cut(torch.arange(len(seen), device=seen.device)))


def expect_images(
    templates: Templates,
    images: Tensor,
    ctf_rings: Tensor,
    temperature: float = TEMPERATURE,
    most: int = MOST_NEAREST,
    not_owed: Tensor | None = None,
) -> Expectation:
    """Give the expectation of images over templates and rotations.

    Parameters
    ----------
    templates : Templates
        Of images that share no pixels with these, or `not_owed` says which do.
    images : Tensor
        `(n, box, box)` at their centres, phases flipped, noise of variance 1.
    ctf_rings : Tensor
        `(n, box // 2)` |CTF| by ring.
    temperature : float
        What log-likelihoods are divided by.
    most : int
        Templates that each image shows best, and is seen through.
    not_owed : Tensor, optional
        `(n, 2 m)`: what is taken off the log-likelihoods, since it does not come from what is shown; infinite for
        templates that an image must not meet. Templates are counted as they were given.
    """
    if not_owed is None:
        not_owed = images.new_zeros(()).expand(len(images), len(templates.order))
    estimates, evidence = [], []
    for own, ctfs, less in zip(
        *(one.split(IMAGES_AT_ONCE) for one in (images, ctf_rings, not_owed)), strict=True
    ):
        nearest, scores = find_nearest(templates, own, ctfs, most, less[:, templates.order])
        peak = scores[:, 0].amax(-1)
        # What is far below the best is nothing; its exponential would be a number that processors are slow with.
        scores = scores.sub_(peak[:, None, None]).clamp_min_(-FAR_BELOW)
        tried = len(templates.energies) * templates.grid.angles
        evidence.append(scores.flatten(1).logsumexp(1) + peak - math.log(tried))
        chances = scores.div_(temperature).flatten(1).softmax(1).view_as(scores)
        estimates.append(gather_templates(templates, nearest, chances))
    return Expectation(torch.cat(estimates, 1), torch.cat(evidence))


def find_nearest(
    templates: Templates, images: Tensor, ctf_rings: Tensor, most: int, less: Tensor
) -> tuple[Tensor, Tensor]:
    """Find the templates that images show best, `(n, k)` with the best first, and their scores `(n, k, angles)`.

    Places from `m` on are those of mirrored templates; `less` `(n, 2 m)` is taken off the scores.
    """
    count, angles = len(templates.energies), templates.grid.angles
    at_once = max(1, SCORES_AT_ONCE.get(images.device.type, 2**26) // (count * angles))
    places, best = [], []
    for own, ctfs, taken in zip(
        *(one.split(at_once) for one in (images, ctf_rings, less)), strict=True
    ):
        scores = score_templates(
            pair_parts(compute_image_harmonics(own, ctfs, templates.rings)),
            templates.harmonics,
            select_ctf_rings(ctfs, templates.rings).square(),
            templates.energies,
            templates.rings,
            angles,
        )  # (own, count, angles)
        nearest = (scores.amax(-1) - taken).topk(min(most, count)).indices
        places.append(nearest)
        kept = scores.gather(1, nearest[..., None].expand(-1, -1, angles))
        best.append(kept.sub_(taken.gather(1, nearest)[..., None]))
    return torch.cat(places), torch.cat(best)


def gather_templates(templates: Templates, nearest: Tensor, chances: Tensor) -> Tensor:
    """Sum templates `(n, k)`, turned back onto images, by their chances `(n, k, angles)`: `(kinds, n, box, box)`."""
    grid = templates.grid
    # Images of the same best template show much the same ones: the fewer a block shows, the less is summed.
    order = nearest[:, 0].argsort(stable=True)
    count = templates.spectra[0].shape[1]
    summed = chances.new_empty(len(templates.spectra), len(nearest), grid.rings, grid.angles)
    for own in order.split(GATHERED_AT_ONCE.get(order.device.type, 256)):
        shown, places = nearest[own].unique(return_inverse=True)
        # The rotation of a score takes the image onto the template: the template comes back by its opposite.
        turned_back = transform_angles(chances[own]).conj()  # (frequencies, own, k)
        weights = turned_back.new_zeros(*turned_back.shape[:2], len(shown))
        weights.scatter_(2, places.expand(turned_back.shape), turned_back)
        straight, mirrored = shown[shown < count], shown[shown >= count] - count
        for kind, spectrum in enumerate(templates.spectra):
            gathered = torch.cat([spectrum[:, straight], spectrum[:, mirrored].conj()], 1)
            polar = (weights @ gathered).movedim(0, -1)
            summed[kind, own] = torch.fft.irfft(polar, n=grid.angles)
    return grid.to_images(summed)
