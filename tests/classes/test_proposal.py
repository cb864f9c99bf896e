"""The proposal: particles stay wherever their hump lies and however much junk there is; what is surely junk goes."""

import numpy as np
import pytest

from polardenoise.engine.classes.proposal import FEWEST, find_why_not, propose, propose_min_score


def draw_scores(count, middle, spread, seed=0):
    """Draw scores whose `log(s / (1 - s))` is normal."""
    drawn = middle + spread * np.random.default_rng(seed).standard_normal(count)
    return 1 / (1 + np.exp(-drawn))


@pytest.mark.parametrize("junk", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("middle", [-0.5, 1.0, 2.8])
def test_particles_stay_and_what_shows_nothing_goes(middle, junk):
    good = draw_scores(1000, middle, 0.6)
    empty = np.abs(np.random.default_rng(1).normal(0, 0.012, round(1000 * junk / (1 - junk))))
    least = propose_min_score(np.concatenate([good, empty]))
    assert np.mean(good >= least) > 0.95
    assert not (empty >= least).any()


def test_what_lies_between_is_cut_where_the_hump_is_high():
    good, half_alike = draw_scores(1400, 2.8, 0.5), draw_scores(300, -0.5, 0.6, 1)
    least = propose_min_score(np.concatenate([good, half_alike]))
    assert np.mean(good >= least) > 0.97
    assert np.mean(half_alike >= least) < 0.25


def test_a_lesser_hump_of_good_ones_counts_beside_many_that_are_not():
    good, half_alike = draw_scores(600, 2.8, 0.5), draw_scores(900, -1.5, 0.6, 1)
    least = propose_min_score(np.concatenate([good, half_alike]))
    assert 0.5 < least < 0.6
    assert np.mean(half_alike >= least) < 0.02


def test_sets_without_anything_to_go_by_lose_nothing():
    assert propose_min_score(np.zeros(5)) == 0
    assert propose_min_score(np.full(5, 0.04)) == 0
    for same in (0.06, 0.5, 1.0):
        assert propose_min_score(np.full(4, same)) < same
    assert propose_min_score(np.array([0.8])) < 0.8


def test_a_class_is_proposed_by_most_of_its_images():
    score = np.array([0.9] * 6 + [0.9, 0.01, 0.02, 0.9, 0.01], dtype=np.float32)
    number = np.array([1] * 6 + [2, 2, 2, 4, 4])
    found = propose(score, number)
    assert found.classes == (1, 4)
    assert found.particles == 8
    assert propose(score, None).classes == ()


def test_four_digits_say_the_same_as_all():
    """`select` reads the scores of a STAR file: it proposes what `denoise` did."""
    score = draw_scores(500, 1.5, 0.9).astype(np.float32)
    read = np.array([float(f"{value:.4f}") for value in score])
    assert propose(score, None).min_score == propose_min_score(read)


@pytest.mark.parametrize("score", [[0.2, 0.88], [0.94, 0.48], [0.9, 0.38, 0.69], [0.5]])
def test_few_scores_are_no_error(score):
    assert 0 < propose_min_score(np.array(score)) <= max(score)


def test_nothing_is_proposed_for_few_under_a_verdict_or_without_anything_to_go_by():
    good = np.full(FEWEST, 0.9)
    assert find_why_not(good, []) == ""
    assert find_why_not(good[1:], []).startswith("49 particles are too few to tell")
    assert find_why_not(good[:1], []).startswith("1 particle is too few to tell")
    assert "not to trust these images (weak)" in find_why_not(good, ["weak", "dotted"])
    assert find_why_not(np.zeros(FEWEST), []) == "no image shows what its neighbours show"
