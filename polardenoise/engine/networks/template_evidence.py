"""Matches of images by way of third ones: how far two of them show the same earlier estimate, and how they are turned.

With the log-likelihood `L[k, j, s]` that image `j`, turned by `s`, shows the estimate of image `k`, a template (see
`rotational_matching`), it shows that one with the chance

    chance_j[k, s] = softmax over others k and rotations s together of L[k, j, s] / temperature

and two images show the same, at rotations that are `s` apart, with

    match[i, j, s] = sum over k, r of chance_i[k, r] chance_j[k, r + s],

a correlation: one FFT, and a matrix product per angular frequency.

Image `j` is not compared with the estimate of `i` to find the rotation between the two: that estimate was made at the
rotations that the noise of `i` suggests, and finds them again. The estimates of third images do not know that noise.
(One view, 64 images, SNR 0.02, three validation molecules, weights that had learned the former: relative MSE 0.107 with
the estimate of `i`, 0.082 with those of third images.)
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.imaging.ring_harmonics import FourierRings
from polardenoise.engine.imaging.rotational_matching import ring_transfers, rotation_matrix

#: Most estimates that images are compared with. (128 images of 4 views at SNR 0.02, three validation molecules, the
#: same weights: relative MSE with all 128 or with 64 of them 0.145, with 32 0.147, with 16 0.148.)
TEMPLATES = 64

#: What log-likelihoods are divided by where images show one template each, and how it falls with the number of
#: templates that they show (see `choose_temperature`). Not learned: in training nobody has chosen an image's neighbours
#: by its noise, as the search in cells does, and what is learned there trusts them too far. Chosen on validation
#: molecules in cells; with one temperature for all, the best ones are 1.3 (4 views mixed, SNR 0.02), 2 (random views,
#: SNR 0.02), 3 (random views, SNR 0.05) and 5 (the same with CTFs).
TEMPERATURE, SPREAD = 5.0, 0.5


@dataclass(frozen=True)
class Observed:
    """What matches compare, from `observe`. Nothing is learned through it.

    Attributes
    ----------
    images : Tensor
        `(2, modes, n, 2 * rings)`: real and imaginary parts of the images, and imaginary and negative real ones. Their
        products with templates are the two parts of a correlation.
    templates : Tensor
        `(modes, n, 2 * rings)`: real and imaginary parts of an earlier estimate of each image.
    transfers : Tensor
        `(n, rings)` squared CTF.
    energies : Tensor
        `(n, rings)` of the estimates.
    rings : FourierRings
        What described them.
    """

    images: Tensor
    templates: Tensor
    transfers: Tensor
    energies: Tensor
    rings: FourierRings

    def select(self, images: Tensor) -> "Observed":
        """Take the images and estimates of these places `(m,)`."""
        return Observed(
            self.images.index_select(2, images),
            self.templates.index_select(1, images),
            self.transfers[images],
            self.energies[images],
            self.rings,
        )


@torch.no_grad()
def observe(images: Tensor, profiles: Tensor, estimates: Tensor, rings: FourierRings) -> Observed:
    """Prepare images and estimates for matches.

    Parameters
    ----------
    images : Tensor
        `(2, modes, n, rings)` from `describe_observed`.
    profiles : Tensor
        `(n, box // 2)` |CTF| by ring.
    estimates : Tensor
        `(2, modes, n, rings)`: an earlier estimate of each image, described.
    rings : FourierRings
        What described them.
    """
    real, imaginary = images
    parts = torch.cat([real, imaginary], -1), torch.cat([imaginary, -real], -1)
    return Observed(
        torch.stack(parts),
        torch.cat([estimates[0], estimates[1]], -1),
        ring_transfers(profiles, rings).square(),
        rings.ring_energies(estimates),
        rings,
    )


@torch.no_grad()
def score_sets(observed: Observed, shape: tuple[int, int], some: slice, angles: int) -> Tensor:
    """Log-likelihoods that the images `some` of a set show its templates, `(sets, images, templates, angles)`.

    The last axis is the rotation in angular steps, counter-clockwise, that takes the image onto the template.
    """
    images = observed.images.unflatten(2, shape)[:, :, :, some]  # (2, modes, sets, images, 2 rings)
    templates = observed.templates.unflatten(1, shape)[:, :, :TEMPLATES]
    products = (images @ templates.mT).flatten(0, 1)  # (2 modes, sets, images, templates)
    transfers = observed.transfers.unflatten(0, shape)[:, some]
    energies = observed.energies.unflatten(0, shape)[:, :TEMPLATES]
    seen_energy = transfers @ energies.mT  # (sets, images, templates)
    # In this order the product is made at once with the angles last.
    matrix = backward_rotations(observed.rings, angles, products.device)
    scores = products.flatten(1).mT @ matrix.mT
    return scores.view(*seen_energy.shape, angles).sub_(seen_energy[..., None], alpha=0.5)


def score_neighbours(observed: Observed, theirs: Tensor, angles: int) -> Tensor:
    """Log-likelihoods that neighbours `(m, K)` show the templates among them, `(m, K, templates, angles)`.

    The last axis as `score_sets` has it.
    """
    one_set_each = observed.select(theirs.flatten())
    return score_sets(one_set_each, (len(theirs), theirs.shape[1]), slice(None), angles)


def backward_rotations(rings: FourierRings, angles: int, device: torch.device) -> Tensor:
    """Give the matrix of `rotational_matching.rotation_matrix` for rotations of the image, not of the estimate."""
    matrix = rotation_matrix(rings, device, angles)
    return torch.cat([matrix[:, : rings.modes], -matrix[:, rings.modes :]], 1)


def choose_temperature(best: Tensor, own: Tensor) -> Tensor:
    """Choose by what to divide log-likelihoods before they compete: `TEMPERATURE / number ** SPREAD`.

    `number` is that of the templates that an image shows (the exponential of the mean entropy) if its log-likelihoods
    are believed. Where views repeat and estimates are good, many templates show the same and explain an image equally
    well: they can be believed. Where one or two explain it far better than the others, it is by noise that they share.

    Parameters
    ----------
    best : Tensor
        `(sets, images, templates)` log-likelihoods at the best rotations.
    own : Tensor
        `(images, templates)` bool: where a template is the image's own estimate.

    Returns
    -------
    Tensor
        `(sets,)`.
    """
    chances = best.masked_fill(own, -math.inf).softmax(-1)
    entropy = torch.special.entr(chances).sum(-1).mean(-1)
    return TEMPERATURE * (-SPREAD * entropy).exp()


@torch.no_grad()
def transform_chances(scores: Tensor, own: Tensor, temperature: Tensor) -> Tensor:
    """Transform the chances that images show templates, over rotations.

    Parameters
    ----------
    scores : Tensor
        `(sets, images, templates, angles)` log-likelihoods. Overwritten: they are as many as the weights.
    own : Tensor
        `(images, templates)` bool: where a template is the image's own estimate. No image shows that.
    temperature : Tensor
        `(sets,)` what log-likelihoods are divided by.

    Returns
    -------
    Tensor
        `(frequencies, sets, images, templates)` complex; at frequency 0 those of an image sum to 1.
    """
    competing = scores.div_(temperature[:, None, None, None])
    competing.masked_fill_(own[..., None], -math.inf)
    chances = competing.flatten(-2).softmax(-1).view_as(competing)
    return torch.fft.rfft(chances).movedim(-1, 0)


def correlate_chances(of_queries: Tensor, of_keys: Tensor, angles: int) -> Tensor:
    """Correlate chances `(frequencies, sets, images, templates)` over rotations, `(sets, queries, keys, angles)`."""
    return torch.fft.irfft((of_queries.conj() @ of_keys.mT).movedim(0, -1), n=angles)
