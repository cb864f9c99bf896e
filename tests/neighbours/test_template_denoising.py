"""Denoising through templates: images are moved to where templates show them, and added up ring by ring."""

import pytest
import torch

from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.neighbours.encoded_cluster import encode_cluster, encode_mirrored
from polardenoise.engine.neighbours.search import denoise_by_neighbours, denoise_once_more
from polardenoise.engine.neighbours.template_denoising import (
    SeenImages,
    denoise_by_guess,
    join_estimates,
    see_images,
    see_images_of_folds,
)
from polardenoise.engine.neighbours.templates import prepare_templates, see_through_one_another
from polardenoise.engine.networks.registry import build_model
from tests.neighbours.test_templates import ANGLES, BOX, draw_blobs, turn


@pytest.fixture(scope="module")
def grid():
    return PolarGrid(BOX, 16, ANGLES, regularisation=1e-3)


def draw_displaced(grid, noise, with_ctf):
    """Images of 40 templates, turned, moved by up to 2 px, and noise; with the displacements."""
    templates = draw_blobs(40, 0, strength=3.0)
    source = torch.Generator().manual_seed(4)
    displacements = 4 * torch.rand(40, 2, generator=source) - 2
    ctf_rings = torch.ones(40, BOX // 2)
    if with_ctf:
        ctf_rings = (torch.arange(BOX // 2) * torch.linspace(0.15, 0.3, 40)[:, None]).cos().abs()
    clean = shift_images(turn(templates, grid, 9), displacements)
    images = filter_by_rings(clean, ctf_rings)
    images = images + noise * torch.randn(images.shape, generator=source)
    return templates, images, ctf_rings, displacements, turn(templates, grid, 9)


@pytest.mark.parametrize("with_ctf", [False, True])
def test_images_off_the_centre_are_moved_to_where_the_templates_show_them(grid, with_ctf):
    templates, images, ctf_rings, displacements, centred = draw_displaced(grid, 1.0, with_ctf)
    prepared = [prepare_templates(templates[None], grid)]
    seen = see_images(prepared, images, ctf_rings, off_centre=True)
    error = (seen.displacements - displacements).norm(dim=1)
    # A few show another template better where they lie.
    assert error.median() < 0.2
    assert (error < 0.5).float().mean() > 0.75
    assert displacements.norm(dim=1).median() > 1.5
    assert torch.allclose(seen.centred, shift_images(images, -seen.displacements), atol=1e-4)
    left = see_images(prepared, images, ctf_rings, off_centre=False)
    assert not left.displacements.any()
    assert torch.equal(left.centred, images)

    def measure_error(estimates):
        return float((estimates - centred).square().sum() / centred.square().sum())

    assert measure_error(seen.expected[0]) < 0.5 * measure_error(left.expected[0])


def test_every_kind_of_every_round_is_there_and_noise_shows_nothing(grid):
    templates = draw_blobs(40, 0, strength=3.0)
    bare = prepare_templates(templates[None], grid)
    both = bare.add_kind(see_through_one_another(bare, templates))
    rounds = [bare, both]
    noise = torch.randn(8, BOX, BOX, generator=torch.Generator().manual_seed(1))
    images = torch.cat([templates[:8] + 0.3 * noise, noise])
    ctf_rings = torch.ones(16, BOX // 2)
    seen = see_images(rounds, images, ctf_rings, off_centre=False)
    assert seen.expected.shape == (3, 16, BOX, BOX)
    # Both rounds have the same templates here.
    assert torch.allclose(seen.expected[0], seen.expected[1], atol=1e-5)
    assert (seen.share[:8] > 0.999).all()
    assert (seen.share[8:] < 0.2).all()
    weights = torch.full((3, BOX // 2), 1 / 3)
    guess = seen.guess(weights)
    assert torch.allclose(guess[:8], seen.expected[:, :8].mean(0), atol=1e-2)
    assert guess[8:].square().mean() < 0.05 * guess[:8].square().mean()


def test_an_image_that_no_template_shows_keeps_what_the_network_makes_of_it():
    expected, by_network = torch.randn(2, 3, BOX, BOX), torch.randn(3, BOX, BOX)
    seen = SeenImages(
        by_network,
        torch.ones(3, BOX // 2),
        torch.zeros(3, 2),
        expected,
        torch.tensor([1.0, 0.0, 0.5]),
    )
    weights = torch.tensor([0.5, 0.25, 0.25])[:, None].expand(3, BOX // 2)
    together = seen.add(by_network, weights)
    whole = 0.5 * expected[0] + 0.25 * expected[1] + 0.25 * by_network
    assert torch.allclose(together[0], whole[0], atol=1e-4)
    assert torch.equal(together[1], by_network[1])
    assert torch.allclose(together[2], 0.5 * (whole[2] + by_network[2]), atol=1e-4)


def test_the_network_goes_by_the_guess_once():
    torch.manual_seed(0)
    sizes = {
        "box": BOX, "rings": 16, "angles": ANGLES, "hidden": 8, "query": 4, "value": 8, "length": 3,
        "before": 1, "after": 1, "regularisation": 1e-3, "passes": 2,
    }  # fmt: skip
    model = build_model("polar-transformer", sizes).eval()
    images, guess = draw_blobs(12, 2), draw_blobs(12, 3)
    ctf_rings = torch.ones(12, BOX // 2)
    seen = SeenImages(images, ctf_rings, torch.zeros(12, 2), guess[None], torch.ones(12))
    with torch.inference_mode():
        cluster, denoised = denoise_by_guess(model, seen, guess, 6)
        plain = encode_cluster(model, images, ctf_rings)
        # With one refinement pass that is all that the neighbours of an estimate give.
        expected = denoise_by_neighbours(model, plain, guess, 6)
        assert torch.equal(denoised.estimates, expected.estimates)
        mirrored = encode_mirrored(model, plain)
        found = denoise_once_more(model, mirrored, guess, 6)
        assert torch.equal(found.estimates, expected.estimates)
        alone = torch.tensor([0.0, 1.0])[:, None].expand(2, BOX // 2)
        joined = join_estimates(seen, cluster, denoised, alone)
    assert torch.allclose(joined.denoised.estimates, denoised.estimates, atol=1e-4)
    assert torch.equal(joined.denoised.neighbours, denoised.neighbours)


def test_images_of_each_fold_are_seen_through_what_is_for_their_fold(grid):
    prepared = [[prepare_templates(draw_blobs(12, seed)[None], grid)] for seed in (0, 1, 2)]
    images, ctf_rings = draw_blobs(9, 5), torch.ones(9, BOX // 2)
    folds = torch.tensor([3, 1, 2, 2, 1, 3, 1, 3, 2])
    together = see_images_of_folds(
        lambda fold: prepared[fold - 1], folds, images, ctf_rings, off_centre=True
    )
    for fold in (1, 2, 3):
        own = folds == fold
        alone = see_images(prepared[fold - 1], images[own], ctf_rings[own], off_centre=True)
        for name, of_all in vars(together).items():
            kept = of_all[:, own] if name == "expected" else of_all[own]
            assert torch.allclose(kept, getattr(alone, name), atol=1e-5), name
