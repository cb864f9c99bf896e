"""Rotational matching: the likelihood of every image given every clean estimate, at every in-plane rotation.

For an image `x` with noise of variance 1 and a CTF `C`, the estimate `y` turned by `alpha` explains

    <C x, turn(y, alpha)> - |C y|^2 / 2

of it: the logarithm of the ratio of two likelihoods, that `x` shows `y` and that `x` is noise. This is a matched
filter: an image is compared with a clean estimate far more reliably than with another noisy image.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.imaging.ring_harmonics import FourierRings, weigh_modes
from polardenoise.engine.runtime.devices import count_at_once, keep_made
from polardenoise.engine.runtime.progress import tell_pass

#: Rotations that are tried, evenly over a turn: 3.75 degrees apart.
ROTATIONS = 96

#: Numbers of one block of comparisons: small enough for the caches.
VALUES_AT_ONCE = {"cpu": 2**21, "cuda": 2**27}

#: Log-likelihoods of many candidates are divided by this before they are made probabilities, because the estimates are
#: not perfect: at 1 the best candidate takes all (docs/constants.rst).
TEMPERATURE = 8.0


@dataclass(frozen=True)
class RotationalMatches:
    """The best rotation of every image with every estimate.

    Attributes
    ----------
    likelihood : Tensor
        `(images, estimates)`: log-likelihood ratio at the best rotation.
    rotation : Tensor
        `(images, estimates)` int64: that rotation in steps of `360 / ROTATIONS` degrees, counter-clockwise, which
        takes the estimate onto the image.
    """

    likelihood: Tensor
    rotation: Tensor


def compute_image_harmonics(images: Tensor, ctf_rings: Tensor, rings: FourierRings) -> Tensor:
    """Compute the harmonics of noisy images, each multiplied by its CTF, as matching takes them.

    Parameters
    ----------
    images : Tensor
        `(n, box, box)`, phases flipped, noise of variance 1.
    ctf_rings : Tensor
        `(n, box // 2)` |CTF| by ring.
    rings : FourierRings
        Of that box.

    Returns
    -------
    Tensor
        `(2, modes, n, rings)`.
    """
    return rings.to_harmonics(images) * select_ctf_rings(ctf_rings, rings)


def select_ctf_rings(ctf_rings: Tensor, rings: FourierRings) -> Tensor:
    """Select |CTF| of rings 1, 2, ... from CTF rings `(n, box // 2)`, whose first value is ring 0: `(n, rings)`."""
    return ctf_rings[:, 1 : rings.rings + 1]


def match_images(
    image_harmonics: Tensor, ctf_rings: Tensor, estimates: Tensor, rings: FourierRings
) -> RotationalMatches:
    """Compare every image with every estimate at every rotation.

    Parameters
    ----------
    image_harmonics : Tensor
        `(2, modes, n, rings)` from `compute_image_harmonics`.
    ctf_rings : Tensor
        `(n, box // 2)` |CTF| by ring.
    estimates : Tensor
        `(2, modes, m, rings)`: harmonics of clean estimates.
    rings : FourierRings
        Of the harmonics.
    """
    device, count, others = image_harmonics.device, image_harmonics.shape[2], estimates.shape[2]
    abs_ctf = select_ctf_rings(ctf_rings, rings).to(device)
    seen_energy = abs_ctf.square() @ rings.ring_energies(estimates).T  # (n, m): |C y|^2
    to_rotations = rotation_matrix(rings.modes, device)  # (ROTATIONS, 2 * modes)
    keys = torch.cat([estimates[0], estimates[1]], -1).mT.contiguous()  # (modes, 2 rings, m)
    real, imaginary = image_harmonics
    likelihood = torch.empty(count, others, device=device)
    rotation = torch.empty(count, others, dtype=torch.int64, device=device)
    at_once = count_at_once(VALUES_AT_ONCE, device, others * ROTATIONS)
    for start in range(0, count, at_once):
        some = slice(start, start + at_once)
        # Real and imaginary part of a_m conj(b_m), summed over the rings.
        first = torch.cat([real[:, some], imaginary[:, some]], -1)
        second = torch.cat([imaginary[:, some], -real[:, some]], -1)
        products = torch.stack([first @ keys, second @ keys])  # (2, modes, images, m)
        scores = to_rotations @ products.flatten(2).flatten(0, 1)  # (ROTATIONS, images * m)
        best, at = scores.max(0)
        likelihood[some] = best.view(-1, others) - 0.5 * seen_energy[some]
        rotation[some] = at.view(-1, others)
        tell_pass()  # no pass of its own, but time goes by
    return RotationalMatches(likelihood, rotation)


@keep_made(16)
def rotation_matrix(modes: int, device: torch.device, rotations: int = ROTATIONS) -> Tensor:
    """Give the matrix from products of so many modes, real then imaginary parts, to correlations over a turn.

    `sum_m w_m Re(p_m exp(i m alpha))`, `p_m = a_m conj(b_m)`, is the inner product of `a` with `b` turned by `alpha`.
    """
    steps = torch.arange(rotations, device=device, dtype=torch.float64)
    angles = 2 * math.pi / rotations * steps
    turned = angles[:, None] * torch.arange(modes, device=device)
    weights = weigh_modes(modes, device)
    return torch.cat([turned.cos() * weights, -turned.sin() * weights], 1).float()


def measure_affinity(likelihood: Tensor, apart: Tensor | None = None) -> Tensor:
    """Measure how probable it is that two images of a set show the same, a symmetric affinity.

    Parameters
    ----------
    likelihood : Tensor
        `(..., n, n)`: image i against the estimate of image j; or `(..., n, 2 n)`, against the mirrored ones as well.
    apart : Tensor, optional
        `(n, n)` bool: images that are not to be compared.

    Returns
    -------
    Tensor
        Of the likelihood's shape, symmetric in images: logarithm of the mean of two probabilities, that i shows what j
        does and that j shows what i does, each among all others; -inf for an image and itself, mirrored or not, and
        where images are not compared.
    """
    count = likelihood.shape[-2]
    others = (likelihood / TEMPERATURE).unflatten(
        -1, (-1, count)
    )  # (..., n, as it is or mirrored, n)
    others.diagonal(dim1=-3, dim2=-1).fill_(-math.inf)
    if apart is not None:
        others.masked_fill_(apart[:, None], -math.inf)
    log_probability = others.flatten(-2).log_softmax(-1)
    if apart is not None:  # an image that none is left for
        log_probability = log_probability.nan_to_num(nan=-math.inf, neginf=-math.inf)
    log_probability = log_probability.view_as(others)
    # That i shows j mirrored is that j shows i mirrored.
    affinity = torch.logaddexp(log_probability, log_probability.transpose(-3, -1)) - math.log(2)
    return affinity.flatten(-2)
