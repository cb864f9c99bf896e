"""How far images lie from their references: found, as sure as is stated, with the spread of their group."""

import torch

from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.neighbours.displacements import correlate, find_displacements, find_peaks
from tests.smooth_images import draw_smooth_images


def test_a_reference_tells_how_far_an_image_lies_off_it():
    """Known displacements, a CTF and noise: found to a fraction of a pixel, as uncertain as is stated."""
    generator = torch.Generator().manual_seed(1)
    clean = draw_smooth_images(40, seed=5)[0].float()
    clean *= (0.1 * 64**2 / clean.square().sum((1, 2))).sqrt()[:, None, None]  # SNR 0.1
    ctf_rings = torch.rand(40, 32, generator=generator)
    truth = 4 * torch.rand(40, 2, generator=generator) - 2
    seen = shift_images(filter_by_rings(clean, ctf_rings), truth)
    noisy = seen + torch.randn(seen.shape, generator=generator)
    likelihood = correlate(noisy, ctf_rings, clean)
    assert likelihood.shape == (40, 13, 13)
    peak, variance = find_peaks(likelihood, likelihood)
    error = peak - truth
    assert error.square().mean().sqrt() < 0.4
    assert 0.5 < (error.square() / variance).mean() < 2.0
    exact, _ = find_peaks(correlate(seen, ctf_rings, clean), correlate(seen, ctf_rings, clean))
    assert (exact - truth).square().mean() < 0.15**2  # a parabola through whole pixels


def test_the_spread_is_that_of_the_displacements_and_nothing_where_there_are_none():
    """References are exact here: the spread comes out a little small, by the sharpness that blurred ones need."""
    generator = torch.Generator().manual_seed(2)
    clean = draw_smooth_images(60, seed=6)[0].float()
    clean *= (0.2 * 64**2 / clean.square().sum((1, 2))).sqrt()[:, None, None]
    flat = torch.ones(60, 32)
    noise = torch.randn(clean.shape, generator=generator)
    for wanted in (0.0, 1.5):
        truth = wanted * torch.randn(60, 2, generator=generator)
        likelihood = correlate(shift_images(clean, truth) + noise, flat, clean)
        found, spread, error = find_displacements(likelihood[None], torch.zeros(1, 60, 2))
        assert abs(float(spread) - wanted) < 0.25
        assert 0.05 < float(error) < 0.4
        assert not found.isnan().any()
