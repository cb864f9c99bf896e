"""The CTF-weighted transformer: what one image's CTF has erased comes from images of another defocus."""

import math

import torch

from polardenoise.engine.imaging.ctf_profiles import filter_by_rings
from polardenoise.engine.imaging.polar_grid import disk_mask
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.networks.ctf_weighted import CtfWeightedTransformer
from polardenoise.engine.networks.registry import PolarConfig
from tests.smooth_images import draw_smooth_images, relative_norm

CONFIG = PolarConfig(box=32, rings=16, angles=64, hidden=16, query=8, value=16, before=2, after=2)


def average_evenly(model, seen, profiles):
    """Denoise images that attend to all evenly, with nothing added to the average."""
    with torch.no_grad():
        model.log_floor.fill_(math.log(1e-4))
        model.to_rings.conv.weight.zero_()
        model.to_rings.conv.bias.zero_()
        given = model.describe(seen, profiles)
        attended = given.value.mean(0, keepdim=True).expand(len(seen), -1, -1)
        return model.estimate(given, attended)


def test_images_of_different_defocus_complete_one_another():
    """Round images, each without what its CTF has erased: together they have it all."""
    model = CtfWeightedTransformer(CONFIG).eval()
    axis = torch.arange(32.0) - 16
    clean = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 3.0**2)).expand(4, 32, 32)
    ring = torch.arange(16.0)
    profiles = torch.stack([(0.3 + defocus * ring**2 / 40).sin().abs() for defocus in (1, 2, 3, 4)])
    assert profiles.min() < 0.1  # each has zeros
    seen = filter_by_rings(clean, profiles)
    inside = disk_mask(32, 11)
    assert relative_norm((seen - clean) * inside, clean * inside) > 0.3
    expected = average_evenly(model, clean, torch.ones(4, 16)) * inside
    estimate = average_evenly(model, seen, profiles) * inside
    assert relative_norm(estimate - expected, expected) < 0.05
    alone = average_evenly(model, seen[2:3], profiles[2:3]) * inside
    assert relative_norm(alone - expected[:1], expected[:1]) > 0.1  # the Wiener solution of one


def test_without_a_ctf_it_starts_where_the_polar_transformer_is():
    plain, _ = load_model("first")
    weighted = CtfWeightedTransformer.from_plain(plain).eval()
    images, _ = draw_smooth_images(6, seed=3)
    noisy = images.float()[None] + torch.randn(1, 6, 64, 64, generator=torch.manual_seed(1))
    with torch.inference_mode():
        before, after = plain(noisy), weighted(noisy)
    assert relative_norm(after - before, before) < 0.02


def test_factors_multiply_rings_of_frequency():
    axis = torch.arange(32) - 16
    waves = torch.stack([torch.cos(2 * math.pi * k * axis / 32).expand(32, 32) for k in (3, 7)])
    factors = torch.zeros(2, 16)
    factors[0, 3], factors[1, 7] = 0.5, 2.0
    filtered = filter_by_rings(waves, factors)
    assert torch.allclose(filtered[0], 0.5 * waves[0], atol=1e-5)
    assert torch.allclose(filtered[1], 2.0 * waves[1], atol=1e-5)
    assert filter_by_rings(waves, factors.flip(0)).abs().max() < 1e-5
