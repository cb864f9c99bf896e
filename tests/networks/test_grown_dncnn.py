"""A larger DnCNN grown from a trained one: it denoises the same at first, and what is new learns."""

import pytest
import torch

from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.networks.dncnn import DnCNN, DnCNNConfig
from polardenoise.engine.networks.grown_dncnn import grow_dncnn, rectify_gaussian
from polardenoise.engine.runtime.errors import InputError
from tests.smooth_images import draw_smooth_images, relative_norm

LARGER = DnCNNConfig(box=64, depth=17, channels=64)


def draw_noisy_images():
    images, _ = draw_smooth_images(8, seed=3)
    return images.float()[None] + torch.randn(1, 8, 64, 64, generator=torch.manual_seed(1))


def test_a_grown_dncnn_denoises_as_the_one_it_grew_from():
    small, _ = load_model("first-dncnn")
    noisy = draw_noisy_images()
    profiles = torch.rand(1, 8, 32, generator=torch.manual_seed(2))
    grown = grow_dncnn(small, LARGER).eval()
    assert grown.config == LARGER
    with torch.inference_mode():
        expected, estimate = small(noisy, profiles), grown(noisy, profiles)
    assert relative_norm(estimate - expected, expected) < 1e-5


def test_all_that_is_new_learns():
    small = DnCNN(DnCNNConfig(box=64, depth=4, channels=4))
    grown = grow_dncnn(small, DnCNNConfig(box=64, depth=6, channels=8)).train()
    optimizer = torch.optim.SGD(grown.parameters(), lr=0.1)
    before = {name: tensor.clone() for name, tensor in grown.named_parameters()}
    for _ in range(3):  # first the weights that read the new channels, then the channels themselves
        optimizer.zero_grad()
        grown(draw_noisy_images()).square().mean().backward()
        optimizer.step()
    for name, tensor in grown.named_parameters():
        changed = (tensor != before[name]).flatten(1).any(1) if tensor.dim() > 1 else None
        assert changed is None or changed.all(), name


def test_a_rectified_gaussian_has_the_moments_of_its_samples():
    generator = torch.manual_seed(4)
    mean, deviation = torch.tensor([-1.0, 0.0, 0.7]), torch.tensor([0.5, 1.0, 2.0])
    samples = (mean + deviation * torch.randn(400_000, 3, generator=generator)).clamp(min=0)
    first, second = rectify_gaussian(mean, deviation)
    torch.testing.assert_close(samples.mean(0), first, atol=0.01, rtol=0.02)
    torch.testing.assert_close(samples.var(0), second, atol=0.01, rtol=0.02)


def test_a_dncnn_cannot_shrink():
    with pytest.raises(InputError, match="as large or larger"):
        grow_dncnn(DnCNN(DnCNNConfig(depth=6)), DnCNNConfig(depth=4))
