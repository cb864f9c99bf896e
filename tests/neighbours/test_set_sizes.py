"""How many neighbours images gather from: many where many show the same, few where each shows another view."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from polardenoise.engine.denoise.adapted_halves import choose_set_sizes, choose_widest_sets
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import match_images
from polardenoise.engine.neighbours.encoded_cluster import encode_cluster
from polardenoise.engine.neighbours.search import denoise_encoded_cluster
from polardenoise.engine.neighbours.set_sizes import limit_neighbours, measure_differences
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.train.recipe import PRESETS, Recipe
from polardenoise.engine.train.simulated_sets import draw_sets_of, load_molecule, stack_molecules
from tests.imaging.test_ring_harmonics import turn_quarters

BOX, LEAST = 64, 16
RINGS = build_fourier_rings(BOX)
PLAIN = Recipe(
    snr=(0.05, 0.05), ctf_share=0.0, shift_share=0.0, noise_only_share=0.0, blur=(70.0, 70.0), fill=(0.7, 0.7)
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def molecules():
    densities = [load_molecule("phantom:10001", BOX, PRESETS["base"].fill[1])]
    return stack_molecules(densities, torch.device("cpu"))


def draw(molecules, images, mode, **changes):
    recipe = Recipe(**{**vars(PLAIN), "view_modes": {mode: 1.0}, **changes})
    batch = draw_sets_of(molecules, np.array([0]), images, recipe, np.random.default_rng(8))
    return batch.noisy[0], batch.clean[0]


def find_neighbours(estimates):
    """Harmonics of estimates, and all of them by their true distances, the image itself first."""
    harmonics = RINGS.to_harmonics(estimates)
    everyone = torch.arange(len(estimates)).expand(len(estimates), -1)
    order = (
        measure_differences(torch.arange(len(everyone)), everyone, harmonics, RINGS)
        .fill_diagonal_(-1)
        .argsort(1)
    )
    return harmonics, order


def limit(estimates, most):
    harmonics, order = find_neighbours(estimates)
    limited = limit_neighbours(order[:, :most], harmonics, RINGS, LEAST)
    return (limited >= 0).sum(1), limited, order


def make_estimates(molecules, images, mode):
    """Clean images with errors, as estimates have them."""
    clean = draw(molecules, images, mode)[1]
    errors = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    return clean + 0.25 * clean.std() * errors


def test_differences_are_those_of_images_turned_onto_one_another(molecules):
    images = draw(molecules, 6, "random")[1]
    harmonics = RINGS.to_harmonics(torch.cat([images, turn_quarters(images, 1)]))
    itself_turned = torch.arange(12).roll(6)[:, None]
    energies = RINGS.ring_energies(harmonics).sum(1)
    turned = measure_differences(torch.arange(12), itself_turned, harmonics, RINGS)[:, 0]
    assert (turned.abs() < 0.01 * energies).all()
    # Against the comparison of all with all, which takes the other one for a template.
    everyone = torch.arange(12).expand(12, -1)
    likelihood = match_images(harmonics, torch.ones(12, BOX // 2), harmonics, RINGS).likelihood
    found = measure_differences(torch.arange(len(everyone)), everyone, harmonics, RINGS)
    assert torch.allclose(found, 0.5 * energies[:, None] - likelihood, atol=1e-3 * energies.max())


def test_images_of_one_view_have_many_neighbours_and_those_of_spread_views_few(molecules):
    together, limited, order = limit(make_estimates(molecules, 160, "one"), 128)
    assert limited.shape == (160, 128)
    assert (together == 128).float().mean() > 0.9
    assert torch.equal(limited[together == 128], order[:, :128][together == 128])
    apart, limited, order = limit(make_estimates(molecules, 160, "random"), 128)
    assert (apart == 128).float().mean() < 0.15
    assert 3 * apart.float().mean() < 128
    assert limited.shape[1] == apart.max()
    assert torch.equal(limited[:, :LEAST], order[:, :LEAST])


def test_a_rare_view_keeps_few_neighbours_beside_a_common_one(molecules):
    common, rare = draw(molecules, 140, "one")[1], draw(molecules, 20, "one", fill=(0.5, 0.5))[1]
    estimates = torch.cat([common, rare])
    errors = torch.randn(estimates.shape, generator=torch.Generator().manual_seed(1))
    sizes, limited, _ = limit(estimates + 0.25 * common.std() * errors, 128)
    assert (sizes[:140] == 128).float().mean() > 0.9
    assert (sizes[140:] == LEAST).all()
    assert (limited[140:, :LEAST] >= 140).all()  # of their own view, all of them


def test_neighbours_that_are_missing_make_no_image_take_more(molecules):
    harmonics, order = find_neighbours(make_estimates(molecules, 160, "one"))
    order[::2, 20:] = -1  # images that share pixels leave no others
    limited = limit_neighbours(order[:, :128], harmonics, RINGS, LEAST)
    sizes = (limited >= 0).sum(1)
    assert (sizes[::2] == LEAST).all()
    assert (sizes[1::2] == 128).float().mean() > 0.9


def test_the_widest_sets_are_chosen_only_where_nobody_has_said_otherwise():
    halves = np.array([1, 2, 2])
    adapted = SimpleNamespace(adapted={"halves": {"1": {"set_size": 64}}})
    never = SimpleNamespace(adapted={})
    for card, asked, searched, expected in (
        (never, None, True, {1: 512, 2: 512}),
        (never, 32, True, {1: 32, 2: 32}),
        (never, 1024, True, {1: 1024, 2: 1024}),
        (never, None, False, {1: 32, 2: 32}),
        (adapted, None, True, {1: 64, 2: 512}),
    ):
        sizes = choose_set_sizes(asked, card, halves, searched)
        assert choose_widest_sets(asked, card, sizes, searched) == expected


def test_many_images_of_one_view_come_out_with_less_error(molecules):
    model = load_model("base")[0].eval()
    noisy, clean = draw(molecules, 192, "one", snr=(0.03, 0.03))
    cluster = encode_cluster(model, noisy, torch.ones(192, BOX // 2))
    errors = []
    for most in (None, 128):
        found = denoise_encoded_cluster(model, cluster, 32, 0, most)
        errors.append(float((found.estimates - clean).square().sum() / clean.square().sum()))
        assert found.neighbours.shape[1] == (most or 32)
    assert errors[1] < 0.9 * errors[0]
