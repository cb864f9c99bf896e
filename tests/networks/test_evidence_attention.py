"""Attention by matches: the two forms are one, it turns with its images, and it finds what plain attention does not."""

import itertools
import math
from dataclasses import asdict, replace

import pytest
import torch

from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import describe_observed, match_images
from polardenoise.engine.neighbours.search import denoise_once_more, describe_cell
from polardenoise.engine.networks import evidence_attention as matched_attention
from polardenoise.engine.networks import neighbour_attention
from polardenoise.engine.networks import template_evidence as third_images
from polardenoise.engine.networks.ctf_weighted import CtfWeightedTransformer
from polardenoise.engine.networks.evidence_attention import (
    Trust,
    attend_in_sets_by_match,
    attend_to_neighbours_by_match,
    weigh,
)
from polardenoise.engine.networks.layers import scale_to_unit_norm
from polardenoise.engine.networks.matched_transformer import (
    FIRST_TRUST,
    TRUST_PACE,
    MatchedConfig,
    MatchedTransformer,
)
from polardenoise.engine.networks.polar_transformer import PolarConfig
from polardenoise.engine.networks.template_evidence import (
    SPREAD,
    TEMPERATURE,
    choose_temperature,
    correlate_chances,
    observe,
    score_neighbours,
    score_sets,
    transform_chances,
)
from tests.smooth_images import draw_smooth_images, relative_norm

ANGLES, BOX = 64, 32
CONFIG = MatchedConfig(
    box=BOX, rings=16, angles=ANGLES, hidden=16, query=8, value=16, before=2, after=2
)
PLAIN = PolarConfig(**{name: value for name, value in asdict(CONFIG).items() if name != "looks"})
TRUST = Trust(*(torch.tensor(value) for value in (0.5, 0.5, 0.2, 1.0)))


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


RINGS = build_fourier_rings(BOX)


def observe_pixels(images, profiles, estimates):
    described = describe_observed(images, profiles, RINGS)
    return observe(described, profiles, RINGS.describe(estimates), RINGS)


