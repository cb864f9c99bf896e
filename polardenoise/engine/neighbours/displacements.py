"""Displacements: how far images lie from a reference of what they show, and how sure that is.

An image `x` with noise of variance 1 and a CTF `C` shows the reference `y` moved by `d` with log-likelihood

    <C x, move(y, d)> + constant,

which is computed for every displacement in whole pixels, with a parabola between them. The displacements of a group of
images are taken as normally distributed about the centre, with a spread that is estimated from the group itself
(expectation maximisation); what is found for each image is the posterior mean. Where the references come from is the
matter of those who call: estimates of other images (`centring`), templates, class averages.
"""

import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.runtime.devices import full_precision

#: Displacements are searched up to this share of the box (6 px of 64).
LARGEST_SHARE = 6 / 64

#: Factor of the likelihood. References are blurred by the displacements of their own images, so that the likelihood
#: understates how well a displacement is known. This and the next two were measured (docs/constants.rst).
SHARPNESS = 1.7

#: Until displacements have settled, the spread is taken so many times as large, and steps are so many times as long, as
#: the likelihood says: an image is in its neighbours' estimates too, where it lies, and holds itself back. Not so the
#: last step.
SPREAD_FACTOR = 2.0
STEP_FACTOR = 2.0

#: Less mass than this has its centre in the middle.
LEAST_MASS = 1e-6

#: Spread that the estimate begins with, in pixels, and how often it is improved.
FIRST_SPREAD = 2.0
SPREAD_STEPS = 20


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


def find_centres_of_mass(mass: Tensor) -> Tensor:
    """Find how far off the centre of the box the centre of mass lies, `(n, 2)` pixels `(x, y)`, of `(n, box, box)`."""
    box = mass.shape[-1]
    along = torch.arange(box, device=mass.device, dtype=mass.dtype) - box // 2
    whole = mass.sum((1, 2)).clamp_min(LEAST_MASS)
    return torch.stack([mass.sum(1) @ along, mass.sum(2) @ along], 1) / whole[:, None]


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
