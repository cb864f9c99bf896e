"""Rotation bars: what a shipped model is held to, and that networks which prefer a direction do not pass."""

import numpy as np
import pytest
import torch

from benchmarks.studies.rotation import (
    compare_errors,
    draw_one_view_set,
    draw_turned_noise,
    find_elongated_view,
    measure_quarter_turn,
    measure_rotated_sets,
)
from polardenoise.engine.imaging.projections import prepare_volume, take_projections
from polardenoise.engine.imaging.rings import ring_index
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.simulate.sources import read_density

#: Of the output for a quarter turn, and of the error for other multiples of a step.
LARGEST_OUTPUT_CHANGE, LARGEST_ERROR_CHANGE = 1e-4, 0.02


def make_transform(box):
    return prepare_volume(read_density("phantom:10001", box, None, 150.0).volume)


def shrink_along_x(images, ctf_rings=None):
    """A filter that knows which way x is: it passes low frequencies along x and all along y."""
    frequencies = torch.fft.rfftfreq(images.shape[-1])
    return torch.fft.irfft2(
        torch.fft.rfft2(images) * torch.exp(-((frequencies / 0.05) ** 2)), s=images.shape[-2:]
    )


def shrink_all_ways(images, ctf_rings=None):
    box = images.shape[-1]
    squares = torch.fft.fftfreq(box)[:, None] ** 2 + torch.fft.rfftfreq(box) ** 2
    return torch.fft.irfft2(torch.fft.rfft2(images) * torch.exp(-squares / 0.05**2), s=(box, box))


def test_quarter_turns_pass_through_as_they_are():
    """Noisy images, box filled to its corners: what the network is given, not smooth ones."""
    noisy = draw_one_view_set(make_transform(64), 16, 0.05, np.random.default_rng(0))
    assert measure_quarter_turn(load_model("base")[0], noisy) < LARGEST_OUTPUT_CHANGE


def test_other_turns_do_not_change_the_error():
    model, transform = load_model("base")[0], make_transform(64)
    view = find_elongated_view(transform, np.random.default_rng(1))
    errors = {
        steps: measure_rotated_sets(model, transform, view, steps, 3, 32, 0.05, seed=2)
        for steps in (0, 5, 16)
    }
    for steps in (5, 16):
        change, uncertainty = compare_errors(errors[steps], errors[0])
        assert uncertainty < 0.01
        assert abs(change) < LARGEST_ERROR_CHANGE


def test_a_filter_that_knows_x_from_y_fails_both():
    transform = make_transform(32)
    noisy = draw_one_view_set(transform, 16, 0.05, np.random.default_rng(0))
    assert measure_quarter_turn(shrink_all_ways, noisy) < 1e-5
    assert measure_quarter_turn(shrink_along_x, noisy) > 0.1
    view = find_elongated_view(transform, np.random.default_rng(1))
    for model, passes in ((shrink_all_ways, True), (shrink_along_x, False)):
        # One quarter of a turn: the four of a set would hide the direction.
        errors = [
            measure_rotated_sets(model, transform, view, steps, 30, 1, 0.2, seed=2)
            for steps in (0, 16, 32)
        ]
        changes = [abs(compare_errors(one, errors[0])[0]) for one in errors[1:]]
        assert (max(changes) < LARGEST_ERROR_CHANGE) is passes


@pytest.mark.parametrize("degrees", [0.0, 45.0])
def test_turned_noise_is_white(degrees):
    noise = draw_turned_noise(400, 16, degrees, [3])
    assert noise.mean().abs() < 0.01
    power = torch.fft.rfft2(noise).abs().square().mean(0) / 16**2
    assert (power - 1).abs().max() < 0.4
    assert power.mean() == pytest.approx(1, abs=0.02)
    covariance = noise.flatten(1).T @ noise.flatten(1) / 400
    assert (covariance - torch.eye(256)).abs().max() < 0.35


def test_noise_turns_with_the_molecule():
    upright, turned = (draw_turned_noise(3, 32, degrees, [4]) for degrees in (0.0, 90.0))
    below = ring_index(32) < 12

    def smooth(images):
        return torch.fft.irfft2(torch.fft.rfft2(images) * below, s=(32, 32))[:, 8:25, 8:25]

    # Where a filter of the whole box, which ends abruptly, has not mixed the edge in.
    expected = turn_by_psi(smooth(upright))
    assert (smooth(turned) - expected).norm() < 0.2 * expected.norm()


def turn_by_psi(images):
    """Turn a centred odd box by 90 degrees as psi does: what lies at +x goes to -y."""
    return images.flip(-1).transpose(-1, -2)


def test_psi_turns_projections_the_same_way():
    transform = make_transform(32)
    angles = torch.tensor([[30.0, 60.0, 10.0], [30.0, 60.0, 100.0]])
    upright, turned = take_projections(transform, angles)[:, 1:, 1:]
    assert (turn_by_psi(upright) - turned).norm() < 1e-4 * turned.norm()
