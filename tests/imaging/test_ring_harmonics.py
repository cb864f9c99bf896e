"""Rings of the Fourier transform: rotation, energy and inner product are those of the pixels."""

import math

import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from tests.smooth_images import draw_smooth_images, relative_norm

BOX = 32


def draw_particles(count, seed=0, box=BOX):
    """Draw band-limited images of mean 0 inside the disk, as particles over their background nearly are."""
    images = draw_smooth_images(2 * count, seed, box)[0]
    images = (
        images[:count]
        - images[count:] * (images[:count].sum((1, 2)) / images[count:].sum((1, 2)))[:, None, None]
    )
    return images.float()


def turn_quarters(images, quarters):
    """Turn images counter-clockwise (+x to +y, rows grow with y) about pixel (N//2, N//2), row and column 0 cut off."""
    turned = torch.zeros_like(images)
    turned[..., 1:, 1:] = torch.rot90(images[..., 1:, 1:], -quarters, (-2, -1))
    return turned


def as_complex(described):
    """Give `(2, modes, n, rings)` as complex `(n, rings, modes)`."""
    return torch.complex(*described).permute(1, 2, 0)


def take_inner_products(one, other, rings):
    """Sum over rings and all modes, the negative ones among them, one by one."""
    products = torch.zeros(one.shape[2], other.shape[2])
    for mode in range(rings.modes):
        for part in range(2):
            twice = 1 if mode == 0 else 2
            products += twice * one[part, mode] @ other[part, mode].T
    return products


@pytest.mark.parametrize("box", [32, 48])
def test_inner_products_of_coefficients_are_those_of_pixels(box):
    images = draw_particles(6, box=box)
    rings = build_fourier_rings(box)
    described = rings.to_harmonics(images)
    inside = images * disk_mask(box, box / 2 - 0.5)
    expected = inside.flatten(1) @ inside.flatten(1).T
    found = take_inner_products(described, described, rings)
    assert (found - expected).abs().max() < 0.01 * expected.diagonal().mean()
    assert torch.allclose(rings.ring_energies(described).sum(1), found.diagonal(), rtol=1e-4)


def test_a_quarter_turn_multiplies_the_modes():
    images = torch.randn(3, BOX, BOX, generator=torch.Generator().manual_seed(0))
    rings = build_fourier_rings(BOX)
    plain = as_complex(rings.to_harmonics(images))
    for quarters in (1, 2, 3):
        angle = quarters * math.pi / 2
        turning = torch.polar(torch.ones(rings.modes), -angle * torch.arange(rings.modes))
        found = as_complex(rings.to_harmonics(turn_quarters(images, quarters)))
        assert relative_norm(found - plain * turning, plain) < 1e-5


def test_counter_clockwise_is_from_x_to_y():
    """A blob on +x, where columns grow, turned by a quarter lies on +y, where rows grow."""
    on_x, on_y = torch.zeros(1, BOX, BOX), torch.zeros(1, BOX, BOX)
    on_x[0, BOX // 2, BOX // 2 + 6], on_y[0, BOX // 2 + 6, BOX // 2] = 1, 1
    assert torch.equal(turn_quarters(on_x, 1), on_y)


def test_any_turn_multiplies_the_modes():
    angle = 0.3
    plain, turned = (images.float() for images in draw_smooth_images(4, 1, 64, angle))
    rings = build_fourier_rings(64)
    before, after = as_complex(rings.to_harmonics(plain)), as_complex(rings.to_harmonics(turned))
    turning = torch.polar(torch.ones(rings.modes), -angle * torch.arange(rings.modes))
    assert relative_norm(after - before * turning, before) < 5e-3
    assert relative_norm(after - before * turning.conj(), before) > 0.3


def test_a_radial_image_has_mode_0_only():
    axis = torch.arange(BOX) - BOX // 2
    radius = torch.hypot(axis[:, None].float(), axis[None].float())
    image = (radius.square() / -32).exp() * (1.3 * radius).cos()
    energies = as_complex(build_fourier_rings(BOX).to_harmonics(image[None])).abs().square()
    assert energies[0, :, 1:].sum() < 1e-4 * energies[0, :, 0].sum()


def test_white_noise_has_the_energies_that_are_told():
    rings = build_fourier_rings(BOX)
    noise = torch.randn(2000, BOX, BOX, generator=torch.Generator().manual_seed(0))
    energies = rings.ring_energies(rings.to_harmonics(noise))
    error = energies.std(0) / math.sqrt(len(noise))
    assert ((energies.mean(0) - rings.noise_energies()).abs() < 4 * error).all()
    # As many as samples of the discrete transform on the ring, less what lies outside the disk. (Farther out a ring
    # has fewer modes than noise would fill.)
    share = disk_mask(BOX, BOX / 2 - 0.5).float().mean()
    samples = 2 * math.pi * torch.arange(1, rings.rings // 2 + 1) * share
    assert torch.allclose(rings.noise_energies()[: len(samples)], samples, rtol=0.02)


def test_modes_are_those_of_the_polar_fourier_transform():
    """Reference: the transform summed pixel by pixel at points around each ring, then its modes around the ring."""
    images = torch.randn(2, BOX, BOX, generator=torch.Generator().manual_seed(1)).double()
    inside = (images * disk_mask(BOX, BOX / 2 - 0.5)).numpy()
    rings = build_fourier_rings(BOX)
    found = as_complex(rings.to_harmonics(images.float())).numpy()
    along = np.arange(BOX) - BOX // 2
    angles = 2 * np.pi * np.arange(256) / 256
    for ring in (1, 4, rings.rings):
        # (angles, box): one wave along x, one along y.
        along_x = np.exp(-2j * np.pi * ring / BOX * np.cos(angles)[:, None] * along)
        along_y = np.exp(-2j * np.pi * ring / BOX * np.sin(angles)[:, None] * along)
        transform = np.einsum("nyx,ty,tx->nt", inside, along_y, along_x)
        area = np.sqrt(2 * np.pi * ring) / BOX
        for mode in range(rings.modes):
            expected = area * (transform * np.exp(-1j * mode * angles)).mean(1)
            assert np.abs(found[:, ring - 1, mode] - expected).max() < 1e-4
