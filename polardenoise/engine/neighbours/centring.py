"""Recentring: how far particles lie off the centre of their images, found from the images that show the same.

Attention turns images onto one another but does not move them: averages of particles that lie some pixels apart are
blurred, and with a CTF a set of one view loses much of what it could give (docs/centring.rst). Once denoised, though,
the images that an image attends to, itself left out, are a reference for it. An image `x` with noise of variance 1 and
a CTF `C` shows the reference `y` moved by `d` with log-likelihood

    <C x, move(y, d)> + constant.

The displacements of a group are taken as normally distributed about the centre, with a spread that is estimated from
its own images, and each image is moved back by the posterior mean. A group that is centred already has next to no
spread and stays where it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.mirror_parity import mirror_samples
from polardenoise.engine.networks.neighbour_attention import attend_to_neighbours
from polardenoise.engine.networks.polar_transformer import Encoded, PolarTransformer
from polardenoise.engine.runtime.devices import full_precision

#: Displacements are searched up to this share of the box (6 px of 64).
LARGEST_SHARE = 6 / 64

#: Factor of the likelihood. References are blurred by the displacements of their own images, so that the likelihood
#: understates how well a displacement is known.
SHARPNESS = 1.7

#: Images are moved, denoised again and compared with better references until their displacements change by less than
#: this, pixels (root mean square of a coordinate), or that often: clusters, and sets, where the few images of unlike
#: views would wander off together.
SETTLED = 0.25
MOST_PASSES, MOST_PASSES_OF_SETS = 5, 3

#: Groups of 32 images of less spread (pixels, of either coordinate) stay as they are; it falls as the cube root of the
#: number of images. This and the constants below were measured on validation molecules (docs/constants.rst).
SMALLEST_SPREAD = 0.35

#: Groups whose spread is a smaller share than this of the error of a single displacement stay as they are.
SMALLEST_SURENESS = 0.7

#: Until displacements have settled, the spread is taken so many times as large, and steps are so many times as long, as
#: the likelihood says: an image is in its neighbours' estimates too, where it lies, and holds itself back. Not so the
#: last step.
SPREAD_FACTOR = 2.0
STEP_FACTOR = 2.0

#: Most images that a reference is made of.
REFERENCE_IMAGES = 32

#: Spread that the estimate begins with, in pixels, and how often it is improved.
FIRST_SPREAD = 2.0
SPREAD_STEPS = 20


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
        disk = disk_mask(box, box / 2 - 0.5).to(self.estimates.device)
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
        `(groups, n, box // 2)`.
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
    likelihood = compare_with_others(model, images, ctf_rings, neighbours, encoded, estimates)
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
        model, images, ctf_rings, neighbours, denoise, displacements, MOST_PASSES_OF_SETS
    )
    estimates = denoise(shift_images(images, -displacements))[1]
    # A group that stays gets what it had, bit for bit, whatever the groups beside it do.
    estimates = torch.where(off_centre[:, None, None, None], estimates, as_they_lie)
    return Centred(estimates, displacements)


def settle(
    model: PolarTransformer,
    images: Tensor,
    ctf_rings: Tensor,
    neighbours: Tensor,
    denoise: DenoiseGroups,
    displacements: Tensor,
    most_passes: int = MOST_PASSES,
) -> tuple[Tensor, Tensor]:
    """Move images until their displacements hardly change any more, but no more than so many times.

    The other parameters are those of `denoise_moved_groups`. Each group settles by itself, whatever those beside it do.

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
        likelihood = compare_with_others(model, moved, ctf_rings, neighbours, encoded, estimates)
        del encoded  # before the next one is made
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
) -> Tensor:
    """Find displacements `(groups, n, 2)` of images that were moved by settled ones, with a step as it comes."""
    likelihood = compare_with_others(model, moved, ctf_rings, neighbours, encoded, estimates)
    return find_displacements(likelihood, displacements, spread_factor=1.0, step_factor=1.0)[0]


def compare_with_others(
    model: PolarTransformer,
    images: Tensor,
    ctf_rings: Tensor,
    neighbours: Tensor,
    encoded: Encoded,
    estimates: Tensor,
) -> Tensor:
    """Compare images with what the others show: log-likelihoods of displacements, `(groups, n, W, W)`."""
    others = neighbours[:, :REFERENCE_IMAGES]
    references = gather_references(model, encoded, estimates.flatten(0, 1), others)
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


