"""Attention by evidence: its two forms are one, it turns with its images, it finds what attention alone does not."""

import itertools
import math

import pytest
import torch

from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import compute_image_harmonics, match_images
from polardenoise.engine.neighbours.encoded_cluster import encode_cluster
from polardenoise.engine.neighbours.search import denoise_first, denoise_further
from polardenoise.engine.networks import (
    evidence_attention,
    neighbour_attention,
    template_evidence,
)
from polardenoise.engine.networks.evidence_attention import (
    FIRST_WEIGHTS,
    PACE,
    EvidenceWeights,
    LearnedEvidenceWeights,
    attend_in_sets_by_evidence,
    attend_to_neighbours_by_evidence,
    weigh,
)
from polardenoise.engine.networks.layers import scale_to_unit_norm
from polardenoise.engine.networks.polar_transformer import PolarTransformer, PolarTransformerConfig
from polardenoise.engine.networks.template_evidence import (
    SPREAD,
    TEMPERATURE,
    choose_temperature,
    correlate_probabilities,
    prepare_comparison,
    score_neighbours,
    score_sets,
    transform_probabilities,
)
from tests.smooth_images import draw_smooth_images, relative_norm

ANGLES, BOX = 64, 32
CONFIG = PolarTransformerConfig(
    box=BOX, rings=16, angles=ANGLES, hidden=16, query=8, value=16, before=2, after=2
)
WEIGHTS = EvidenceWeights(*(torch.tensor(value) for value in (0.5, 0.5, 0.2, 1.0)))


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


RINGS = build_fourier_rings(BOX)


def compare_pixels(images, ctf_rings, estimates):
    harmonics = compute_image_harmonics(images, ctf_rings, RINGS)
    return prepare_comparison(harmonics, ctf_rings, RINGS.to_harmonics(estimates), RINGS)


