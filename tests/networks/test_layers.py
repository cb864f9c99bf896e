"""Angular layers: they commute with rotation, and do not depend on the scale of what they compare."""

import pytest
import torch
from torch.nn import functional as F

from polardenoise.engine.networks.angular_attention import attend
from polardenoise.engine.networks.layers import (
    AngularBlock,
    AngularConv,
    WrapAngle,
    scale_to_unit_norm,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_attention_is_equivariant_to_each_images_rotation():
    query, key, value = (
        draw(1, 4, 5, 16, seed=1),
        draw(1, 4, 5, 16, seed=2),
        draw(1, 4, 2, 16, seed=3),
    )
    steps = [2, 0, 7, 11]

    def rotate(features):
        return torch.stack([features[:, i].roll(step, -1) for i, step in enumerate(steps)], dim=1)

    expected = rotate(attend(query, key, value))
    assert (attend(rotate(query), rotate(key), rotate(value)) - expected).abs().max() < 1e-12


def test_features_of_unit_norm_do_not_depend_on_their_scale():
    features = draw(1, 3, 4, 16)
    unit = scale_to_unit_norm(features)
    assert torch.allclose(scale_to_unit_norm(0.2 * features), unit)
    assert torch.allclose(unit.square().sum((-2, -1)), torch.ones(1, 3, dtype=torch.float64))
    assert (scale_to_unit_norm(0 * features) == 0).all()


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
