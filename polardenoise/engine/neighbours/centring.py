"""Recentring: how far particles lie off the centre of their images, found from the images that show the same.

Attention turns images onto one another but does not move them: averages of particles that lie some pixels apart are
blurred, and with a CTF a set of one view loses much of what it could give (docs/centring.rst). Once denoised, though,
the images that an image attends to, itself left out, are a reference for it, which tells its displacement
(`displacements`). Each image is moved back by what was found, all are denoised again, and so on until they lie still. A
group that is centred already has next to no spread and stays where it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.mirror_parity import mirror_samples
from polardenoise.engine.neighbours.displacements import (
    correlate,
    find_centres_of_mass,
    find_displacements,
)
from polardenoise.engine.networks.neighbour_attention import attend_to_neighbours
from polardenoise.engine.networks.polar_transformer import Encoded, PolarTransformer
from polardenoise.engine.runtime.devices import full_precision

#: Images are moved, denoised again and compared with better references until their displacements change by less than
#: this, pixels (root mean square of a coordinate), or that often: clusters, and sets, where the few images of unlike
#: views would wander off together.
SETTLED = 0.25
MOST_PASSES, MOST_PASSES_OF_SETS = 5, 3

#: Groups of 32 images of less spread (pixels, of either coordinate) stay as they are; it falls as the cube root of the
#: number of images. These constants were measured on validation molecules (docs/constants.rst).
SMALLEST_SPREAD = 0.35

#: Groups whose spread is a smaller share than this of the error of a single displacement stay as they are.
SMALLEST_SURENESS = 0.7

#: Most images that a reference is made of.
REFERENCE_IMAGES = 32

#: Clusters of so many images and more have references with their mass in the centre.
LEAST_ANCHORED = 64

#: What is below this share of a reference's largest value counts for nothing in its centre of mass.
FAINT = 0.1


@dataclass(frozen=True)
class Centred:
    """Groups of images that were moved to the centre, and denoised there.

    Attributes
    ----------
    estimates : Tensor
        `(groups, n, box, box)` of the moved images.
    displacements : Tensor
        `(groups, n, 2)` pixels, `(x, y)`: how far each particle lay off the centre; zeros in groups left as they were.
    """

    estimates: Tensor
    displacements: Tensor

    def undo_recentring(self) -> Tensor:
        """Move the estimates to where the particles lay, `(groups, n, box, box)`; zero outside the disk."""
        moved = self.displacements.abs().amax((-2, -1)) > 0
        if not moved.any():
            return self.estimates
        box = self.estimates.shape[-1]
        disk = disk_mask(box, box / 2 - 0.5, self.estimates.device)
        back = shift_images(self.estimates, self.displacements) * disk
        return torch.where(moved[:, None, None, None], back, self.estimates)


#: From images `(groups, n, box, box)` to their encoding, all groups after one another, and their estimates.
DenoiseGroups = Callable[[Tensor], tuple[Encoded, Tensor]]


def denoise_centred(
    model: PolarTransformer,
    images: Tensor,
    ctf_rings: Tensor,
    neighbours: Tensor,
    denoise: DenoiseGroups,
    as_they_lie: tuple[Encoded, Tensor],
) -> Centred:
    """Denoise groups of images, moved to the centre where they lie off it.

    Parameters
    ----------
    model : PolarTransformer
        On the images' device.
    images : Tensor
        `(groups, n, box, box)`; each group by itself decides what is done with it.
    ctf_rings : Tensor
        `(groups, n, box // 2)` |CTF| by ring, over the power of noise that is not white (`weigh_by_noise`).
    neighbours : Tensor
        `(groups * n, k)` int64 other images that show what each one shows, counted over all groups; the first of them
        are what it is compared with. -1 where there are fewer, none where k is 0: nothing is moved then.
    denoise : DenoiseGroups
        Encodes and denoises images.
    as_they_lie : tuple
        What `denoise` gives for the images that are not moved.
    """
    encoded, estimates = as_they_lie
    first = find_off_centre(model, images, ctf_rings, neighbours, encoded, estimates)
    if not first.any():
        return Centred(estimates, first)
    return denoise_moved_groups(model, images, ctf_rings, neighbours, denoise, estimates, first)


def find_off_centre(
    model: PolarTransformer,
    images: Tensor,
    ctf_rings: Tensor,
    neighbours: Tensor,
    encoded: Encoded,
    estimates: Tensor,
) -> Tensor:
    """Find how far images lie off the centre, by estimates of them as they lie.

    Parameters
    ----------
    encoded : Encoded
        All images, group by group.
    estimates : Tensor
        `(groups, n, box, box)`.

    The others are those of `denoise_centred`.

    Returns
    -------
    Tensor
        `(groups, n, 2)` pixels, `(x, y)`; zeros in groups that stay as they are.
    """
    shape = images.shape[:2]
    nowhere = images.new_zeros(*shape, 2)
    if neighbours.shape[1] == 0:
        return nowhere
    references = refer_to_others(model, neighbours, encoded, estimates)
    likelihood = compare_groups(images, ctf_rings, references)
    found, spread, error = find_displacements(likelihood, nowhere)
    return found * find_off_centre_groups(spread, error, shape[1])[:, None, None]


def denoise_moved_groups(
    model: PolarTransformer,
    images: Tensor,
    ctf_rings: Tensor,
    neighbours: Tensor,
    denoise: DenoiseGroups,
    as_they_lie: Tensor,
    displacements: Tensor,
) -> Centred:
    """Denoise groups of images, moved to where better and better references show the centre.

    Parameters
    ----------
    as_they_lie : Tensor
        `(groups, n, box, box)` estimates of the images that are not moved.
    displacements : Tensor
        `(groups, n, 2)` from `find_off_centre`, not all of them zero.

    The others are those of `denoise_centred`.
    """
    off_centre = displacements.abs().amax((1, 2)) > 0
    displacements, _ = settle(
        model,
        images,
        ctf_rings,
        neighbours,
        denoise,
        displacements,
        MOST_PASSES_OF_SETS,
        leave_references,
    )
    estimates = denoise(shift_images(images, -displacements))[1]
    # A group that stays gets what it had, bit for bit, whatever the groups beside it do.
    estimates = torch.where(off_centre[:, None, None, None], estimates, as_they_lie)
    return Centred(estimates, displacements)


def put_mass_at_centre(references: Tensor) -> Tensor:
    """Move references `(n, box, box)` so that their centre of mass lies in the centre of the box.

    Images that lie off the centre alike find one another first, and would settle about a centre of their own: one view
    in two places, neither of which knows the other. The centre of mass is the same for all: that of a projection is the
    projection of the molecule's.
    """
    box = references.shape[-1]
    mass = references * disk_mask(box, box / 2 - 0.5, references.device).to(references)
    # A wide rim of next to nothing would outweigh the particle.
    mass = (mass - FAINT * mass.amax((1, 2), keepdim=True)).clamp_min(0)
    return shift_images(references, -find_centres_of_mass(mass))


def choose_anchor(images: int) -> Callable[[Tensor], Tensor]:
    """Choose what is done with the references of a group of so many images: few do not tell where their mass lies."""
    return put_mass_at_centre if images >= LEAST_ANCHORED else leave_references


def leave_references(references: Tensor) -> Tensor:
    """Leave references where they are."""
    return references


def settle(
    model: PolarTransformer,
    images: Tensor,
    ctf_rings: Tensor,
    neighbours: Tensor,
    denoise: DenoiseGroups,
    displacements: Tensor,
    most_passes: int,
    anchor: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Move images until their displacements hardly change any more, but no more than so many times.

    Parameters
    ----------
    anchor : callable
        From `choose_anchor`: moves references to a centre that is the same for all.

    The others are those of `denoise_moved_groups`. Each group settles by itself, whatever those beside it do.

    Returns
    -------
    tuple of Tensor
        `(groups, n, 2)` displacements, zero in groups that stay as they are, and `(groups, n, box, box)` the estimates
        that they were found by, moved a little less far. No more than one encoding is kept here.
    """
    moving = displacements.abs().amax((1, 2)) > 0
    for _ in range(most_passes):
        moved = shift_images(images, -displacements)
        encoded, estimates = denoise(moved)
        references = refer_to_others(model, neighbours, encoded, estimates)
        del encoded  # before the next one is made
        likelihood = compare_groups(moved, ctf_rings, anchor(references))
        found, _, _ = find_displacements(likelihood, displacements)
        change = (found - displacements).square().mean((1, 2)).sqrt()
        displacements = torch.where(moving[:, None, None], found, displacements)
        moving = moving & (change >= SETTLED)
        if not moving.any():
            break
    return displacements, estimates


