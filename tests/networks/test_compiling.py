"""Compiled convolutions are the network's own, in training only."""

import pytest
import torch

from polardenoise.engine.networks.compiling import compile_convolutions
from polardenoise.engine.networks.registry import ARCHITECTURES, build_model
from polardenoise.engine.train.recipe import choose_recipe


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_compiled_is_what_was_there(architecture, monkeypatch):
    """The compiler itself is torch's: it is stood in for by one that counts."""
    called = []

    def count(forward, dynamic):
        return lambda features: called.append(features.shape[0]) or forward(features)

    monkeypatch.setattr(torch, "compile", count)
    torch.manual_seed(0)
    model = build_model(architecture, choose_recipe("tiny", architecture, None).sizes)
    images = torch.randn(2, 3, 32, 32)
    names, expected = list(model.state_dict()), model.train()(images)
    compile_convolutions(model, architecture)
    torch.testing.assert_close(model(images), expected, rtol=0, atol=1e-6)
    # A polar transformer's decoder is called in each of three passes.
    chains = {"polar-transformer": 4, "unet": 0}.get(architecture, 1)
    assert called == [6] * chains
    model.eval()(images)
    assert len(called) == chains
    assert list(model.state_dict()) == names
