"""Attention to neighbours is attention, to fewer images."""

import pytest
import torch

from polardenoise.engine.networks import neighbour_attention
from polardenoise.engine.networks.angular_attention import attend
from polardenoise.engine.networks.neighbour_attention import attend_to_neighbours


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture
def features():
    """Queries, keys and values of 7 images, 20 angles."""
    return draw(7, 5, 20, seed=1), draw(7, 5, 20, seed=2), draw(7, 3, 20, seed=3)


@pytest.mark.parametrize("angles", [20, 21])
def test_with_everybody_for_a_neighbour_it_is_attention(angles):
    query, key, value = draw(7, 5, angles), draw(7, 5, angles, seed=2), draw(7, 3, angles, seed=3)
    everybody = torch.stack([torch.randperm(7) for _ in range(7)])
    found = attend_to_neighbours(query, key, value, everybody)
    expected = attend(query[None], key[None], value[None])[0]
    assert (found.attended - expected).abs().max() < 1e-10
    assert (found.weights.sum(1) - 1).abs().max() < 1e-12


def test_each_image_attends_to_its_own_neighbours(features):
    query, key, value = features
    neighbours = torch.stack([torch.randperm(7)[:3] for _ in range(7)])
    found = attend_to_neighbours(query, key, value, neighbours)
    for image, theirs in enumerate(neighbours):
        alone = attend(query[None, [image]], key[None, theirs], value[None, theirs])[0, 0]
        assert (found.attended[image] - alone).abs().max() < 1e-10


def test_known_rotations_are_recovered_counter_clockwise():
    """Image i is image 0 turned by i steps; taking image j onto image i needs i - j of them."""
    pattern = draw(4, 24)
    copies = torch.stack([pattern.roll(turn, -1) for turn in range(6)])
    neighbours = torch.tensor([[0, 1, 2, 3, 4, 5]] * 6)
    found = attend_to_neighbours(10 * copies, copies, copies, neighbours)
    expected = torch.arange(6)[:, None] - neighbours
    assert torch.equal(found.rotation, expected % 24)
    assert (found.weights - 1 / 6).abs().max() < 1e-6
    assert (found.attended - copies).abs().max() < 1e-6


@pytest.mark.parametrize("images", [1, 2, 3, 7, 100])
def test_blocks_change_nothing_the_last_incomplete_one_included(features, monkeypatch, images):
    query, key, value = features
    neighbours = torch.stack([torch.randperm(7)[:4] for _ in range(7)])
    monkeypatch.setattr(neighbour_attention, "MANY", 2)
    whole = attend_to_neighbours(query, key, value, neighbours)
    numbers_each = 4 * 2 * 11 * (5 + 3)  # neighbours, parts, frequencies, channels
    monkeypatch.setattr(neighbour_attention, "VALUES_AT_ONCE", {"cpu": images * numbers_each})
    blocked = attend_to_neighbours(query, key, value, neighbours)
    assert (blocked.attended - whole.attended).abs().max() < 1e-12
    assert (blocked.weights - whole.weights).abs().max() < 1e-12
    assert torch.equal(blocked.rotation, whole.rotation)


def test_attention_is_to_those_that_are_there():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(6, 4, 8, generator=generator) for _ in range(3))
    neighbours = torch.tensor(
        [[0, 1, 2], [1, 3, -1], [2, -1, -1], [3, 4, 5], [4, 0, -1], [-1, -1, -1]]
    )
    found = attend_to_neighbours(query, key, value, neighbours)
    for image, row in enumerate(neighbours.tolist()):
        there = [one for one in row if one >= 0]
        if there:
            alone = attend_to_neighbours(
                query[[image]],
                key,
                value,
                torch.tensor([there]),
            )
            assert torch.allclose(found.attended[image], alone.attended[0], atol=1e-6)
            assert torch.allclose(found.weights[image, : len(there)], alone.weights[0], atol=1e-6)
        assert found.weights[image, len(there) :].eq(0).all()
    assert found.attended[5].eq(0).all()


@pytest.mark.parametrize("size", [2, 5])
def test_products_with_all_images_give_what_gathering_the_neighbours_gives(
    features, monkeypatch, size
):
    query, key, value = features
    neighbours = torch.stack([torch.randperm(7)[:size] for _ in range(7)])
    found = []
    for many in (0, 2):  # shares of all images that no set is below, and that none reaches
        monkeypatch.setattr(neighbour_attention, "MANY", many)
        found.append(attend_to_neighbours(query, key, value, neighbours))
    assert (found[0].attended - found[1].attended).abs().max() < 1e-12
    assert (found[0].weights - found[1].weights).abs().max() < 1e-12
    assert torch.equal(found[0].rotation, found[1].rotation)


def test_attention_says_how_far_it_is(features, monkeypatch):
    """It is a pass more than was expected, over all images once, those without neighbours too."""
    query, key, value = features
    neighbours = torch.tensor(
        [[0, 1, 2], [1, 0, -1], [-1, -1, -1], [3, 4, 5], [4, 3, 6], [5, 0, -1], [6, 1, 2]]
    )
    told = []
    monkeypatch.setattr(
        neighbour_attention,
        "tell_pass",
        lambda units=0.0, more_passes=0.0: told.append((units, more_passes)),
    )
    attend_to_neighbours(query, key, value, neighbours)
    assert told[0] == (0.0, 1)
    assert sum(units for units, _ in told) == 7
    assert len(told) > 3
