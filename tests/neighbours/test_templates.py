"""Templates: the expectation of images over them, against the plain sum over templates and rotations."""

import math

import pytest
import torch

from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.mirror_parity import mirror_images
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.neighbours import templates as module
from polardenoise.engine.neighbours.templates import (
    expect_images,
    order_by_likeness,
    prepare_templates,
    see_through_one_another,
)

BOX, ANGLES = 32, 64


@pytest.fixture(scope="module")
def grid():
    return PolarGrid(BOX, 16, ANGLES, regularisation=1e-3)


def draw_blobs(count, seed, strength=1.0):
    """Smooth images without symmetry, far from one another."""
    source = torch.Generator().manual_seed(seed)
    along = torch.arange(BOX) - BOX // 2
    places = 7 * torch.randn(count, 6, 2, generator=source).clamp(-1.2, 1.2)
    heights = 0.5 + torch.rand(count, 6, generator=source)
    y, x = (places[..., axis, None, None] for axis in (0, 1))
    squares = (along[:, None] - y).square() + (along - x).square()
    blobs = (heights[..., None, None] * (-squares / 8).exp()).sum(1)
    return strength * blobs * disk_mask(BOX, BOX / 2 - 1)


def turn(images, grid, step):
    return grid.to_images(grid.to_polar(images).roll(step, -1))


def expect_plainly(images, ctf_rings, templates, grid, temperature):
    """The definition: compare with every template, mirrored as well, at every rotation, in pixels, and sum them."""
    templates = torch.cat([templates, mirror_images(templates)])
    turned = torch.stack([turn(templates, grid, step) for step in range(ANGLES)], 1).flatten(0, 1)
    expected = []
    for image, ctf in zip(images, ctf_rings, strict=True):
        seen = filter_by_rings(turned, ctf.expand(len(turned), -1))
        likelihood = (seen * image).sum((1, 2)) - 0.5 * seen.square().sum((1, 2))
        chances = (likelihood / temperature).softmax(0)
        expected.append((chances[:, None, None] * turned).sum(0))
    return torch.stack(expected)