@pytest.fixture
def features():
    """Queries, keys and values of two sets of 6, and what matches compare."""
    query, key = 3 * draw(2, 6, 4, ANGLES, seed=1), draw(2, 6, 4, ANGLES, seed=2)
    value = draw(2, 6, 5, ANGLES, seed=3)
    ctf_rings = 0.2 + 0.8 * torch.rand(12, BOX // 2, generator=torch.manual_seed(5))
    comparison = compare_pixels(draw(12, BOX, BOX, seed=4), ctf_rings, draw(12, BOX, BOX, seed=6))
    return scale_to_unit_norm(query) * 5, scale_to_unit_norm(key), value, comparison


def take_set(comparison, number):
    return comparison.select(torch.arange(6 * number, 6 * number + 6))


def test_scores_are_the_likelihoods_of_matching_at_the_opposite_rotation():
    images, estimates = draw(12, BOX, BOX, seed=4), draw(12, BOX, BOX, seed=6)
    ctf_rings = 0.2 + 0.8 * torch.rand(12, BOX // 2, generator=torch.manual_seed(5))
    harmonics = compute_image_harmonics(images, ctf_rings, RINGS)
    shown = RINGS.to_harmonics(estimates)
    comparison = prepare_comparison(harmonics, ctf_rings, shown, RINGS)
    scores = score_sets(comparison, (2, 6), slice(0, 6), 96)[1]  # (images, estimates, rotations)
    matches = match_images(harmonics[:, :, 6:], ctf_rings[6:], shown[:, :, 6:], RINGS)
    torch.testing.assert_close(scores.amax(-1), matches.likelihood, rtol=1e-4, atol=1e-3)
    # Matching turns the estimate onto the image, attention the image onto the estimate.
    assert torch.equal((-scores.argmax(-1)) % 96, matches.rotation)


@pytest.fixture(params=[4, 6])
def templates(request, monkeypatch):
    """As many estimates that the images of a set of 6 are compared with."""
    monkeypatch.setattr(template_evidence, "TEMPLATES", request.param)
    return request.param


def test_with_everybody_for_a_neighbour_it_is_the_attention_of_sets(features, templates):
    query, key, value, comparison = features
    in_sets = attend_in_sets_by_evidence(query, key, value, comparison, WEIGHTS)
    # Each image is its own first neighbour, and the templates are the first: only the first image's are the set's.
    asking = 6 if templates == 6 else 1
    everybody = (torch.arange(6)[:, None] + torch.arange(6)) % 6
    for number in range(2):
        one = take_set(comparison, number)
        scores = score_sets(one, (1, 6), slice(0, 6), ANGLES)[0]
        of_neighbours = score_neighbours(one, everybody[:1], ANGLES)[0]
        assert of_neighbours.shape == (6, templates, ANGLES)
        torch.testing.assert_close(of_neighbours, scores, rtol=1e-4, atol=1e-3)
        found = attend_to_neighbours_by_evidence(
            query[number], key[number], value[number], everybody, one, WEIGHTS
        )
        difference = found.attended[:asking] - in_sets[number, :asking]
        assert relative_norm(difference, in_sets[number]) < 1e-5
        torch.testing.assert_close(found.weights.sum(1), torch.ones(6))


@pytest.mark.parametrize("queries", [1, 4, 5])
def test_blocks_change_nothing(features, templates, monkeypatch, queries):
    query, key, value, comparison = features
    everybody = (torch.arange(6)[:, None] + torch.arange(6)) % 6
    with torch.no_grad():
        whole = attend_in_sets_by_evidence(query, key, value, comparison, WEIGHTS)
        first = take_set(comparison, 0)
        asked = (query[0], key[0], value[0], everybody, first, WEIGHTS)
        own = attend_to_neighbours_by_evidence(*asked)
        monkeypatch.setattr(
            evidence_attention, "WEIGHTS_AT_ONCE", {"cpu": queries * 2 * 6 * ANGLES}
        )
        blocked = attend_in_sets_by_evidence(query, key, value, comparison, WEIGHTS)
        numbers_each = 6 * 2 * (ANGLES // 2 + 1) * (4 + 5)
        monkeypatch.setattr(neighbour_attention, "VALUES_AT_ONCE", {"cpu": queries * numbers_each})
        own_blocked = attend_to_neighbours_by_evidence(*asked)
    assert relative_norm(blocked - whole, whole) < 1e-5
    assert relative_norm(own_blocked.attended - own.attended, own.attended) < 1e-5
    assert torch.equal(own_blocked.rotation, own.rotation)


def test_evidence_is_the_probability_that_both_show_a_third():
    """As the head of `template_evidence` has it, number by number."""
    count, angles = 4, 5
    scores = 3 * draw(1, count, count, angles, seed=1)
    own, temperature = torch.eye(count, dtype=torch.bool), 1.7
    probability = torch.zeros(count, count, angles)  # (image, template, rotation)
    for image in range(count):
        for template in range(count):
            if template != image:
                probability[image, template] = (scores[0, image, template] / temperature).exp()
        probability[image] /= probability[image].sum()
    expected = torch.zeros(count, count, angles)
    for i, j, s, k, r in itertools.product(*map(range, (count, count, angles, count, angles))):
        expected[i, j, s] += probability[i, k, r] * probability[j, k, (r + s) % angles]
    probabilities_hat = transform_probabilities(scores, own, torch.tensor([temperature]))
    found = correlate_probabilities(probabilities_hat, probabilities_hat, angles)
    torch.testing.assert_close(found[0], expected)


def test_temperature_falls_with_the_number_of_templates_that_an_image_shows():
    own = torch.eye(10, dtype=torch.bool)
    all_alike = torch.zeros(10, 10)
    one_each = torch.full((10, 10), -1000.0)
    one_each[torch.arange(10), (torch.arange(10) + 1) % 10] = 0
    found = choose_temperature(torch.stack([all_alike, one_each]), own)
    expected = torch.tensor([TEMPERATURE / 9**SPREAD, TEMPERATURE])
    torch.testing.assert_close(found, expected)


def test_an_image_weighs_itself_as_plain_attention_does_and_evidence_shares_the_rest():
    logits = draw(1, 3, ANGLES, seed=1)
    match = torch.rand(1, 3, ANGLES, generator=torch.manual_seed(2)) ** 4
    match[0, 1] *= 5
    itself = torch.tensor([[True, False, False]])
    weights = weigh(logits, match, itself, WEIGHTS)
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
    assert torch.equal(weigh(logits, match, itself, WEIGHTS), plain)


def test_noisy_turned_copies_are_put_onto_one_another():
    """Copies of one image at known rotations, in noise: attention that knows nothing, evidence that knows the image."""
    steps = [0, 5, 17, 30, 44, 58]
    clean = torch.stack(
        [
            draw_smooth_images(1, seed=8, box=BOX, rotation=2 * math.pi * step / ANGLES)[1][0]
            for step in steps
        ]
    ).float()
    noisy = clean / clean.std() * 0.7 + draw(6, BOX, BOX, seed=10)
    ctf_rings = torch.ones(6, BOX // 2)
    comparison = compare_pixels(noisy, ctf_rings, clean / clean.std() * 0.7)
    nothing = torch.zeros(6, 4, ANGLES)
    everybody = (torch.arange(6)[:, None] + torch.arange(6)) % 6
    found = attend_to_neighbours_by_evidence(
        nothing, nothing, draw(6, 2, ANGLES, seed=3), everybody, comparison, WEIGHTS
    )
    turned = torch.tensor(steps)
    expected = (turned[:, None] - turned[everybody]) % ANGLES
    off = (found.rotation - expected + ANGLES // 2) % ANGLES - ANGLES // 2
    assert off[:, 1:].abs().max() <= 1


def test_evidence_weights_are_positive_and_move_at_their_pace():
    weights = LearnedEvidenceWeights(2)
    with torch.no_grad():
        weights.steps["evidence"][1] = -0.1
        second, third = weights.list_passes()
    assert float(second.evidence) == pytest.approx(FIRST_WEIGHTS["evidence"])
    assert float(third.evidence) == pytest.approx(FIRST_WEIGHTS["evidence"] * math.exp(-0.1 * PACE))
    assert float(third.evidence_rotation) == pytest.approx(FIRST_WEIGHTS["evidence_rotation"])


def test_in_clusters_every_pass_goes_by_the_estimates_of_the_one_before():
    """With everybody for a neighbour, a cluster is a set that had as many passes."""
    torch.manual_seed(0)
    model = PolarTransformer(CONFIG).eval()
    images, ctf_rings = draw(6, BOX, BOX, seed=7), torch.ones(6, BOX // 2)
    with torch.inference_mode():
        first, second, third = (
            one[0] for one in model.denoise_by_passes(images[None], ctf_rings[None])
        )
        cluster = encode_cluster(model, images, ctf_rings)
        begun = denoise_first(model, cluster, first, 6)
        found = denoise_further(model, cluster, begun, 6)
    assert relative_norm(found.estimates - third, third) < 1e-4
    assert relative_norm(found.estimates - second, second) > 1e-3
