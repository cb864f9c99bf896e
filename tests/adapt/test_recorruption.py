"""Recorrupted images: two of independent noise, with the signal in both; and who judges whom."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from polardenoise.engine.adapt.draws import hold_out, measure_losses
from polardenoise.engine.adapt.half import leave_empty
from polardenoise.engine.adapt.recorruption import STRENGTH, ClusterImages, recorrupt
from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.particles.micrograph_places import MicrographPlaces
from polardenoise.engine.particles.shared_pixels import join, share_nothing

BOX, COUNT = 32, 400


def make_cluster(shared=None, colour=0.0):
    generator = torch.Generator().manual_seed(3)
    signal = torch.zeros(BOX, BOX)
    signal[12:20, 12:20] = 0.7
    power = torch.linspace(1 + colour, 1, BOX // 2)
    white = torch.randn(COUNT, BOX, BOX, generator=generator)
    noise = filter_by_rings(white, power.sqrt()[None])
    cluster = ClusterImages(
        1,
        np.arange(COUNT),
        signal + noise,
        torch.ones(COUNT, BOX // 2),
        power,
        share_nothing(COUNT) if shared is None else shared,
    )
    return cluster, signal


@pytest.mark.parametrize("colour", [0.0, 5.0])
def test_the_two_noises_are_not_correlated(colour):
    cluster, signal = make_cluster(colour=colour)
    pair = recorrupt(cluster, 1)
    one, other = pair.seen * pair.scale - signal, pair.target - signal
    product = float((one * other).mean() / (one.std() * other.std()))
    assert abs(product) < 4 / (COUNT * BOX**2) ** 0.5 * (1 + colour)
    assert float(one.var() / cluster.ring_power.mean()) == pytest.approx(
        float((cluster.images - signal).var() / cluster.ring_power.mean()) * (1 + STRENGTH**2),
        rel=0.02,
    )


def test_the_loss_tells_estimates_apart_as_the_truth_does():
    """Without bias, although the estimate is made of the noisy image itself: too little smoothing is found out."""
    cluster, signal = make_cluster()
    pair = recorrupt(cluster, 1)
    wanted, found = [], []
    for keep in (0.05, 0.5, 1.0):
        estimates = keep * pair.seen * pair.scale
        rings = cluster.ctf_rings
        found.append(measure_losses(estimates, rings, pair.target).mean())
        wanted.append(measure_losses(estimates, rings, signal.expand_as(estimates)).mean())
    differences = [float(found[place] - found[0]) for place in (1, 2)]
    assert differences == pytest.approx(
        [float(wanted[place] - wanted[0]) for place in (1, 2)], rel=0.1
    )


def test_images_that_share_pixels_are_held_out_together():
    micrograph = np.arange(COUNT) // 40
    places = MicrographPlaces(micrograph, np.zeros((COUNT, 2)), np.full(COUNT, 16.0), "")
    cluster, _ = make_cluster(join(np.arange(COUNT), np.arange(COUNT), places))
    learned, held = hold_out(cluster, 0.25, 0)
    assert not set(micrograph[learned]) & set(micrograph[held])
    assert 0.25 * COUNT <= len(held) < 0.5 * COUNT
    assert sorted([*learned, *held]) == list(range(COUNT))


def test_noise_in_the_place_of_images_is_compared_by_its_own_power():
    """White noise is judged as `denoise` sees it, though the half that it stands for is coloured."""
    cluster, _ = make_cluster(colour=5.0)
    power = cluster.ring_power
    coloured = replace(cluster, left_power=power)
    white = leave_empty(coloured, coloured.draw_white_noise(0), None)
    assert white.left_power is None
    own = leave_empty(coloured, coloured.draw_noise(0), coloured.left_power)
    assert own.left_power is power
    assert torch.equal(own.images, coloured.draw_noise(0)[: len(own.rows)])
    assert not torch.allclose(own.images, white.images, atol=0.1)
