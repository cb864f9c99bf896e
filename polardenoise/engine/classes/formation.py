"""Formation of 2D classes: denoised images of a half that are alike, each with the rotation that puts it on the others.

    a sample is divided by Ward's linkage -> classes of one view are merged (where their number is left open)
    -> every image goes to the class whose average it is most like, again and again

The sample and the images that define classes together are whole micrographs, as far as they can be: all other images
share no pixel with them.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from polardenoise.engine.classes.refinement import (
    ImageHarmonics,
    average_classes,
    match_with_classes,
    observe_classes,
    refine_classes,
)
from polardenoise.engine.imaging.ring_harmonics import FourierRings
from polardenoise.engine.imaging.rotational_matching import (
    ROTATIONS,
    RotationalMatches,
    match_images,
)

#: Classes of a half to begin with, and so the most of them, where their number is left open.
MOST_CLASSES = 50
#: Most classes of a half that can be asked for: each is held against each image at every rotation.
LARGEST_COUNT = 1000

#: Images that come out as next to nothing, below this share of what one in ten exceeds, are a class of their own, the
#: last. (Not of the median: where most images are junk, it is theirs.)
EMPTY = 0.1

#: Images that are compared with one another, at least so many for each class that is asked for.
SAMPLE, SAMPLE_OF_CLASS = 1024, 8
#: Rounds in which images go to the average that they are most like; it settles earlier as a rule.
ROUNDS = 8
#: The Wiener constant of averages of denoised images: next to none, they are clean.
CLEAN = 1e-3


@dataclass(frozen=True)
class FormedClasses:
    """Classes of one half, and what says of further images which they belong to.

    Attributes
    ----------
    number : Tensor
        `(n,)` int64 class of each image, from 0, the largest first, images that hold next to nothing the last.
    rotation : Tensor
        `(n,)` int64 steps of `360 / ROTATIONS` degrees counter-clockwise that take the average onto the image.
    averages : Tensor
        `(2, modes, classes, rings)` harmonics of the averages of the denoised images, of classes that are not empty.
    empty_below : float
        Energy of images that hold next to nothing.
    """

    number: Tensor
    rotation: Tensor
    averages: Tensor
    empty_below: float

    def assign(self, estimates: Tensor, rings: FourierRings) -> tuple[Tensor, Tensor]:
        """Find class and steps of further denoised images, `(2, modes, m, rings)`, that share pixels with none."""
        number, rotation = assign_to_averages(estimates, self.averages, rings)
        empty = rings.ring_energies(estimates).sum(1) < self.empty_below
        return number.masked_fill(empty, self.averages.shape[2]), rotation.masked_fill(empty, 0)


def form_classes(
    estimates: Tensor,
    image_harmonics: Tensor,
    ctf_rings: Tensor,
    rings: FourierRings,
    folds: np.ndarray,
    apart: Tensor | None = None,
    count: int | None = None,
    seed: int = 0,
) -> FormedClasses:
    """Class denoised images of one half.

    Parameters
    ----------
    estimates : Tensor
        `(2, modes, n, rings)` harmonics of the denoised images, particles at the centre.
    image_harmonics : Tensor
        `(2, modes, n, rings)` of the raw images, as they are matched.
    ctf_rings : Tensor
        `(n, box // 2)` |CTF| by ring.
    rings : FourierRings
        Of the harmonics.
    folds : ndarray
        `(n,)` equal for images that share pixels, directly or through others.
    apart : Tensor, optional
        `(n, n)` bool: images that share pixels. Neither of two says which class the other is in, or how it is turned.
    count : int, optional
        Classes that are asked for, and the most that there will be; by default as many as there are views that can be
        told apart.
    seed : int
        Fixes the sample.
    """
    energy = rings.ring_energies(estimates).sum(1)
    empty_below = EMPTY * float(np.quantile(energy.cpu().numpy(), 0.9))
    full = (energy >= empty_below).nonzero()[:, 0]
    apart = None if apart is None else apart[full][:, full]
    number, rotation = divide_full_images(
        estimates[:, :, full],
        image_harmonics[:, :, full],
        ctf_rings[full],
        rings,
        folds[full.cpu().numpy()],
        apart,
        count,
        seed,
    )
    everywhere = rotation.new_zeros(len(energy)).index_copy_(0, full, rotation)
    sorted_number = sort_by_size(number, full, len(energy))
    averages = average_classes(
        observe_estimates(estimates, rings, None), full, sorted_number[full], rotation
    )
    return FormedClasses(sorted_number, everywhere, averages, empty_below)


def divide_full_images(
    estimates: Tensor,
    image_harmonics: Tensor,
    ctf_rings: Tensor,
    rings: FourierRings,
    folds: np.ndarray,
    apart: Tensor | None,
    count: int | None,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Class images none of which is empty; parameters and result as for `form_classes`, in no order."""
    most = MOST_CLASSES if count is None else count
    chosen = choose_whole_folds(folds, max(SAMPLE, SAMPLE_OF_CLASS * most), seed)
    sample = torch.from_numpy(chosen).to(estimates.device)
    of_sample = None if apart is None else apart[sample][:, sample]
    among = match_estimates(estimates[:, :, sample], rings)
    energy = rings.ring_energies(estimates)
    number = divide_into_classes(among, energy[sample].sum(1), most, of_sample)
    rotation = turn_onto_middle(number, among, of_sample)
    if count is None:
        number, rotation = refine_classes(
            image_harmonics[:, :, sample],
            ctf_rings[sample],
            number,
            rotation,
            (energy.mean(0) / rings.noise_energies().to(energy)).clamp_min(1e-3),
            rings,
            of_sample,
        )
    seen = observe_estimates(estimates, rings, apart)
    if len(sample) < len(energy):
        averages = average_classes(seen, sample, number, rotation)
        number, rotation = assign_to_averages(estimates, averages, rings)
        number = torch.unique(number, return_inverse=True)[1]
    return settle(seen, number, rotation)


