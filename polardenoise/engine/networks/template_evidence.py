"""Template evidence: the probability that two images show the same template, at every rotation between them.

A template is an earlier estimate of one of the images. With the log-likelihood `L[k, j, s]` that image `j`, rotated by
`s`, shows template `k` (see `rotational_matching`), image `j` shows that template with probability

    p_j[k, s] = softmax over all templates k but its own, and rotations s, together, of L[k, j, s] / temperature

and the evidence that images `i` and `j` show the same, `s` apart, is

    evidence[i, j, s] = sum over k, r of p_i[k, r] p_j[k, r + s],

a circular correlation: one FFT, and a matrix product per angular frequency.

The estimate of `i` itself is no evidence for the rotation between `i` and `j`: it was made at the rotations that the
noise of `i` suggests, and would find these again. The estimates of third images do not know that noise
(docs/constants.rst has the figures).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.imaging.ring_harmonics import FourierRings
from polardenoise.engine.imaging.rotational_matching import rotation_matrix, select_ctf_rings
from polardenoise.engine.runtime.progress import tell_pass

#: Most templates of a set (docs/constants.rst).
TEMPLATES = 64

#: Log-likelihoods are divided by `TEMPERATURE / number ** SPREAD` where images show `number` templates about equally
#: well (see `choose_temperature`). Chosen on validation molecules and not learned (docs/constants.rst): training sets
#: are drawn without looking at noise, while the neighbours that `denoise` finds are also alike in their noise.
TEMPERATURE, SPREAD = 5.0, 0.5


@dataclass(frozen=True)
class TemplateComparison:
    """Harmonics of images and of templates, ready to be compared. No gradient goes through them.

    Attributes
    ----------
    images : Tensor
        `(2, modes, n, 2 * rings)`: real and imaginary parts of the images, and imaginary and negative real ones. Their
        products with templates are the two parts of a correlation.
    templates : Tensor
        `(modes, n, 2 * rings)`: real and imaginary parts of an earlier estimate of each image.
    squared_ctf : Tensor
        `(n, rings)` |CTF|^2.
    energies : Tensor
        `(n, rings)` of the templates.
    rings : FourierRings
        Of the harmonics.
    """

    images: Tensor
    templates: Tensor
    squared_ctf: Tensor
    energies: Tensor
    rings: FourierRings

    def select(self, images: Tensor) -> "TemplateComparison":
        """Take the images and templates of these places `(m,)`."""
        return TemplateComparison(
            self.images.index_select(2, images),
            self.templates.index_select(1, images),
            self.squared_ctf[images],
            self.energies[images],
            self.rings,
        )


@torch.no_grad()
def prepare_comparison(
    images: Tensor, ctf_rings: Tensor, estimates: Tensor, rings: FourierRings
) -> TemplateComparison:
    """Prepare images and templates for comparison.

    Parameters
    ----------
    images : Tensor
        `(2, modes, n, rings)` from `compute_image_harmonics`.
    ctf_rings : Tensor
        `(n, box // 2)` |CTF| by ring.
    estimates : Tensor
        `(2, modes, n, rings)`: harmonics of an earlier estimate of each image.
    rings : FourierRings
        Of the harmonics.
    """
    return TemplateComparison(
        pair_parts(images),
        torch.cat([estimates[0], estimates[1]], -1),
        select_ctf_rings(ctf_rings, rings).square(),
        rings.ring_energies(estimates),
        rings,
    )


def pair_parts(images: Tensor) -> Tensor:
    """Put harmonics `(2, modes, n, rings)` of images as `TemplateComparison` has them, `(2, modes, n, 2 * rings)`."""
    real, imaginary = images
    return torch.stack([torch.cat([real, imaginary], -1), torch.cat([imaginary, -real], -1)])


@torch.no_grad()
def score_sets(
    comparison: TemplateComparison, shape: tuple[int, int], some: slice, angles: int
) -> Tensor:
    """Log-likelihoods that the images `some` of a set show its templates, `(sets, images, templates, angles)`.

    The last axis is the rotation in angular steps, counter-clockwise, that takes the image onto the template.
    """
    images = comparison.images.unflatten(2, shape)[:, :, :, some]
    templates = comparison.templates.unflatten(1, shape)[:, :, :TEMPLATES]
    squared_ctf = comparison.squared_ctf.unflatten(0, shape)[:, some]
    energies = comparison.energies.unflatten(0, shape)[:, :TEMPLATES]
    return score_templates(images, templates, squared_ctf, energies, comparison.rings, angles)


def score_templates(
    images: Tensor,
    templates: Tensor,
    squared_ctf: Tensor,
    energies: Tensor,
    rings: FourierRings,
    angles: int,
) -> Tensor:
    """Log-likelihoods that images show templates, `(..., images, templates, angles)`.

    Parameters
    ----------
    images, templates, squared_ctf, energies : Tensor
        `(2, modes, ..., images, 2 rings)`, `(modes, ..., templates, 2 rings)`, `(..., images, rings)` and
        `(..., templates, rings)`, each as `TemplateComparison` has it.
    rings : FourierRings
        Of the harmonics.
    angles : int
        Rotations over a turn; the last axis is as `score_sets` has it.
    """
    # (2, modes, ..., images, 2 rings) @ (modes, ..., 2 rings, templates)
    products = (images @ templates.mT).flatten(0, 1)  # (2 modes, ..., images, templates)
    seen_energy = squared_ctf @ energies.mT  # (..., images, templates)
    # In this order the product is made at once with the angles last.
    matrix = backward_rotations(rings, angles, products.device)
    scores = products.flatten(1).mT @ matrix.mT
    tell_pass()  # no pass of its own, but time goes by
    return scores.view(*seen_energy.shape, angles).sub_(seen_energy[..., None], alpha=0.5)


def score_neighbours(comparison: TemplateComparison, neighbours: Tensor, angles: int) -> Tensor:
    """Log-likelihoods that neighbours `(m, K)` show the templates among them, `(m, K, templates, angles)`.

    The last axis as `score_sets` has it.
    """
    one_set_each = comparison.select(neighbours.flatten())
    return score_sets(one_set_each, (len(neighbours), neighbours.shape[1]), slice(None), angles)


def backward_rotations(rings: FourierRings, angles: int, device: torch.device) -> Tensor:
    """Give the matrix of `rotational_matching.rotation_matrix` for rotations of the image, not of the estimate."""
    matrix = rotation_matrix(rings.modes, device, angles)
    return torch.cat([matrix[:, : rings.modes], -matrix[:, rings.modes :]], 1)


def choose_temperature(best: Tensor, own: Tensor) -> Tensor:
    """Choose what log-likelihoods are divided by: `TEMPERATURE / number ** SPREAD`.

    `number` is the effective number of templates that an image shows, the exponential of the mean entropy of its
    probabilities at temperature 1. Where many templates explain an image equally well, views repeat and estimates are
    good: their likelihoods can be relied on. Where one or two explain it far better than all others, it is by the noise
    that they share.

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
    probabilities = best.masked_fill(own, -math.inf).softmax(-1)
    entropy = torch.special.entr(probabilities).sum(-1).mean(-1)
    return TEMPERATURE * (-SPREAD * entropy).exp()


@torch.no_grad()
def transform_probabilities(scores: Tensor, own: Tensor, temperature: Tensor) -> Tensor:
    """Compute the probabilities that images show templates, and transform them over rotations.

    Parameters
    ----------
    scores : Tensor
        `(sets, images, templates, angles)` log-likelihoods. Overwritten, to save memory.
    own : Tensor
        `(images, templates)` bool: where a template is the image's own estimate, whose probability is set to 0.
    temperature : Tensor
        `(sets,)` what log-likelihoods are divided by.

    Returns
    -------
    Tensor
        `(frequencies, sets, images, templates)` complex; at frequency 0 those of an image sum to 1.
    """
    logits = scores.div_(temperature[:, None, None, None])
    logits.masked_fill_(own[..., None], -math.inf)
    probabilities = logits.flatten(-2).softmax(-1).view_as(logits)
    return torch.fft.rfft(probabilities).movedim(-1, 0)


def correlate_probabilities(of_queries: Tensor, of_keys: Tensor, angles: int) -> Tensor:
    """Correlate probabilities `(frequencies, sets, images, templates)` to evidence `(sets, queries, keys, angles)`."""
    return torch.fft.irfft((of_queries.conj() @ of_keys.mT).movedim(0, -1), n=angles)
