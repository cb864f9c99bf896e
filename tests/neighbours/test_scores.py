"""Scores: about 1 for particles that match their neighbours, about 0 for noise."""

import math

import pytest
import torch

from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import (
    compute_image_harmonics,
    match_images,
    measure_affinity,
)
from polardenoise.engine.neighbours.companions import choose_neighbours
from polardenoise.engine.neighbours.scores import ScoredImages, score_images
from tests.imaging.test_rotational_matching import draw_ctf_rings
from tests.smooth_images import draw_smooth_images

BOX = 32


@pytest.fixture(scope="module")
def rings():
    return build_fourier_rings(BOX)


def draw_particles(count, snr):
    """Draw images of two views, about the centre, and noise, 1 in 5."""
    axis = torch.arange(BOX) - BOX // 2
    around = (-(axis[:, None] ** 2 + axis**2) / (2 * 6.0**2)).exp()
    views = around * draw_smooth_images(2, 0, BOX)[0].float()
    views *= math.sqrt(snr) / views.square().mean((1, 2), keepdim=True).sqrt()
    clean = views[torch.arange(count) % 2]
    clean[::5] = 0
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return clean, clean + noise


def score(noisy, estimates, ctf_rings, rings, neighbours=17, displacements=None):
    displacements = torch.zeros(len(noisy), 2) if displacements is None else displacements
    described = rings.to_harmonics(estimates)
    observed = compute_image_harmonics(noisy, ctf_rings, rings)
    matches = match_images(observed, ctf_rings, described, rings)
    nearest = choose_neighbours(measure_affinity(matches.likelihood), neighbours)
    return score_images(
        ScoredImages(
            matches, nearest, estimates, described, observed, ctf_rings, rings, displacements
        )
    )


def through_ctf(images, ctf_rings, rings):
    """Multiply the transform of images by |CTF|, interpolated between rings."""
    frequency = torch.fft.fftfreq(BOX)[:, None].hypot(torch.fft.rfftfreq(BOX)[None]) * BOX
    low = frequency.floor().long().clamp_max(BOX // 2 - 2)
    part = (frequency - low).clamp_max(1)
    transfer = ctf_rings[:, low] * (1 - part) + ctf_rings[:, low + 1] * part
    shifted = torch.fft.rfft2(torch.fft.ifftshift(images, dim=(-2, -1)))
    return torch.fft.fftshift(torch.fft.irfft2(shifted * transfer), dim=(-2, -1))


@pytest.mark.parametrize("with_ctf", [False, True])
def test_particles_score_1_and_noise_0(rings, with_ctf):
    clean, noisy = draw_particles(60, 0.3)
    ctf_rings = torch.ones(60, BOX // 2)
    if with_ctf:
        ctf_rings = 0.3 + 0.7 * draw_ctf_rings(60)
        noisy = noisy - clean + through_ctf(clean, ctf_rings, rings)
    found = score(noisy, clean, ctf_rings, rings)
    junk = torch.arange(60) % 5 == 0
    assert found.min() >= 0
    assert found.max() <= 1
    assert found[~junk].median() > 0.85
    assert found[~junk].min() > 0.5
    assert found[junk].mean() < 0.2
    assert found[junk].max() < found[~junk].min()


def test_the_own_estimate_has_no_part(rings):
    """An image whose estimate is its own noise finds nothing in its neighbours."""
    clean, noisy = draw_particles(40, 0.3)
    clean[0] = 0.5 * noisy[0]  # noise, see `draw_particles`
    assert score(noisy, clean, torch.ones(40, BOX // 2), rings, 9)[0] < 0.3


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_image_without_neighbours_has_0(rings, count):
    clean, noisy = draw_particles(count, 0.3)
    ctf_rings = torch.ones(count, BOX // 2)
    assert score(noisy, clean, ctf_rings, rings, 1).tolist() == [0.0] * count
    assert score(noisy, clean, ctf_rings, rings, 17).isfinite().all()


def test_estimates_of_nothing_score_0(rings):
    _, noisy = draw_particles(10, 0.3)
    found = score(noisy, torch.zeros_like(noisy), torch.ones(10, BOX // 2), rings)
    assert found.tolist() == [0.0] * 10


def test_where_most_images_are_junk_junk_still_scores_low(rings):
    """Estimates of noise are next to nothing, but not nothing: what noise finds of them must not count as all."""
    clean, noisy = draw_particles(60, 0.3)
    generator = torch.Generator().manual_seed(1)
    junk = torch.arange(60) % 3 > 0
    noisy[junk] = torch.randn(int(junk.sum()), BOX, BOX, generator=generator)
    clean[junk] = 0.03 * torch.randn(int(junk.sum()), BOX, BOX, generator=generator)
    found = score(noisy, clean, torch.ones(60, BOX // 2), rings, 9)
    particles = ~junk & (torch.arange(60) % 5 > 0)
    assert found[junk].mean() < 0.2
    assert found[junk].max() < 0.25 < found[particles].min()


@pytest.mark.parametrize("with_ctf", [False, True])
def test_noise_that_is_stronger_at_low_frequencies_is_no_junk(rings, with_ctf):
    """Real noise is, and images with a CTF are not whitened: real apoferritin had a median score of 0."""
    clean, noisy = draw_particles(60, 0.3)
    ctf_rings = torch.ones(60, BOX // 2)
    if with_ctf:
        ctf_rings = 0.3 + 0.7 * draw_ctf_rings(60)
    seen = through_ctf(clean, ctf_rings, rings) if with_ctf else clean
    spectrum = 1 + 2 * (-torch.arange(BOX // 2) / 3.0).exp()
    coloured = through_ctf(noisy - clean, spectrum.expand(60, -1), rings)
    # Something besides the particle in the box still is.
    junk = torch.arange(60) % 5 == 0
    axis = torch.arange(BOX) - BOX // 2
    others = 4 * (-((axis[:, None] - 9.0) ** 2 + (axis - 3.0) ** 2) / 18).exp()
    crowded = torch.arange(60) % 10 == 1
    found = score(seen + coloured + others * crowded[:, None, None], clean, ctf_rings, rings)
    alone = ~junk & ~crowded
    assert found[alone].median() > 0.7
    assert found[crowded].max() < found[alone].quantile(0.1)
    assert found[junk].mean() < 0.2


def test_what_was_moved_further_than_usual_scores_less(rings):
    """A blob of ice is somewhere in its box; moved to the centre it would pass for a particle."""
    clean, noisy = draw_particles(60, 0.3)
    far = torch.arange(60) % 10 == 1
    displacements = torch.randn(60, 2, generator=torch.Generator().manual_seed(3))
    displacements[far] = torch.tensor([4.0, -4.0])
    flat = torch.ones(60, BOX // 2)
    found = score(noisy, clean, flat, rings, displacements=displacements)
    plain = score(noisy, clean, flat, rings)
    assert (found[far] < 0.5 * plain[far]).all()
    others = ~far & (torch.arange(60) % 5 > 0)
    assert found[others].median() > 0.8 * plain[others].median()