def place_once_more(
    model: PolarTransformer,
    moved: Tensor,
    ctf_rings: Tensor,
    neighbours: Tensor,
    encoded: Encoded,
    estimates: Tensor,
    displacements: Tensor,
    anchor: Callable[[Tensor], Tensor],
) -> Tensor:
    """Find displacements `(groups, n, 2)` of images that were moved by settled ones, with a step as it comes."""
    references = anchor(refer_to_others(model, neighbours, encoded, estimates))
    likelihood = compare_groups(moved, ctf_rings, references)
    return find_displacements(likelihood, displacements, spread_factor=1.0, step_factor=1.0)[0]


def refer_to_others(
    model: PolarTransformer, neighbours: Tensor, encoded: Encoded, estimates: Tensor
) -> Tensor:
    """Give what the nearest others show of each image of `(groups, n, box, box)`: `(groups * n, box, box)`."""
    return gather_references(
        model, encoded, estimates.flatten(0, 1), neighbours[:, :REFERENCE_IMAGES]
    )


def compare_groups(images: Tensor, ctf_rings: Tensor, references: Tensor) -> Tensor:
    """Compare images with their references: log-likelihoods of displacements, `(groups, n, W, W)`."""
    likelihood = correlate(images.flatten(0, 1), ctf_rings.flatten(0, 1), references)
    return likelihood.unflatten(0, images.shape[:2])


def find_off_centre_groups(spread: Tensor, error: Tensor, images: int) -> Tensor:
    """Find the groups that lie off the centre, and whose images can be placed well enough to gain by being moved.

    Parameters
    ----------
    spread, error : Tensor
        `(groups,)` pixels, from `find_displacements`.
    images : int
        Of a group.
    """
    return (spread >= SMALLEST_SPREAD * (32 / images) ** (1 / 3)) & (
        spread >= SMALLEST_SURENESS * error
    )


def gather_references(
    model: PolarTransformer, encoded: Encoded, estimates: Tensor, neighbours: Tensor
) -> Tensor:
    """Average for each image the estimates of others, turned onto it.

    Parameters
    ----------
    model : PolarTransformer
        Whose attention weighs.
    encoded : Encoded
        The images.
    estimates : Tensor
        `(n, box, box)`.
    neighbours : Tensor
        `(n, k)` which others; -1 where there are fewer.

    Returns
    -------
    Tensor
        `(n, box, box)`, zero outside the disk, and everywhere for an image that has none.
    """
    with full_precision(estimates.device):
        polar = model.grid.to_polar(estimates.float())
        if len(encoded.key) > len(polar):  # of the mirrored images as well
            polar = torch.cat([polar, mirror_samples(polar)])
        attention = attend_to_neighbours(encoded.query, encoded.key, polar, neighbours)
        return model.grid.to_images(attention.attended)
