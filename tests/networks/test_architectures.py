"""The table of architectures: one file and one entry make a network that trains, denoises and stands in the form."""

import argparse
import importlib
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from polardenoise.architectures import (
    ARCHITECTURES,
    DEFAULT_ARCHITECTURE,
    DEFAULT_MODEL,
    Architecture,
)
from polardenoise.engine.cli import main
from polardenoise.engine.commands import train
from polardenoise.engine.networks.checkpoint import list_shipped_models, load_model
from polardenoise.engine.networks.denoiser import Denoiser
from polardenoise.engine.networks.registry import as_joint, build_model, describe_sizes
from polardenoise.engine.train.recipe import choose_recipe

TOY = """
from dataclasses import dataclass
import torch
from torch import nn
from polardenoise.engine.networks.denoiser import Denoiser

@dataclass(frozen=True)
class ToyConfig:
    box: int = 64
    width: int = 5

class Toy(Denoiser):
    "One convolution."
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.layers = nn.Sequential(nn.Conv2d(1, 1, config.width, padding=config.width // 2))

    def forward(self, images, ctf_rings=None):
        return self.layers(images.flatten(0, 1)[:, None])[:, 0].unflatten(0, images.shape[:2])
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy_network.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = Architecture(
        module="toy_network",
        network="Toy",
        config="ToyConfig",
        joint=False,
        description="a toy.",
        tiny={"box": 32, "width": 3},
        recipe={"images_per_set": (4,), "learning_rate": 0.03},
        convolution_chains=("layers",),
    )
    monkeypatch.setitem(ARCHITECTURES, "toy", entry)
    monkeypatch.chdir(tmp_path)
    yield "toy"
    sys.modules.pop("toy_network", None)


def test_a_toy_trains_goes_on_and_denoises(toy):
    words = ["train", "phantom:1", "--preset", "tiny", "--device", "cpu"]
    assert main([*words, "--architecture", toy, "-o", "first", "--steps", "60"]) == 0
    assert (
        main([*words, "--init", "first", "-o", "second", "--steps", "5", "--json", "s.json"]) == 0
    )
    assert json.loads(Path("s.json").read_text())["architecture"] == toy
    model, card = load_model("second")
    assert (type(model).__name__, card.architecture, card.sizes) == (
        "Toy",
        toy,
        {"box": 32, "width": 3},
    )
    assert card.trained_on["recipe"]["images_per_set"] == [4]
    simulate = ["simulate", "phantom:3", "-o", "set", "--box", "32", "--particles", "12"]
    assert main([*simulate, "--snr", "0.1", "--no-ctf"]) == 0
    denoise = ["denoise", "set/particles.star", "-o", "out.star", "--model", "second"]
    assert main([*denoise, "--json", "out_summary.json"]) == 0
    summary = json.loads(Path("out_summary.json").read_text())
    assert summary["particles"] == 12
    assert not summary["joint"]
    evaluate = ["evaluate", "out.star", "--truth", "set/clean.star", "--json", "e.json"]
    assert main(evaluate) == 0
    figures = json.loads(Path("e.json").read_text())
    assert figures["relative_mse"] < figures["relative_mse_noisy"]


def test_a_toy_appears_in_the_choices_of_command_and_form(toy):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    assert parser.parse_args(["phantom:1", "-o", "x", "--architecture", toy]).architecture == toy
    form = importlib.import_module("polardenoise.protocols").ProtPolarTrain()
    param = form.getParam("architecture")
    assert param.choices == list(ARCHITECTURES)
    assert param.choices[-1] == toy
    assert "*toy*: a toy." in param.help.get()
    assert param.choices[int(param.default.get())] == DEFAULT_ARCHITECTURE


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_entry_describes_its_network(name):
    entry = ARCHITECTURES[name]
    model = build_model(name, choose_recipe("tiny", name, None).sizes)
    assert isinstance(model, Denoiser)
    assert model.config.box == 32
    assert type(model).__name__ == entry.network
    assert {field.name for field in fields(model.config)} == set(describe_sizes(model))
    for chain in entry.convolution_chains:
        assert isinstance(getattr(model, chain), torch.nn.Module)
    if entry.joint:
        images, ctf_rings = torch.randn(6, 32, 32), torch.ones(6, 16)
        joint = as_joint(model)
        encoded = joint.encode(images, ctf_rings)
        assert joint.decode(encoded, joint.attend(encoded, (2, 3))).shape == images.shape


def test_the_default_model_is_shipped_and_of_the_default_architecture():
    assert DEFAULT_MODEL in list_shipped_models()
    assert load_model(DEFAULT_MODEL)[1].architecture == DEFAULT_ARCHITECTURE


def test_the_default_is_stated_by_the_help_of_denoise(capsys):
    with pytest.raises(SystemExit):
        main(["denoise", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"or a model's folder (default: {DEFAULT_MODEL})" in said


def test_the_table_needs_neither_torch_nor_numpy():
    """The forms of Scipion import it."""
    code = "import sys, polardenoise.architectures; print([m for m in ('torch', 'numpy', 'pwem') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
