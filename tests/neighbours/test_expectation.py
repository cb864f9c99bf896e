"""Images seen through the estimates of the others: nearer to the truth, and never through their own pixels."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.mirror_parity import mirror_images
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotation import rotate_images
from polardenoise.engine.neighbours import expectation as module
from polardenoise.engine.neighbours.encoded_cluster import Cluster
from polardenoise.engine.neighbours.expectation import add_expectation, expect_noise_of_own_pixels
from polardenoise.engine.neighbours.search import OWN_NOISE_KEPT, DenoisedCluster
from polardenoise.engine.neighbours.templates import expect_images, prepare_templates
from tests.neighbours.test_templates import BOX, draw_blobs
from tests.smooth_images import relative_norm

COUNT, VIEWS, NEIGHBOURS = 160, 8, 12


@pytest.fixture(scope="module")
def grid():
    return PolarGrid(BOX, 16, 64, regularisation=1e-3)


@pytest.fixture(scope="module")
def known():
    """Images of a few views at any rotation, estimated as by a network with errors of its own."""
    source = torch.Generator().manual_seed(0)

    def draw_smooth(strength):
        rough = torch.randn(COUNT, BOX, BOX, generator=source)
        kernel = torch.ones(1, 1, 5, 5) / 5
        return strength * torch.nn.functional.conv2d(rough[:, None], kernel, padding=2)[:, 0]

    views = draw_blobs(VIEWS, 3, strength=3.0)[torch.arange(COUNT) % VIEWS]
    clean = rotate_images(views, 360 * torch.rand(COUNT, generator=source))
    images = clean + torch.randn(clean.shape, generator=source)
    ctf_rings = torch.ones(COUNT, BOX // 2)
    rings = build_fourier_rings(BOX)
    cluster = Cluster(None, rings.to_harmonics(images), ctf_rings, rings)
    neighbours = (torch.arange(COUNT)[:, None] + VIEWS * torch.arange(NEIGHBOURS)) % COUNT
    attention = SimpleNamespace(weights=torch.full((COUNT, NEIGHBOURS), 1 / NEIGHBOURS))
    estimates = clean + draw_smooth(0.3)
    return clean, images, cluster, DenoisedCluster(estimates, neighbours, attention)


def test_the_mean_with_the_expectation_is_nearer_to_the_truth(grid, known):
    clean, images, cluster, denoised = known
    found = add_expectation(grid, images, cluster, denoised)
    before, after = (relative_norm(one.estimates - clean, clean) for one in (denoised, found))
    assert 0.1 < before < 0.5
    assert (
        after < 0.75 * before
    )  # half of an independent error would be left if the expectation had none
    assert found.neighbours is denoised.neighbours
    assert found.attention is denoised.attention


def test_small_clusters_stay_as_they_are(grid, known, monkeypatch):
    _, images, cluster, denoised = known
    monkeypatch.setattr(module, "LEAST_IMAGES", COUNT + 1)
    assert add_expectation(grid, images, cluster, denoised) is denoised


def test_no_image_is_seen_through_its_own_estimate(grid, known):
    """An image for whose own estimate its very pixels are put: nobody else would show it so well."""
    _, images, cluster, denoised = known
    first = torch.arange(COUNT) == 0
    wild = torch.where(first[:, None, None], images, denoised.estimates)

    def expect_first(estimates):
        given = replace(denoised, estimates=estimates)
        return 2 * add_expectation(grid, images, cluster, given).estimates[0] - estimates[0]

    expected = expect_first(denoised.estimates)
    assert relative_norm(expect_first(wild) - expected, expected) < 0.02
    # Unless it may: then it sees little else.
    everyone = prepare_templates(wild[None], grid)
    met = expect_images(everyone, images, cluster.ctf_rings).estimates[0, 0]
    assert relative_norm(met - expected, expected) > 0.2


def test_images_that_share_pixels_are_not_seen_through_one_another(grid, known):
    clean, images, cluster, denoised = known
    apart = torch.eye(COUNT, dtype=torch.bool)
    apart[0] = apart[:, 0] = True  # the first may meet nobody
    apart[1, 9:] = apart[9:, 1] = True  # the second only images of other views
    found = add_expectation(grid, images, replace(cluster, apart=apart), denoised).estimates
    assert torch.equal(found[0], denoised.estimates[0])
    free = add_expectation(grid, images, cluster, denoised).estimates
    errors = [relative_norm(one[1] - clean[1], clean[1]) for one in (found, free)]
    assert errors[0] > 1.2 * errors[1]
    assert found.isfinite().all()


def test_noise_is_counted_of_all_that_share_pixels(known):
    _, _, cluster, denoised = known
    table = np.zeros((COUNT, 2 * COUNT))
    for image, theirs in enumerate(denoised.neighbours.tolist()):
        for other in (
            theirs
        ):  # the estimate of `image` holds noise of `other`, and that mirrored of it mirrored
            table[other, image] += 1 / NEIGHBOURS
    noise = float(cluster.rings.noise_energies().sum())
    alone = expect_noise_of_own_pixels(cluster, denoised)
    np.testing.assert_allclose(alone, OWN_NOISE_KEPT * noise * table, rtol=1e-4)
    apart = torch.zeros(COUNT, COUNT, dtype=torch.bool)
    apart[3, 4] = apart[4, 3] = True
    shared = expect_noise_of_own_pixels(replace(cluster, apart=apart), denoised)
    both = OWN_NOISE_KEPT * noise * (table[3] + table[4])
    np.testing.assert_allclose(shared[3], both, rtol=1e-4)
    np.testing.assert_allclose(shared[4], both, rtol=1e-4)
    np.testing.assert_allclose(shared[5:], alone[5:], rtol=1e-4)


def test_templates_are_counted_as_they_were_given(grid):
    """All but one forbidden, as it is or mirrored: an image of that one is seen through it, and one of another not."""
    templates = draw_blobs(24, 0, strength=3.0)
    prepared = prepare_templates(templates[None], grid)
    turned = rotate_images(templates, torch.tensor(45.0).expand(24))
    for place, shown in (5, turned), (24 + 5, mirror_images(turned)):
        not_owed = torch.full((2, 48), torch.inf)
        not_owed[:, place] = 0.0
        images = shown[[5, 6]]
        found = expect_images(prepared, images, torch.ones(2, BOX // 2), not_owed=not_owed)
        errors = [
            relative_norm(one - image, image)
            for one, image in zip(found.estimates[0], images, strict=True)
        ]
        assert errors[0] < 0.1
        assert errors[1] > 0.3