def correlate(images: Tensor, ctf_rings: Tensor, references: Tensor) -> Tensor:
    """Compute the log-likelihood of every displacement in whole pixels, up to a constant.

    Parameters
    ----------
    images : Tensor
        `(n, box, box)`, phases flipped, noise of variance 1.
    ctf_rings : Tensor
        `(n, box // 2)` |CTF| by ring.
    references : Tensor
        `(n, box, box)` clean, without CTF.

    Returns
    -------
    Tensor
        `(n, 2 radius + 1, 2 radius + 1)`: rows are displacements in y, columns in x, from `-radius`.
    """
    box = images.shape[-1]
    radius = max(1, round(LARGEST_SHARE * box))
    with full_precision(images.device):
        seen = torch.fft.rfft2(filter_by_rings(images.float(), ctf_rings.float()))
        product = seen * torch.fft.rfft2(references.float()).conj()
        everywhere = torch.fft.irfft2(product, s=(box, box))
    around = torch.arange(-radius, radius + 1, device=images.device) % box
    return everywhere[:, around][:, :, around]


def find_displacements(
    likelihood: Tensor,
    current: Tensor,
    spread_factor: float = SPREAD_FACTOR,
    step_factor: float = STEP_FACTOR,
    sharpness: float = SHARPNESS,
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the posterior mean of each displacement, the spread of each group, and the error of a single one.

    Parameters
    ----------
    likelihood : Tensor
        `(groups, n, 2 radius + 1, 2 radius + 1)` from `correlate`, of images already moved by `-current`.
    current : Tensor
        `(groups, n, 2)` pixels, `(x, y)`.
    spread_factor, step_factor : float
        1 where the references have nothing of the images that are compared with them.
    sharpness : float
        Factor of the likelihood; 1 where the references are not blurred by the displacements.

    Returns
    -------
    tuple of Tensor
        `(groups, n, 2)` displacements, those of `current` included; `(groups,)` spreads: standard deviations in pixels,
        of the largest likelihood (expectation maximisation) where that of a displacement is taken as normal about its
        peak; and `(groups,)` the median standard deviation of these peaks.
    """
    sharp = sharpness * likelihood
    radius = likelihood.shape[-1] // 2
    steps = torch.arange(-radius, radius + 1, device=likelihood.device, dtype=likelihood.dtype)
    from_centre_y = (current[..., 1, None] + steps).square()[..., :, None]
    from_centre_x = (current[..., 0, None] + steps).square()[..., None, :]
    from_centre = from_centre_y + from_centre_x  # (groups, n, W, W) squared distance

    def weigh(variance: Tensor, longer: float) -> tuple[Tensor, Tensor, Tensor]:
        penalty = from_centre / (2 * variance[:, None, None, None])
        peak, uncertainty = find_peaks(sharp, sharp - penalty)
        uncertainty = longer**2 * uncertainty
        shrink = variance[:, None, None] / (variance[:, None, None] + uncertainty)
        return shrink * (current + longer * peak), shrink * uncertainty, uncertainty

    variance = likelihood.new_full((len(likelihood),), FIRST_SPREAD**2)
    for _ in range(SPREAD_STEPS):
        mean, left, uncertainty = weigh(variance, 1.0)
        variance = (mean.square() + left).mean((1, 2)).clamp_min(1e-4)
    displacements, _, _ = weigh(spread_factor**2 * variance, step_factor)
    return displacements, variance.sqrt(), uncertainty.flatten(1).median(1).values.sqrt()


def find_peaks(likelihood: Tensor, posterior: Tensor) -> tuple[Tensor, Tensor]:
    """Fit a parabola to the likelihood about the pixel where the posterior is largest.

    Parameters
    ----------
    likelihood, posterior : Tensor
        `(..., W, W)`.

    Returns
    -------
    tuple of Tensor
        `(..., 2)` position of the likelihood's peak from the middle, in pixels `(x, y)`, and the variance of each
        coordinate; where the likelihood does not bend down there, the variance is large.
    """
    width = likelihood.shape[-1]
    inner = posterior[..., 1:-1, 1:-1].flatten(-2).argmax(-1)
    row, column = inner // (width - 2) + 1, inner % (width - 2) + 1
    flat = likelihood.flatten(-2)
    at = row * width + column

    def value(offset: int) -> Tensor:
        return flat.gather(-1, (at + offset)[..., None])[..., 0]

    means, variances = [], []
    for place, step in ((column, 1), (row, width)):  # x, y
        bend = 2 * value(0) - value(step) - value(-step)
        slope = 0.5 * (value(step) - value(-step))
        bends = bend > 1e-3
        safe = torch.where(bends, bend, torch.ones_like(bend))
        offset = torch.where(bends, (slope / safe).clamp(-1, 1), torch.zeros_like(bend))
        means.append(place - width // 2 + offset)
        variances.append(torch.where(bends, 1 / safe, torch.full_like(bend, 1e3)))
    return torch.stack(means, -1), torch.stack(variances, -1)
