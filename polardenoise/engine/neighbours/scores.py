"""Scores: how surely an image shows one particle, whole and at its centre, that others of the set show too.

A score is the product of four shares, each from 0 to 1:

- consistency: how much of what its nearest neighbours show is in the image; noise has nothing of it;
- agreement: how much of what the neighbours show they have in common, once turned onto the image. Junk is of many
  shapes, and finds neighbours that are like it by halves;
- explanation: what of the image is left when the common part is taken away, against the noise that must be left. A
  second particle in the box, or an edge, is not explained;
- centring: how near to the centre of the box the mass lies in the image as it was, further off than usual in the set.

None but the last is held against the set's own average, so that it hardly matters how much of the set is junk.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.ring_harmonics import FourierRings
from polardenoise.engine.imaging.rotational_matching import (
    ROTATIONS,
    RotationalMatches,
    select_ctf_rings,
)
from polardenoise.engine.neighbours.displacements import find_centres_of_mass

#: The energy of an estimate counts as at least this share of the median one: noise would else be divided by next to
#: nothing.
LEAST_ENERGY = 0.5

#: It counts as at least this too, in units of the noise, for sets in which most images are empty: noise has 2.5
#: standard deviations in common with any estimate at the best rotation, half the energy if that is 25.
LEAST_EVIDENCE = 25.0

#: How many neighbours an image is held against.
NEIGHBOURS = 8

#: The share of agreement counts so many times: those of particles have 0.92 and more in common, of junk 0.6 to 0.9.
AGREEMENT_POWER = 4

#: What is left unexplained is looked for on these rings, cycles per box: particles have their energy there.
LOW_RINGS = 6
#: Standard deviations of the noise that may be left beyond what is expected.
NOISE_LEFT = 2.0
#: Share of the images whose rest is taken for noise.
QUIET = 0.25
#: Rings of a smaller |CTF| say nothing of what is left.
LEAST_CTF = 0.05

#: What is usual is asked of images whose estimates have this share of the strongest one's mass: not of empty ones.
STRONG = 0.1

#: How much further than usual the centre of mass lies off that of the box where centring is 0.6; share of the box.
OFF_CENTRE = 1 / 16


@dataclass(frozen=True)
class ScoredImages:
    """What images are scored by, all of one cluster.

    Attributes
    ----------
    matches : RotationalMatches
        Of all images with all estimates.
    neighbours : Tensor
        `(n, K)` the image itself, then the nearest first; -1 where there are fewer.
    estimates : Tensor
        `(n, box, box)` of the denoised images.
    harmonics : Tensor
        `(2, modes, n, rings)` theirs.
    image_harmonics : Tensor
        `(2, modes, n, rings)` of the raw images, as they are matched.
    ctf_rings : Tensor
        `(n, box // 2)` |CTF| by ring.
    rings : FourierRings
        Of the harmonics.
    displacements : Tensor
        `(n, 2)` pixels, `(x, y)`: how far off the centre of their images the particles lay, before they were moved.
    """

    matches: RotationalMatches
    neighbours: Tensor
    estimates: Tensor
    harmonics: Tensor
    image_harmonics: Tensor
    ctf_rings: Tensor
    rings: FourierRings
    displacements: Tensor


def score_images(images: ScoredImages) -> Tensor:
    """Score images, `(n,)` from 0 to 1; 0 for an image without neighbours."""
    nearest = images.neighbours[:, 1 : NEIGHBOURS + 1]
    if nearest.shape[1] == 0:
        return images.matches.likelihood.new_zeros(len(nearest))
    common, agreement = find_common_part(images, nearest)
    return (
        measure_consistency(images, nearest)
        * agreement**AGREEMENT_POWER
        * measure_explanation(images, common)
        * measure_centring(images.estimates, images.displacements)
    )


def measure_consistency(images: ScoredImages, nearest: Tensor) -> Tensor:
    """Measure how much of what their neighbours `(n, k)` show is in the images, `(n,)`.

    Least squares asks how many times the neighbour's estimate `y`, as this image's CTF would show it, is found in the
    image `x`: `<x, C y> / |C y|^2` is 1 for a particle of that view, 0 for noise. The image's own estimate has no part.
    """
    there = nearest >= 0
    nearest = nearest.clamp_min(0)
    energies = images.rings.ring_energies(images.harmonics)
    squared_ctf = select_ctf_rings(images.ctf_rings, images.rings).to(energies.device).square()
    seen = (squared_ctf[:, None] * energies[nearest]).sum(-1)  # (n, neighbours): |C y|^2
    found = images.matches.likelihood.gather(1, nearest) + 0.5 * seen
    least = (LEAST_ENERGY * (squared_ctf * energies).sum(1).median()).clamp_min(LEAST_EVIDENCE)
    shares = (found / torch.maximum(seen, least)).where(there, 0)
    return (shares.sum(1) / there.sum(1).clamp_min(1)).clamp(0, 1)


def find_common_part(images: ScoredImages, nearest: Tensor) -> tuple[Tensor, Tensor]:
    """Average the neighbours `(n, k)` of each image, turned onto it.

    Returns
    -------
    tuple of Tensor
        `(n, rings, modes)` complex; and its share of the neighbours' energy, `(n,)`: 1 where all show the same, 0 where
        they show nothing. A single neighbour has all in common with itself.
    """
    estimates = torch.complex(*images.harmonics).permute(1, 2, 0)  # (n, rings, modes)
    energy = images.rings.ring_energies(images.harmonics).sum(1)
    order = torch.arange(estimates.shape[-1], device=estimates.device)
    common, mean_energy = torch.zeros_like(estimates), torch.zeros_like(energy)
    count = (nearest >= 0).sum(1).clamp_min(1)
    for place in range(
        nearest.shape[1]
    ):  # all at once would be eight times the memory of the cluster
        there, other = nearest[:, place] >= 0, nearest[:, place].clamp_min(0)
        steps = images.matches.rotation.gather(1, other[:, None])
        phase = -2 * math.pi / ROTATIONS * steps * order
        weight = there / count
        turned = estimates[other] * torch.polar(weight[:, None].expand_as(phase), phase)[:, None]
        common += turned
        mean_energy += weight * energy[other]
    weights = images.rings.weights(common.device)
    own = (common.abs().square() * weights).sum((1, 2))
    return common, (own / mean_energy.clamp_min(1e-6)).clamp(0, 1)


def measure_explanation(images: ScoredImages, common: Tensor) -> Tensor:
    """Measure how little of each image its neighbours' common part `(n, rings, modes)` leaves: 1 nothing, `(n,)`.

    What is left is counted beyond the noise that is expected, and in terms of what is explained.
    """
    rings, low = images.rings, slice(0, LOW_RINGS)
    abs_ctf = select_ctf_rings(images.ctf_rings, rings).to(common.device)[:, low]
    counted = abs_ctf >= LEAST_CTF
    weights = rings.weights(common.device)
    seen = torch.complex(*images.image_harmonics).permute(1, 2, 0)[:, low]  # C x
    expected = common[:, low] * abs_ctf[..., None]
    raw = seen / abs_ctf.clamp_min(LEAST_CTF)[..., None]
    left = ((raw - expected).abs().square() * weights).sum(-1)
    white = rings.noise_energies().to(left)[low]
    strength = measure_noise(left / white, counted)
    beyond = ((left - strength * white) * counted).sum(1)
    deviation = (2 * (strength.square() * white * counted).sum(1)).sqrt()
    shown = ((expected.abs().square() * weights).sum(-1) * counted).sum(1)
    unexplained = (beyond - NOISE_LEFT * deviation).clamp_min(0)
    return (1 - unexplained / torch.maximum(shown, deviation).clamp_min(1e-6)).clamp(0, 1)


def measure_noise(left: Tensor, counted: Tensor) -> Tensor:
    """Measure how strong the noise of each low ring is, `(rings,)`, by what is left of images, in terms of white noise.

    Real noise is stronger at low frequencies, and networks see images with a CTF as they are. What is left of the
    images that are explained best is noise: of `QUIET` of them, so that junk has no say.

    Parameters
    ----------
    left : Tensor
        `(n, rings)` energies, 1 on the mean for white noise of variance 1.
    counted : Tensor
        `(n, rings)` bool: rings that say something.
    """
    told = left.where(counted, torch.nan)
    return told.nanquantile(QUIET, dim=0).nan_to_num(1.0).clamp_min(1.0)


def measure_centring(estimates: Tensor, displacements: Tensor) -> Tensor:
    """Measure how near to the centre of their images the mass of particles lies, `(n,)`: 1 as near as usual.

    It is that of the estimates `(n, box, box)`, where it was before they were moved by displacements `(n, 2)`: a blob
    somewhere in the box looks like a particle once it is moved to the centre.
    """
    box = estimates.shape[-1]
    mass = (estimates * disk_mask(box, box / 2 - 0.5, estimates.device).to(estimates)).clamp_min(0)
    whole = mass.sum((1, 2))
    distance = torch.hypot(*(find_centres_of_mass(mass) + displacements).unbind(1))
    strong = whole >= STRONG * whole.max()
    further = (distance - distance[strong].median()).clamp_min(0)
    return (-further.square() / (2 * (OFF_CENTRE * box) ** 2)).exp()