def choose_whole_folds(folds: np.ndarray, least: int, seed: int) -> np.ndarray:
    """Choose at random whole folds until they have `least` images: their places, ascending.

    The one that reaches it is taken whole: what is not chosen shares no pixel with what is.
    """
    if len(folds) <= least:
        return np.arange(len(folds))
    names, fold, sizes = np.unique(folds, return_inverse=True, return_counts=True)
    order = np.random.default_rng([seed, 8]).permutation(len(names))
    last = int(np.searchsorted(sizes[order].cumsum(), least))
    return np.flatnonzero(np.isin(fold, order[: last + 1]))


def observe_estimates(
    estimates: Tensor, rings: FourierRings, apart: Tensor | None
) -> ImageHarmonics:
    """Prepare denoised images, whose CTF is gone, for classes of them."""
    everywhere = estimates.new_ones(estimates.shape[2], rings.box // 2)
    noise_to_signal = estimates.new_full((rings.rings,), CLEAN)
    return observe_classes(estimates, everywhere, noise_to_signal, rings, apart)


def settle(seen: ImageHarmonics, number: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Let every image go to the class that it is most like, itself left out, until they stay.

    Classes of one image dissolve.
    """
    everyone = torch.arange(len(number), device=number.device)
    for _ in range(ROUNDS):
        found = match_with_classes(seen, number, rotation)
        alone = everyone[number.bincount()[number] == 1]
        if len(alone) < len(everyone):
            found.likelihood[alone, number[alone]] = -math.inf
        best = found.likelihood.argmax(1)
        settled = bool((best == number).all())
        rotation = found.rotation[everyone, best]
        number = torch.unique(best, return_inverse=True)[1]
        if settled:
            break
    return number, rotation


def assign_to_averages(
    estimates: Tensor, averages: Tensor, rings: FourierRings
) -> tuple[Tensor, Tensor]:
    """Find for denoised images `(2, modes, n, rings)` the average that each is most like, and its steps."""
    everywhere = estimates.new_ones(estimates.shape[2], rings.box // 2)
    found = match_images(estimates, everywhere, averages, rings)
    best = found.likelihood.argmax(1, keepdim=True)
    return best[:, 0], found.rotation.gather(1, best)[:, 0]


def match_estimates(harmonics: Tensor, rings: FourierRings) -> RotationalMatches:
    """Compare clean images `(2, modes, n, rings)` with one another; `likelihood` becomes the inner product."""
    everywhere = harmonics.new_ones(harmonics.shape[2], rings.box // 2)
    matches = match_images(harmonics, everywhere, harmonics, rings)
    energy = rings.ring_energies(harmonics).sum(1)
    return RotationalMatches(matches.likelihood + 0.5 * energy, matches.rotation)


def divide_into_classes(
    among: RotationalMatches, energy: Tensor, most: int, apart: Tensor | None = None
) -> Tensor:
    """Divide images into at most `most` classes by Ward's linkage of their differences, `(n,)` from 0.

    Images that are to be kept `apart`, `(n, n)`, differ as images do as a rule.
    """
    if len(energy) < 2:
        return torch.zeros(len(energy), dtype=torch.int64, device=energy.device)
    inner = among.likelihood.double()
    squared = ((energy[:, None] + energy).double() - inner - inner.T).clamp_min(0)
    squared.fill_diagonal_(0)
    if apart is not None:
        squared.masked_fill_(apart, float(squared[~apart].median()))
    distance = squared.sqrt().cpu().numpy()
    tree = linkage(squareform(distance, checks=False), "ward")
    found = fcluster(tree, most, "maxclust").astype(np.int64)
    return torch.from_numpy(found - 1).to(energy.device)


def turn_onto_middle(
    number: Tensor, among: RotationalMatches, apart: Tensor | None = None
) -> Tensor:
    """Give for each image the steps that take the image in the middle of its class onto it.

    Where the two are to be kept `apart`, by way of the image of the class that is most like it and apart from neither;
    0 where there is none.
    """
    rotation = torch.zeros_like(number)
    alike = among.likelihood if apart is None else among.likelihood.masked_fill(apart, 0.0)
    for one in range(int(number.max()) + 1):
        members = (number == one).nonzero()[:, 0]
        if len(members) == 0:
            continue
        middle = members[alike[members][:, members].sum(0).argmax()]
        rotation[members] = among.rotation[members, middle]
        if apart is None:
            continue
        between = members[~apart[members, middle]]
        for image in members[apart[members, middle]]:
            ways = between[~apart[image, between] & (between != middle)]
            rotation[image] = 0
            if len(ways):
                way = ways[among.likelihood[image, ways].argmax()]
                turned = among.rotation[image, way] + among.rotation[way, middle]
                rotation[image] = turned % ROTATIONS
    return rotation


def sort_by_size(number: Tensor, rows: Tensor, count: int) -> Tensor:
    """Give the classes `(m,)` of some rows numbers by size; the other rows of `count` become one more class."""
    order = number.bincount().argsort(descending=True, stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    everywhere = torch.full((count,), len(order), dtype=torch.int64, device=number.device)
    return everywhere.index_copy_(0, rows, place[number])
