"""Ring weights: learned without the truth, they are those that the truth would give."""

import pytest
import torch

from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.neighbours.ring_weights import (
    PROBE,
    add_by_rings,
    estimate_risk,
    measure_ring_products,
    solve_ring_weights,
    sum_by_rings,
)

BOX = 32
DISK = disk_mask(BOX, BOX / 2 - 0.5)


def draw(count, seed):
    return torch.randn(count, BOX, BOX, generator=torch.Generator().manual_seed(seed))


def draw_signals(count):
    """Images whose power falls with the frequency, on the disk."""
    falling = 12 * (-torch.arange(BOX // 2) / 3.0).exp()
    return filter_by_rings(draw(count, 0), falling[None]) * DISK


def blur(images):
    return filter_by_rings(images, (-torch.arange(BOX // 2) / 6.0).exp()[None]) * DISK


def learn(estimate, signals, ctf_rings, seed=1):
    """Weights of the estimates that a function makes of noisy images; the noise of what they see."""
    images = filter_by_rings(signals, ctf_rings) + draw(len(signals), seed)
    probe = draw(len(signals), seed + 1)
    before, after = estimate(images), estimate(images + PROBE * probe)
    products = measure_ring_products(images, ctf_rings, before, after, probe)
    return images, products


def test_sums_over_rings_are_those_of_pixels():
    first, second = draw(5, 0), draw(5, 1)
    sums = sum_by_rings(first, second)
    assert sums.shape == (BOX // 2,)
    assert float(sums.sum()) == pytest.approx(float((first * second).sum()), rel=1e-5)


@pytest.mark.parametrize("with_ctf", [False, True])
def test_without_the_truth_the_weights_are_those_of_the_truth(with_ctf):
    """Two blurred estimates, one of which is made of the noisy image itself."""
    signals = draw_signals(400)
    ctf_rings = torch.ones(400, BOX // 2)
    if with_ctf:
        ctf_rings = (torch.arange(BOX // 2) * torch.linspace(0.1, 0.3, 400)[:, None]).cos().abs()
    errors = filter_by_rings(draw(400, 9), torch.full((1, BOX // 2), 0.5))

    def estimate(images):
        return torch.stack([blur(images), blur(signals + errors)])

    images, products = learn(estimate, signals, ctf_rings)
    weights = solve_ring_weights(products, (0.0, 1.0))
    # What the truth says: the target without noise.
    before = estimate(images)
    seen = [filter_by_rings(one, ctf_rings) * DISK for one in before]
    truth = filter_by_rings(signals, ctf_rings) * DISK
    target = torch.stack([sum_by_rings(one, truth) for one in seen], -1)
    wanted = torch.linalg.solve(products.gram, target).T.float()

    def miss(weights):
        together = filter_by_rings(add_by_rings(before, weights), ctf_rings) * DISK
        return float((together - truth).square().sum() / truth.square().sum())

    assert miss(weights) < 1.03 * miss(wanted)
    # Fitted to the noisy images as they are, an estimate is believed that only follows its noise.
    naive = torch.stack([sum_by_rings(one, images * DISK) for one in seen], -1)
    believed = torch.linalg.solve(products.gram, naive).T.float()
    assert miss(weights) < 0.7 * miss(believed)


def test_the_risk_tells_which_estimate_is_nearer_to_the_truth():
    """A blurred image is better than one that keeps most of its noise, though it looks less like it."""
    signals, ones = draw_signals(300), torch.ones(300, BOX // 2)

    def estimate(images):
        return torch.stack([blur(images), 0.7 * images * DISK])

    images, products = learn(estimate, signals, ones)
    estimates = estimate(images)
    risks, errors = [], []
    for kind in range(2):
        weights = torch.zeros(2, BOX // 2)
        weights[kind] = 1
        risks.append(estimate_risk(products, weights))
        errors.append(float((estimates[kind] * DISK - signals).square().sum()))
    assert errors[0] < 0.7 * errors[1]
    # Up to the signals' own energy, which is the same for both.
    assert risks[0] - risks[1] == pytest.approx(errors[0] - errors[1], rel=0.1)
    assert products.select(1).gram.shape == (BOX // 2, 1, 1)


def test_where_nothing_is_told_the_weights_are_what_was_expected():
    def estimate(images):
        return 1e-5 * torch.stack([images, draw(len(images), 5)])

    _, products = learn(estimate, draw_signals(20), torch.ones(20, BOX // 2))
    weights = solve_ring_weights(products, (0.7, 0.2))
    assert torch.allclose(weights, torch.tensor([[0.7], [0.2]]).expand_as(weights), atol=0.05)


def test_no_weight_is_negative():
    """Of two estimates that differ by noise only, neither is taken away from the other."""
    signals = draw_signals(60)

    def estimate(images):
        return torch.stack([blur(signals + draw(60, 7)), blur(signals) + 0.3 * blur(images)])

    _, products = learn(estimate, signals, torch.ones(60, BOX // 2))
    free = torch.linalg.solve(products.gram, products.target)
    assert float(free.min()) < -0.05
    weights = solve_ring_weights(products, (0.5, 0.5))
    assert float(weights.min()) >= 0
    positive = (weights > 0).all(0)
    assert positive.any()
    assert torch.allclose(weights.T[positive].double(), free[positive], atol=0.1)


def test_weights_of_one_leave_an_estimate_as_it_is():
    images = draw(4, 0)
    weights = torch.tensor([[1.0], [0.0]]).expand(2, BOX // 2)
    added = add_by_rings(torch.stack([images, draw(4, 1)]), weights)
    assert torch.allclose(added, images, atol=1e-5)
