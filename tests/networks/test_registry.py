"""Whole networks: equivariance to rotation and to the order of a set, and isolation of sets."""

import math

import pytest
import torch

from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.networks.registry import (
    ARCHITECTURES,
    build_model,
    describe_sizes,
    is_joint,
)
from tests.smooth_images import draw_smooth_images, relative_norm

SMALL = {
    "polar-transformer": {
        "box": 32,
        "rings": 16,
        "angles": 64,
        "hidden": 16,
        "query": 8,
        "value": 16,
    },
    "polar-cnn": {"box": 32, "rings": 16, "angles": 64, "hidden": 16},
    "dncnn": {"box": 32, "depth": 4, "channels": 8},
    "unet": {"box": 32, "channels": 8, "levels": 3},
}


def turn_quarter(images):
    turned = torch.zeros_like(images)
    turned[..., 1:, 1:] = images[..., 1:, 1:].flip(-2).transpose(-1, -2)
    return turned


@pytest.mark.parametrize("architecture", ["polar-transformer", "polar-cnn"])
def test_quarter_turns_pass_through_an_untrained_network(architecture):
    torch.manual_seed(0)
    model = build_model(architecture, SMALL[architecture]).eval()
    images = torch.randn(2, 5, 32, 32)
    images[..., 0, :], images[..., :, 0] = 0, 0  # has no counterpart at the other edge
    with torch.inference_mode():
        expected = turn_quarter(model(images))
        assert relative_norm(model(turn_quarter(images)) - expected, expected) < 1e-5
        # One image of a set alone: each follows its own rotation.
        one = images.clone()
        one[0, 2] = turn_quarter(images[0, 2])
        expected_one = model(images).clone()
        expected_one[0, 2] = turn_quarter(expected_one[0, 2])
        assert relative_norm(model(one) - expected_one, expected_one) < 1e-5


@pytest.fixture(scope="module", params=["untrained", "base"])
def transformer(request):
    torch.manual_seed(3)
    if request.param == "untrained":
        return build_model("polar-transformer", {}).eval()
    return load_model("base")[0]


@pytest.mark.parametrize("steps", [3, 20, 32])
def test_the_transformer_commutes_with_rotation(transformer, steps):
    model = transformer
    images, rotated = draw_smooth_images(16, seed=4, rotation=2 * math.pi * steps / 128)
    images, rotated = images.float()[None], rotated.float()[None]
    with torch.inference_mode():
        polar = model.grid.to_polar(model(images))
        polar_of_rotated = model.grid.to_polar(model(rotated))
    expected = polar.roll(steps, -1)
    limit = 1e-5 if steps == 32 else 1e-2
    assert relative_norm(polar_of_rotated - expected, expected) < limit


@pytest.mark.parametrize("architecture", sorted(SMALL))
def test_sets_do_not_see_one_another_and_order_does_not_matter(architecture):
    torch.manual_seed(1)
    model = build_model(architecture, SMALL[architecture]).eval()
    images = torch.randn(3, 4, 32, 32)
    with torch.inference_mode():
        together = model(images)
        alone = torch.cat([model(one[None]) for one in images])
        assert relative_norm(together - alone, together) < 1e-5
        order = torch.tensor([2, 0, 3, 1])
        assert relative_norm(model(images[:, order]) - together[:, order], together) < 1e-5


def test_images_of_a_set_inform_one_another_in_joint_networks_only():
    torch.manual_seed(2)
    images = torch.randn(1, 4, 32, 32)
    changed = images.clone()
    changed[0, 3] = torch.randn(32, 32)
    for architecture, sizes in SMALL.items():
        model = build_model(architecture, sizes).eval()
        with torch.inference_mode():
            difference = (model(changed) - model(images))[0, :3].abs().max()
        if is_joint(architecture):
            assert difference > 1e-6
        else:
            assert difference < 1e-6


def test_unknown_sizes_are_refused_and_known_ones_told_back():
    with pytest.raises(TypeError):
        build_model("dncnn", {"rings": 3})
    for architecture, sizes in SMALL.items():
        assert sizes.items() <= describe_sizes(build_model(architecture, sizes)).items()
    assert set(ARCHITECTURES) == set(SMALL)
