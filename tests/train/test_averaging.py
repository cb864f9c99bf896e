"""Averaged weights: those of a reference loop, saved and resumed, and nothing else changed."""

import json
from dataclasses import replace

import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.networks.registry import build_model
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.train.averaging import averaged_weights, choose_decay, copy_weights
from polardenoise.engine.train.loop import start_training, take_step
from polardenoise.engine.train.loss import measure_objective
from polardenoise.engine.train.recipe import TINY, choose_recipe
from polardenoise.engine.train.resume_state import read_resume_state, restore_state
from polardenoise.engine.train.simulated_sets import draw_batch, load_molecule, stack_molecules

ARGUMENTS = ["train", "phantom:1", "--preset", "tiny", "--device", "cpu"]


def take_steps(architecture, averaging, steps=6):
    torch.manual_seed(0)
    recipe = choose_recipe("tiny", architecture, None)
    recipe = replace(recipe, averaging=averaging)
    molecules = stack_molecules([load_molecule("phantom:1", 32, 0.9)], torch.device("cpu"))
    state = start_training(build_model(architecture, recipe.sizes).train(), recipe)
    seen = [copy_weights(state.model)]
    for step in range(steps):
        take_step(state, draw_batch(molecules, recipe, 0, step), recipe, measure_objective)
        state.step += 1
        seen.append(copy_weights(state.model))
    return state, seen


@pytest.mark.parametrize("architecture", ["polar-transformer", "dncnn"])
def test_the_average_is_that_of_a_reference_loop(architecture):
    state, seen = take_steps(architecture, 0.25)
    for name, found in state.average.items():
        wanted = seen[0][name].double()
        for step, weights in enumerate(seen[1:]):
            decay = min(0.25, (1 + step) / (10 + step))
            wanted = decay * wanted + (1 - decay) * weights[name].double()
        if not found.is_floating_point():  # a count of batches
            wanted = seen[-1][name]
        assert torch.allclose(found.double(), wanted.double(), atol=1e-6, rtol=1e-6), name


def test_averaging_changes_nothing_of_the_training_itself():
    averaged, _ = take_steps("polar-transformer", 0.9)
    plain, _ = take_steps("polar-transformer", 0.0)
    assert plain.average is None
    assert TINY.averaging == 0
    for one, other in zip(averaged.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_average_grows_to_its_length():
    decays = [choose_decay(0.999, step) for step in range(20_000)]
    assert decays[0] == 0.1
    assert decays == sorted(decays)
    assert decays[-1] == 0.999


def test_a_network_gets_its_own_weights_back_bit_for_bit():
    state, seen = take_steps("dncnn", 0.9)
    with averaged_weights(state.model, state.average):
        for name, tensor in state.model.state_dict().items():
            assert torch.equal(tensor, state.average[name])
    for name, tensor in state.model.state_dict().items():
        assert torch.equal(tensor, seen[-1][name])


def test_the_average_is_what_is_saved_and_it_is_resumed(tmp_path, capsys):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"averaging": 0.9, "learning_rate": 3e-3}))
    arguments = [*ARGUMENTS, "--recipe", str(recipe), "-o"]
    assert main([*arguments, str(tmp_path / "whole"), "--steps", "8"]) == 0
    run = tmp_path / "run"
    assert main([*arguments, str(run), "--steps", "8", "--pause-after", "0.00001"]) == 0
    assert read_resume_state(run / "resume")["step"] < 8
    assert main([*arguments, str(run), "--steps", "8", "--resume"]) == 0
    weights = [tmp_path / name / "model" / "weights.safetensors" for name in ("whole", "run")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    saved = read_resume_state(run / "resume")
    model, _ = load_model(str(run / "model"))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, saved["average"][name])
    assert any(
        not torch.equal(saved["weights"][name], saved["average"][name]) for name in saved["average"]
    )
    # A state that has lost its average is refused.
    fresh = start_training(model.train(), replace(TINY, averaging=0.9))
    del saved["average"]
    with pytest.raises(InputError, match="is of another network"):
        restore_state(saved, fresh)