@pytest.mark.parametrize("with_ctf", [False, True])
def test_the_expectation_is_the_sum_over_templates_and_rotations(grid, with_ctf):
    templates = draw_blobs(12, 0)
    ctf_rings = torch.ones(6, BOX // 2)
    if with_ctf:
        ctf_rings = (torch.arange(BOX // 2) * torch.linspace(0.15, 0.3, 6)[:, None]).cos().abs()
    clean = filter_by_rings(turn(draw_blobs(12, 0)[:6], grid, 5), ctf_rings)
    images = clean + 0.3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    found = expect_images(prepare_templates(templates[None], grid), images, ctf_rings, 6.0, 24)
    plain = expect_plainly(images, ctf_rings, templates, grid, 6.0)
    # Rings beyond 0.6 of Nyquist are not compared: blobs have next to nothing there.
    assert (found.estimates[0] - plain).square().sum() < 1e-3 * plain.square().sum()


def test_mirrored_images_are_seen_mirrored(grid):
    templates = draw_blobs(12, 0)
    images = turn(templates[:5], grid, 3) + 0.3 * torch.randn(
        5, BOX, BOX, generator=torch.Generator().manual_seed(2)
    )
    ones = torch.ones(5, BOX // 2)
    prepared = prepare_templates(templates[None], grid)
    found = expect_images(prepared, images, ones)
    mirrored = expect_images(prepared, mirror_images(images), ones)
    expected = mirror_images(found.estimates)
    assert (mirrored.estimates - expected).square().sum() < 1e-4 * expected.square().sum()
    assert torch.allclose(mirrored.evidence, found.evidence, atol=1e-2)


def test_an_image_is_seen_as_its_own_template_turned_onto_it(grid):
    templates = draw_blobs(40, 0, strength=4.0)
    images = turn(templates[[3, 17]], grid, 11)
    found = expect_images(prepare_templates(templates[None], grid), images, torch.ones(2, 16))
    assert (found.estimates[0] - images).square().sum() < 0.01 * images.square().sum()
    assert (found.evidence > 0).all()


def test_noise_has_no_evidence_and_a_particle_has(grid):
    prepared = prepare_templates(draw_blobs(64, 0, strength=2.0)[None], grid)
    noise = torch.randn(32, BOX, BOX, generator=torch.Generator().manual_seed(1))
    ones = torch.ones(32, BOX // 2)
    assert (expect_images(prepared, noise, ones).evidence < 0).all()
    particles = noise + turn(draw_blobs(64, 0, strength=2.0)[:32], grid, 20)
    assert (expect_images(prepared, particles, ones).evidence > 0).all()


def test_few_images_at_once_and_few_templates_each_change_nothing(grid, monkeypatch):
    prepared = prepare_templates(draw_blobs(48, 0)[None], grid)
    images = draw_blobs(9, 5) + torch.randn(9, BOX, BOX, generator=torch.Generator().manual_seed(1))
    ones = torch.ones(9, BOX // 2)
    whole = expect_images(prepared, images, ones, most=96)
    monkeypatch.setitem(module.SCORES_AT_ONCE, "cpu", 1)
    one_by_one = expect_images(prepared, images, ones, most=96)
    assert torch.allclose(one_by_one.estimates, whole.estimates, atol=1e-5)
    assert torch.allclose(one_by_one.evidence, whole.evidence, atol=1e-3)
    nearest = expect_images(prepared, images, ones, most=48)
    error = (nearest.estimates - whole.estimates).square().sum()
    assert error < 0.01 * whole.estimates.square().sum()


def test_smoothing_averages_templates_that_are_alike(grid):
    """Noisy copies of one view, each turned: all come out as that view, at their own rotations, with less noise."""
    view = draw_blobs(1, 3, strength=2.0)
    clean = torch.cat([turn(view, grid, 4 * number) for number in range(16)])
    noise = 0.15 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    noisy = clean + noise * disk_mask(BOX, BOX / 2 - 1)
    prepared = prepare_templates(noisy[None], grid)
    smoothed = see_through_one_another(prepared, noisy)
    plain = prepared.add_kind(smoothed)
    assert torch.equal(plain.spectra[0], prepared.spectra[0])
    left = (smoothed - clean).square().sum() / (noisy - clean).square().sum()
    assert left < 0.4


def test_evidence_is_a_likelihood_ratio(grid):
    """Of one template, mirrored as well: the mean over rotations by hand, but for rings that are not compared."""
    template = draw_blobs(1, 4)
    prepared = prepare_templates(template[None], grid)
    image = template + torch.randn(1, BOX, BOX, generator=torch.Generator().manual_seed(3))
    found = expect_images(prepared, image, torch.ones(1, BOX // 2)).evidence
    both = torch.cat([template, mirror_images(template)])
    turned = torch.cat([turn(both, grid, step) for step in range(ANGLES)])
    likelihood = (turned * image).sum((1, 2)) - 0.5 * turned.square().sum((1, 2))
    by_hand = float(likelihood.logsumexp(0)) - math.log(2 * ANGLES)
    assert float(found) == pytest.approx(by_hand, rel=0.15)


def test_templates_of_one_view_stand_side_by_side(grid):
    """Eight copies of each of four views, turned and mirrored, in any order."""
    views = draw_blobs(4, 7)
    copies = torch.cat([turn(views, grid, 5 * number) for number in range(8)])
    copies[::2] = mirror_images(copies[::2])
    view = torch.arange(4).repeat(8)
    shuffled = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    harmonics = build_fourier_rings(BOX).to_harmonics(copies[shuffled])
    order = order_by_likeness(harmonics)
    assert sorted(order.tolist()) == list(range(32))
    found = view[shuffled][order].view(4, 8)
    assert (found == found[:, :1]).all()
