"""What the truth itself leaves to be told: one ball for all particles, and the average of a particle's true neighbours.

Apoferritin is a hollow ball of 24 copies. Whoever finds nothing but its centre, and no view, has the error of the ball;
whoever knows every view and every centre, and averages images of the same half, has that of the true neighbours.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.ctf import CtfParameters, apply_ctf, compute_ctf
from polardenoise.engine.imaging.fourier import filter_images, shift_images
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotation import rotate_images
from polardenoise.engine.imaging.rotational_matching import (
    ROTATIONS,
    compute_image_harmonics,
    match_images,
)
from polardenoise.engine.neighbours.displacements import correlate, find_peaks

BALL = "one ball at the true centre, told the truth"
NEIGHBOURS = "average of the true neighbours, told views and centres"
LIMITS = (BALL, NEIGHBOURS)

#: How often centres are found again by a better ball.
CENTRING_PASSES = 5
#: Neighbours of an average, itself among them: of 16, 32, 64, 128 and 256 about the best number at SNR 0.25.
COUNT = 128
#: Floors of quotients by the CTF's power: of one image without noise, of the mean of many, and of one noisy image.
CLEAN_FLOOR, BALL_FLOOR, NOISY_FLOOR = 0.05, 1e-3, 0.3
SEED = 0


@dataclass(frozen=True)
class KnownParticles:
    """What the truth tells of particles, whatever their noise.

    Attributes
    ----------
    ctf : Tensor
        `(n, N, N // 2 + 1)`.
    places : Tensor
        `(n, 2)` pixels, `(x, y)`: how far they lie off the centre.
    alike : dict
        By row: `(k,)` int64 rows of the same half that show nearly the same, itself first, and the degrees that
        `rotate_images` turns them by onto it.
    """

    ctf: Tensor
    places: Tensor
    alike: dict[int, tuple[Tensor, Tensor]]


def remove_ctf(truth: Tensor, ctf: Tensor) -> Tensor:
    """Divide images `(n, N, N)` that have no noise by their CTFs `(n, N, N // 2 + 1)`, but for the zeros."""
    return filter_images(truth, ctf / (ctf.square() + CLEAN_FLOOR))


def average_turns(image: Tensor) -> Tensor:
    """Average an image `(N, N)` over all rotations about its centre: a ball's projection."""
    box = image.shape[-1]
    offset = torch.arange(box) - box // 2
    radius = torch.hypot(offset[:, None].float(), offset.float())
    inner = radius.floor().long()
    share = radius - inner
    bins = image.new_zeros(2, int(inner.max()) + 2)
    for step, weight in ((0, 1 - share), (1, share)):
        places = (inner + step).flatten()
        bins[0].index_add_(0, places, (weight * image).flatten())
        bins[1].index_add_(0, places, weight.flatten().to(image))
    profile = bins[0] / bins[1].clamp_min(1e-6)
    return (1 - share) * profile[inner] + share * profile[inner + 1]


def find_centres(clean: Tensor) -> Tensor:
    """Find where the particles of images `(n, N, N)` without CTF and noise lie: `(n, 2)` pixels from the centre."""
    places = clean.new_zeros(len(clean), 2)
    everywhere = clean.new_ones(len(clean), clean.shape[-1] // 2)
    for _ in range(CENTRING_PASSES):
        moved = shift_images(clean, -places)
        ball = average_turns(moved.mean(0))
        likelihood = correlate(moved, everywhere, (ball - ball.mean()).expand_as(moved))
        places = places + find_peaks(likelihood, likelihood)[0]
    return places


def know_particles(
    truth: Tensor, parameters: CtfParameters, pixel_size: float, count: int = COUNT
) -> KnownParticles:
    """Learn from the truth what nobody who denoises can know.

    Parameters
    ----------
    truth : Tensor
        `(n, N, N)` clean images with their CTFs.
    parameters : CtfParameters
        Of `n` CTFs.
    pixel_size : float
        Angstrom.
    count : int
        Neighbours of a particle, itself among them.
    """
    ctf = compute_ctf(parameters, pixel_size, truth.shape[-1])
    clean = remove_ctf(truth, ctf)
    places = find_centres(clean)
    clean = shift_images(clean, -places)
    alike: dict[int, tuple[Tensor, Tensor]] = {}
    halves = np.random.default_rng(SEED).permutation(len(truth)) % 2
    for half in (0, 1):
        rows = torch.from_numpy(np.flatnonzero(halves == half))
        found, degrees = find_alike(clean[rows], min(count, len(rows)))
        pairs = zip(rows[found], degrees, strict=True)
        alike |= dict(zip(rows.tolist(), pairs, strict=True))
    return KnownParticles(ctf, places, alike)


def draw_balls(truth: Tensor, known: KnownParticles) -> Tensor:
    """Draw the one ball that is most like all particles `(n, N, N)`, where each of them lies and with its CTF."""
    # CTFs of many defoci complete one another: their quotient has nearly no zeros.
    seen = shift_images(apply_ctf(truth, known.ctf), -known.places).mean(0, keepdim=True)
    ball = average_turns(filter_images(seen, 1 / (known.ctf.square().mean(0) + BALL_FLOOR))[0])
    return apply_ctf(shift_images(ball.expand_as(truth), known.places), known.ctf)


def average_true_neighbours(images: Tensor, known: KnownParticles) -> Tensor:
    """Average for each particle the images of its half that show nearly the same.

    Parameters
    ----------
    images : Tensor
        `(n, N, N)` with their CTFs.
    known : KnownParticles
        What the truth tells of them.

    Returns
    -------
    Tensor
        `(n, N, N)`: averages that count the CTFs, turned and moved to the particle, with its CTF.
    """
    weighted = shift_images(apply_ctf(images, known.ctf), -known.places)
    averages = torch.empty_like(images)
    for row, (others, degrees) in known.alike.items():
        total = rotate_images(weighted[others], degrees).sum(0)
        power = known.ctf[others].square().sum(0) + NOISY_FLOOR * len(others)
        averages[row] = filter_images(total[None], known.ctf[row] / power)[0]
    # The sum lies at the centre and what it was filtered with is round: it can be moved at the end.
    return shift_images(averages, known.places)


def find_alike(clean: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Find for each image the others most like it at any rotation, itself first.

    Parameters
    ----------
    clean : Tensor
        `(n, N, N)` centred, without CTF and noise.
    count : int
        How many.

    Returns
    -------
    tuple of Tensor
        `(n, count)` int64 places, and the degrees that `rotate_images` turns them by onto the image.
    """
    rings = build_fourier_rings(clean.shape[-1])
    everywhere = clean.new_ones(len(clean), clean.shape[-1] // 2)
    harmonics = compute_image_harmonics(clean.float(), everywhere, rings)
    matches = match_images(harmonics, everywhere, harmonics, rings)
    found = matches.likelihood.topk(count, dim=1).indices
    return found, -matches.rotation.gather(1, found) * (360.0 / ROTATIONS)
