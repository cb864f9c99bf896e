"""The polar transformer: images of different defocus complete one another, and passes refine what passes have shown."""

import math
from dataclasses import replace

import pytest
import torch

from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.networks.polar_transformer import PolarTransformer, PolarTransformerConfig
from polardenoise.engine.networks.registry import (
    build_model,
    describe_sizes,
    start_model_from,
)
from tests.smooth_images import relative_norm

CONFIG = PolarTransformerConfig(
    box=32, rings=16, angles=64, hidden=16, query=8, value=16, before=2, after=2
)


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def average_evenly(model, seen, ctf_rings):
    """Denoise images that attend to all evenly, with nothing added to the average."""
    with torch.no_grad():
        model.log_floor.fill_(math.log(1e-4))
        model.to_rings.conv.weight.zero_()
        model.to_rings.conv.bias.zero_()
        encoded = model.encode(seen, ctf_rings)
        attended = encoded.value.mean(0, keepdim=True).expand(len(seen), -1, -1)
        return model.decode(encoded, attended)


def test_images_of_different_defocus_complete_one_another():
    """Round images, each without what its CTF has erased: together they have it all."""
    model = PolarTransformer(CONFIG).eval()
    axis = torch.arange(32.0) - 16
    clean = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 3.0**2)).expand(4, 32, 32)
    ring = torch.arange(16.0)
    ctf_rings = torch.stack(
        [(0.3 + defocus * ring**2 / 40).sin().abs() for defocus in (1, 2, 3, 4)]
    )
    assert ctf_rings.min() < 0.1  # each has zeros
    seen = filter_by_rings(clean, ctf_rings)
    inside = disk_mask(32, 11)
    assert relative_norm((seen - clean) * inside, clean * inside) > 0.3
    expected = average_evenly(model, clean, torch.ones(4, 16)) * inside
    estimate = average_evenly(model, seen, ctf_rings) * inside
    assert relative_norm(estimate - expected, expected) < 0.05
    alone = average_evenly(model, seen[2:3], ctf_rings[2:3]) * inside
    assert relative_norm(alone - expected[:1], expected[:1]) > 0.1  # the Wiener solution of one


def test_factors_multiply_rings_of_frequency():
    axis = torch.arange(32) - 16
    waves = torch.stack([torch.cos(2 * math.pi * k * axis / 32).expand(32, 32) for k in (3, 7)])
    factors = torch.zeros(2, 16)
    factors[0, 3], factors[1, 7] = 0.5, 2.0
    filtered = filter_by_rings(waves, factors)
    assert torch.allclose(filtered[0], 0.5 * waves[0], atol=1e-5)
    assert torch.allclose(filtered[1], 2.0 * waves[1], atol=1e-5)
    assert filter_by_rings(waves, factors.flip(0)).abs().max() < 1e-5


def test_every_pass_learns_and_the_first_is_that_of_a_network_that_makes_one():
    torch.manual_seed(0)
    model = PolarTransformer(CONFIG)
    images, ctf_rings = draw(2, 5, 32, 32, seed=7), torch.ones(2, 5, 16)
    estimates = model.denoise_by_passes(images, ctf_rings)
    assert len(estimates) == CONFIG.passes == 3
    estimates[-1].square().mean().backward()
    for name, steps in model.evidence_weights.steps.items():
        # The second pass's estimate is only a template of the third: nothing is learned through it.
        assert float(steps.grad[0]) == 0 < abs(float(steps.grad[1])), name
    assert float(model.to_query.conv.weight.grad.abs().sum()) > 0
    with torch.inference_mode():
        assert torch.equal(model(images, ctf_rings), estimates[-1])
        single = start_model_from(model, "polar-transformer", {"passes": 1})
        assert len(single.denoise_by_passes(images, ctf_rings)) == 1
        assert torch.equal(single(images, ctf_rings), estimates[0])
    first, second, third = (estimate.detach() for estimate in estimates)
    assert relative_norm(second - first, first) > 1e-3
    assert relative_norm(third - second, second) > 1e-4


def test_a_network_of_more_passes_starts_from_one_of_fewer():
    """What is learned is taken over; a new pass begins with the evidence weights that every pass begins with."""
    torch.manual_seed(1)
    trained = PolarTransformer(replace(CONFIG, passes=2))
    with torch.no_grad():
        trained.evidence_weights.steps["evidence"].fill_(0.05)
    model = start_model_from(trained, "polar-transformer", {"passes": 3})
    assert model.config == CONFIG
    with torch.no_grad():
        first, second = model.evidence_weights.list_passes()
        (known,) = trained.evidence_weights.list_passes()
    assert float(first.evidence) == float(known.evidence) != float(second.evidence)
    images = draw(1, 5, 32, 32, seed=3)
    with torch.inference_mode():
        pairs = zip(
            trained.denoise_by_passes(images), model.denoise_by_passes(images), strict=False
        )
        assert all(torch.equal(one, other) for one, other in pairs)


def test_a_network_of_more_blocks_starts_nearly_as_the_one_of_fewer():
    """Blocks put behind trained ones change next to nothing at first, and they learn."""
    torch.manual_seed(2)
    trained = PolarTransformer(CONFIG)
    sizes = {"before": CONFIG.before + 1, "after": CONFIG.after + 2}
    model = start_model_from(trained, "polar-transformer", sizes)
    images, ctf_rings = draw(1, 6, 32, 32, seed=4), torch.ones(1, 6, 16)
    with torch.inference_mode():
        before, after = trained(images, ctf_rings), model(images, ctf_rings)
    assert 0 < relative_norm(after - before, before) < 0.2
    fresh = build_model("polar-transformer", describe_sizes(model))
    with torch.inference_mode():
        assert relative_norm(fresh(images, ctf_rings) - before, before) > 0.5
    model(images, ctf_rings).square().mean().backward()
    for block in (model.encoder[-1], *model.decoder[-2:]):
        assert float(block.conv.conv.weight.grad.abs().sum()) > 0
    with pytest.raises(ValueError, match="sizes"):
        start_model_from(model, "polar-transformer", {"after": CONFIG.after})


def test_other_sizes_cannot_be_changed_at_a_start():
    with pytest.raises(ValueError, match="sizes"):
        start_model_from(PolarTransformer(CONFIG), "polar-transformer", {"hidden": 32})
    with pytest.raises(ValueError, match="passes 0"):
        PolarTransformer(replace(CONFIG, passes=0))
