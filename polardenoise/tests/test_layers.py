"""Angular convolution and attention: equivariance, the FFT path against the readable one, rotations recovered."""

import pytest
import torch
from torch.nn import functional as F

from polardenoise.engine.layers import (
    AngularAttention,
    AngularBlock,
    AngularConv,
    WrapAngle,
    attend_direct,
    attend_fourier,
    attention_logits_fourier,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("images", "angles"), [(1, 8), (3, 16), (5, 15), (7, 32)])
def test_fourier_attention_equals_the_direct_form(images, angles):
    query, key, value = (
        draw(2, images, 4, angles, seed=1),
        draw(2, images, 4, angles, seed=2),
        draw(2, images, 6, angles, seed=3),
    )
    difference = attend_fourier(query, key, value) - attend_direct(query, key, value)
    assert difference.abs().max() < 1e-6


def test_gradients_of_both_forms_are_equal():
    inputs = [draw(4, 3, 12, seed=seed).requires_grad_() for seed in (1, 2, 3)]
    weights = draw(4, 3, 12, seed=4)
    fast = torch.autograd.grad((attend_fourier(*inputs) * weights).sum(), inputs)
    direct = torch.autograd.grad((attend_direct(*inputs) * weights).sum(), inputs)
    for one, other in zip(fast, direct, strict=True):
        assert (one - other).abs().max() < 1e-6
        assert other.abs().max() > 1e-3


def test_the_argmax_recovers_known_rotations():
    image = draw(8, 64)
    steps = torch.tensor([0, 5, 17, 40, 63])
    copies = torch.stack([image.roll(int(step), -1) for step in steps])
    logits = attention_logits_fourier(copies, copies)
    # Image i is image j rotated by steps[i] - steps[j].
    expected = (steps[:, None] - steps[None, :]) % 64
    assert torch.equal(logits.argmax(-1), expected)


def test_attention_over_copies_returns_the_rotated_value():
    image, value = draw(8, 32), draw(3, 32, seed=5)
    steps = [0, 3, 11]
    copies = torch.stack([image.roll(step, -1) for step in steps])
    values = torch.stack([value.roll(step, -1) for step in steps])
    attended = attend_fourier(50 * copies, copies, values)
    assert (attended - values).abs().max() < 1e-6


def test_attention_is_equivariant_to_each_images_rotation():
    attention = AngularAttention().double()
    query, key, value = (
        draw(1, 4, 5, 16, seed=1),
        draw(1, 4, 5, 16, seed=2),
        draw(1, 4, 2, 16, seed=3),
    )
    steps = [2, 0, 7, 11]

    def rotate(features):
        return torch.stack([features[:, i].roll(step, -1) for i, step in enumerate(steps)], dim=1)

    expected = rotate(attention(query, key, value))
    assert (attention(rotate(query), rotate(key), rotate(value)) - expected).abs().max() < 1e-12


def test_attention_does_not_depend_on_the_scale_of_queries_and_keys():
    attention = AngularAttention().double()
    query, key, value = draw(1, 3, 4, 16), draw(1, 3, 4, 16, seed=1), draw(1, 3, 2, 16, seed=2)
    assert torch.allclose(attention(3 * query, 0.2 * key, value), attention(query, key, value))
    assert attention(0 * query, key, value).isfinite().all()


@pytest.mark.parametrize("length", [1, 3, 9])
def test_angular_layers_commute_with_rotation(length):
    for layer in (AngularConv(6, 8, length), AngularBlock(8, 8, length)):
        layer = layer.double()
        polar = draw(3, layer.conv.conv.in_channels if hasattr(layer, "norm") else 6, 20)
        expected = layer(polar).roll(7, -1)
        assert (layer(polar.roll(7, -1)) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("margin", [0, 1, 4])
def test_wrapping_the_angle_is_circular_padding(margin):
    polar = draw(2, 3, 10).requires_grad_()
    expected = F.pad(polar, (margin, margin), mode="circular") if margin else polar
    assert torch.equal(WrapAngle.apply(polar, margin), expected)
    assert torch.autograd.gradcheck(lambda x: WrapAngle.apply(x, margin), polar)