@pytest.fixture
def features():
    """Queries, keys and values of two sets of 6, and what matches compare."""
    query, key = 3 * draw(2, 6, 4, ANGLES, seed=1), draw(2, 6, 4, ANGLES, seed=2)
    value = draw(2, 6, 5, ANGLES, seed=3)
    profiles = 0.2 + 0.8 * torch.rand(12, BOX // 2, generator=torch.manual_seed(5))
    observed = observe_pixels(draw(12, BOX, BOX, seed=4), profiles, draw(12, BOX, BOX, seed=6))
    return scale_to_unit_norm(query) * 5, scale_to_unit_norm(key), value, observed


def take_set(observed, number):
    return observed.select(torch.arange(6 * number, 6 * number + 6))


def test_scores_are_the_likelihoods_of_matching_at_the_opposite_rotation():
    images, estimates = draw(12, BOX, BOX, seed=4), draw(12, BOX, BOX, seed=6)
    profiles = 0.2 + 0.8 * torch.rand(12, BOX // 2, generator=torch.manual_seed(5))
    described = describe_observed(images, profiles, RINGS)
    shown = RINGS.describe(estimates)
    observed = observe(described, profiles, shown, RINGS)
    scores = score_sets(observed, (2, 6), slice(0, 6), 96)[1]  # (images, estimates, rotations)
    matches = match_images(described[:, :, 6:], profiles[6:], shown[:, :, 6:], RINGS)
    torch.testing.assert_close(scores.amax(-1), matches.likelihood, rtol=1e-4, atol=1e-3)
    # Matching turns the estimate onto the image, attention the image onto the estimate.
    assert torch.equal((-scores.argmax(-1)) % 96, matches.rotation)


@pytest.fixture(params=[4, 6])
def templates(request, monkeypatch):
    """As many estimates that the images of a set of 6 are compared with."""
    monkeypatch.setattr(third_images, "TEMPLATES", request.param)
    return request.param


def test_with_everybody_for_a_neighbour_it_is_the_attention_of_sets(features, templates):
    query, key, value, observed = features
    in_sets = attend_in_sets_by_match(query, key, value, observed, TRUST)
    # Each image is its own first neighbour, and the templates are the first: only the first image's are the set's.
    asking = 6 if templates == 6 else 1
    everybody = (torch.arange(6)[:, None] + torch.arange(6)) % 6
    for number in range(2):
        one = take_set(observed, number)
        scores = score_sets(one, (1, 6), slice(0, 6), ANGLES)[0]
        of_neighbours = score_neighbours(one, everybody[:1], ANGLES)[0]
        assert of_neighbours.shape == (6, templates, ANGLES)
        torch.testing.assert_close(of_neighbours, scores, rtol=1e-4, atol=1e-3)
        found = attend_to_neighbours_by_match(
            query[number], key[number], value[number], everybody, one, TRUST
        )
        difference = found.attended[:asking] - in_sets[number, :asking]
        assert relative_norm(difference, in_sets[number]) < 1e-5
        torch.testing.assert_close(found.weights.sum(1), torch.ones(6))


@pytest.mark.parametrize("queries", [1, 4, 5])
def test_blocks_change_nothing(features, templates, monkeypatch, queries):
    query, key, value, observed = features
    everybody = (torch.arange(6)[:, None] + torch.arange(6)) % 6
    with torch.no_grad():
        whole = attend_in_sets_by_match(query, key, value, observed, TRUST)
        first = take_set(observed, 0)
        asked = (query[0], key[0], value[0], everybody, first, TRUST)
        own = attend_to_neighbours_by_match(*asked)
        monkeypatch.setattr(matched_attention, "WEIGHTS_AT_ONCE", {"cpu": queries * 2 * 6 * ANGLES})
        blocked = attend_in_sets_by_match(query, key, value, observed, TRUST)
        numbers_each = 6 * 2 * (ANGLES // 2 + 1) * (4 + 5)
        monkeypatch.setattr(neighbour_attention, "VALUES_AT_ONCE", {"cpu": queries * numbers_each})
        own_blocked = attend_to_neighbours_by_match(*asked)
    assert relative_norm(blocked - whole, whole) < 1e-5
    assert relative_norm(own_blocked.attended - own.attended, own.attended) < 1e-5
    assert torch.equal(own_blocked.rotation, own.rotation)


def test_matches_are_chances_that_both_show_a_third():
    """As the head of `template_evidence` has it, number by number."""
    count, angles = 4, 5
    scores = 3 * draw(1, count, count, angles, seed=1)
    own, temperature = torch.eye(count, dtype=torch.bool), 1.7
    chance = torch.zeros(count, count, angles)  # (image, template, rotation)
    for image in range(count):
        for template in range(count):
            if template != image:
                chance[image, template] = (scores[0, image, template] / temperature).exp()
        chance[image] /= chance[image].sum()
    expected = torch.zeros(count, count, angles)
    for i, j, s, k, r in itertools.product(*map(range, (count, count, angles, count, angles))):
        expected[i, j, s] += chance[i, k, r] * chance[j, k, (r + s) % angles]
    chances_hat = transform_chances(scores, own, torch.tensor([temperature]))
    found = correlate_chances(chances_hat, chances_hat, angles)
    torch.testing.assert_close(found[0], expected)


def test_temperature_falls_with_the_number_of_templates_that_an_image_shows():
    own = torch.eye(10, dtype=torch.bool)
    all_alike = torch.zeros(10, 10)
    one_each = torch.full((10, 10), -1000.0)
    one_each[torch.arange(10), (torch.arange(10) + 1) % 10] = 0
    found = choose_temperature(torch.stack([all_alike, one_each]), own)
    expected = torch.tensor([TEMPERATURE / 9**SPREAD, TEMPERATURE])
    torch.testing.assert_close(found, expected)


def test_an_image_trusts_itself_as_plain_attention_does_and_matches_share_the_rest():
    logits = draw(1, 3, ANGLES, seed=1)
    match = torch.rand(1, 3, ANGLES, generator=torch.manual_seed(2)) ** 4
    match[0, 1] *= 5
    itself = torch.tensor([[True, False, False]])
    weights = weigh(logits, match, itself, TRUST)
    plain = logits.flatten(1).softmax(1).view_as(logits)
    torch.testing.assert_close(weights.sum((1, 2)), torch.ones(1))
    torch.testing.assert_close(weights[0, 0], plain[0, 0])
    who, shared = plain.sum(-1)[0], match.sum(-1)[0]
    expected = who[1:].sqrt() * shared[1:].sqrt()
    expected *= (1 - who[0]) / expected.sum()
    torch.testing.assert_close(weights[0, 1:].sum(-1), expected)
    turns = match[0, 1] * (0.2 * logits[0, 1]).exp()
    torch.testing.assert_close(weights[0, 1] / expected[0], turns / turns.sum())


def test_where_there_is_no_third_it_is_plain_attention():
    logits, match = draw(1, 2, ANGLES, seed=1), torch.zeros(1, 2, ANGLES)
    itself = torch.tensor([[True, False]])
    plain = logits.flatten(1).softmax(1).view_as(logits)
    assert torch.equal(weigh(logits, match, itself, TRUST), plain)


def test_noisy_turned_copies_are_put_onto_one_another():
    """Copies of one image at known rotations, in noise: attention that knows nothing, matches that know the image."""
    steps = [0, 5, 17, 30, 44, 58]
    clean = torch.stack(
        [
            draw_smooth_images(1, seed=8, box=BOX, rotation=2 * math.pi * step / ANGLES)[1][0]
            for step in steps
        ]
    ).float()
    noisy = clean / clean.std() * 0.7 + draw(6, BOX, BOX, seed=10)
    profiles = torch.ones(6, BOX // 2)
    observed = observe_pixels(noisy, profiles, clean / clean.std() * 0.7)
    nothing = torch.zeros(6, 4, ANGLES)
    everybody = (torch.arange(6)[:, None] + torch.arange(6)) % 6
    found = attend_to_neighbours_by_match(
        nothing, nothing, draw(6, 2, ANGLES, seed=3), everybody, observed, TRUST
    )
    turned = torch.tensor(steps)
    expected = (turned[:, None] - turned[everybody]) % ANGLES
    off = (found.rotation - expected + ANGLES // 2) % ANGLES - ANGLES // 2
    assert off[:, 1:].abs().max() <= 1


def test_later_estimates_learn_and_the_first_is_that_of_the_network_it_grew_from():
    torch.manual_seed(0)
    plain = CtfWeightedTransformer(PLAIN)
    model = MatchedTransformer.from_ctf_weighted(plain)
    images, profiles = draw(2, 5, BOX, BOX, seed=7), torch.ones(2, 5, BOX // 2)
    estimates = model.denoise_by_looks(images, profiles)
    assert len(estimates) == CONFIG.looks == 3
    estimates[-1].square().mean().backward()
    for name, steps in model.trust_steps.items():
        # The second look's estimate only shows the third where to look: nothing is learned through it.
        assert float(steps.grad[0]) == 0 < abs(float(steps.grad[1])), name
    assert float(model.to_query.conv.weight.grad.abs().sum()) > 0
    with torch.inference_mode():
        expected = plain(images, profiles)
        assert torch.equal(model(images, profiles), estimates[-1])
    first, second, third = (estimate.detach() for estimate in estimates)
    assert relative_norm(first - expected, expected) < 1e-5
    assert relative_norm(second - first, first) > 1e-3
    assert relative_norm(third - second, second) > 1e-4


def test_to_look_once_is_another_network():
    with pytest.raises(ValueError, match="looks 1: "):
        MatchedTransformer(replace(CONFIG, looks=1))


def test_trust_is_positive_and_moves_at_its_pace():
    model = MatchedTransformer(CONFIG)
    with torch.no_grad():
        model.trust_steps["match"][1] = -0.1
        second, third = model.list_trust()
    assert float(second.match) == pytest.approx(FIRST_TRUST["match"])
    assert float(third.match) == pytest.approx(FIRST_TRUST["match"] * math.exp(-0.1 * TRUST_PACE))
    assert float(third.match_rotation) == pytest.approx(FIRST_TRUST["match_rotation"])


def test_in_cells_every_look_goes_by_the_estimates_of_the_one_before():
    """With everybody for a neighbour, a cell is a set that was looked at as often."""
    torch.manual_seed(0)
    model = MatchedTransformer(CONFIG).eval()
    images, profiles = draw(6, BOX, BOX, seed=7), torch.ones(6, BOX // 2)
    with torch.inference_mode():
        looks = model.denoise_by_looks(images[None], profiles[None])
        first, second, third = (look[0] for look in looks)
        cell = describe_cell(model, images, profiles)
        found = denoise_once_more(model, cell, first, 6)
    assert relative_norm(found.estimates - third, third) < 1e-4
    assert relative_norm(found.estimates - second, second) > 1e-3
