"""The mean of two models lies in the middle of them, and is a model."""

import pytest
import torch

from benchmarks.models.average_models import average_models
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.runtime.errors import InputError
from tests.places import REPOSITORY


def test_the_mean_lies_in_the_middle_and_says_what_it_is_of(tmp_path):
    real = str(REPOSITORY / "benchmarks/checkpoints/real")
    average_models("base", real, tmp_path / "between")
    (base, _), (other, _), (middle, card) = map(
        load_model, ("base", real, str(tmp_path / "between"))
    )
    moved = False
    for (_, one), (_, two), (_, found) in zip(
        *(it.named_parameters() for it in (base, other, middle)), strict=True
    ):
        assert torch.allclose(found, (one + two) / 2, atol=1e-7)
        moved |= not torch.equal(one, two)
    assert moved
    assert card.name == "between"
    assert "base" in card.trained_on["note"]


def test_models_of_different_shapes_have_no_mean(tmp_path):
    with pytest.raises(InputError, match="different shapes"):
        average_models("base", "base-dncnn", tmp_path / "between")
    assert not (tmp_path / "between").exists()
