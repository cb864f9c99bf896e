"""The best single radial filter is the best one."""

import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.rings import (
    apply_radial_filter,
    best_radial_filter,
    estimate_radial_filter,
    ring_index,
)

BOX = 16


@pytest.fixture(scope="module")
def images():
    """Give smooth clean images, and the same with white noise of variance 1."""
    generator = torch.Generator().manual_seed(0)
    white, noise = torch.randn(2, 40, BOX, BOX, generator=generator, dtype=torch.float64)
    falloff = torch.exp(-0.5 * (torch.arange(BOX) / 2.5) ** 2)
    clean = apply_radial_filter(white, falloff)
    return clean + noise, clean


def total_error(estimate, clean):
    return float((estimate - clean).square().sum())


def test_rings_are_symmetric_and_count_from_the_origin():
    rings = ring_index(BOX)
    assert rings.shape == (BOX, BOX // 2 + 1)
    assert rings[0, 0] == 0
    assert rings[0, BOX // 2] == rings[BOX // 2, 0] == BOX // 2
    assert torch.equal(rings[1:], rings[1:].flip(0))


def test_any_change_on_any_ring_makes_the_error_larger(images):
    noisy, clean = images
    best = estimate_radial_filter(noisy, clean)
    least = total_error(apply_radial_filter(noisy, best), clean)
    for ring in range(len(best)):
        for change in (-0.05, 0.05):
            perturbed = best.clone()
            perturbed[ring] += change
            assert total_error(apply_radial_filter(noisy, perturbed), clean) > least


def test_it_is_wieners_filter_when_noise_is_independent():
    generator = torch.Generator().manual_seed(1)
    signal, noise = torch.randn(2, 400, BOX, BOX, generator=generator, dtype=torch.float64)
    # Signal variance 1, noise variance 4: signal / (signal + noise) = 0.2 on every ring.
    best = estimate_radial_filter(signal + 2 * noise, signal)
    np.testing.assert_allclose(best[1:], 0.2, atol=0.03)


def test_it_does_not_touch_images_without_noise_and_blanks_pure_noise(images):
    _, clean = images
    torch.testing.assert_close(best_radial_filter(clean, clean), clean)
    noise = torch.randn(400, BOX, BOX, generator=torch.Generator().manual_seed(2))
    filtered = best_radial_filter(noise, torch.zeros_like(noise))
    assert filtered.abs().max() == 0


def test_a_ring_with_nothing_in_it_gives_zero():
    blank = torch.zeros(3, BOX, BOX)
    assert torch.isfinite(best_radial_filter(blank, blank)).all()


def test_the_filter_keeps_type_and_halves_the_error_of_noisy_images(images):
    noisy, clean = images
    filtered = best_radial_filter(noisy.float(), clean.float())
    assert filtered.dtype == torch.float32
    assert total_error(filtered, clean) < 0.5 * total_error(noisy, clean)
