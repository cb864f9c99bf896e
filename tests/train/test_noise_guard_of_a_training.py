"""A model that a user has trained shows pure noise as what it is: raw images, faint, as the shipped `base` does."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles

COUNT = 200


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A minute of training at toy size, by nothing but the command line; the last stage, too, has its bar."""
    folder = tmp_path_factory.mktemp("training")
    recipe = folder / "recipe.json"
    recipe.write_text('{"noise_images": 64}')
    words = ["train", "phantom:1-2", "--preset", "tiny", "--recipe", str(recipe), "--device", "cpu"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main([*words, "-o", str(folder / "run"), "--steps", "80"]) == 0
    assert "pure noise: 128/128 images" in said.getvalue()
    return str(folder / "run")


def simulate(folder, ctf):
    words = ["simulate", "phantom:9", "-o", str(folder), "--box", "32", "--particles", str(COUNT)]
    assert main([*words, "--snr", "0.3", "--views", "4", ctf]) == 0
    return folder / "particles.star"


def denoise(particles, model):
    out = particles.with_name("denoised.star")
    words = ["denoise", str(particles), "-o", str(out), "--model", model, "--device", "cpu"]
    assert main([*words, "--contrast", "bright"]) == 0
    images = torch.from_numpy(read_images(read_particles(out), slice(None)))
    return images, json.loads(out.with_suffix(".json").read_text())


@pytest.mark.parametrize("ctf", ["--no-ctf", "--ctf"])
def test_pure_noise_comes_out_faint_and_particles_do_not(model, tmp_path, capsys, ctf):
    assert set(load_model(model)[1].noise_energy) == {"none", "ctf"}
    particles = simulate(tmp_path, ctf)
    shown, summary = denoise(particles, model)
    assert summary["noise_guard"]
    assert summary["faint"] <= 0.02 * COUNT
    noise = np.random.default_rng(0).standard_normal((COUNT, 32, 32)).astype(np.float32)
    write_stack(tmp_path / "particles.mrcs", noise, float(read_particles(particles).pixel_size[0]))
    faint, summary = denoise(particles, model)
    assert summary["faint"] >= 0.9 * COUNT
    assert faint.square().mean() < 0.02 * shown.square().mean()
    # Not blank: a hundredth of the raw image on the disk, through its CTF where it has one.
    alike = torch.nn.functional.cosine_similarity(
        torch.from_numpy(noise).flatten(1), faint.flatten(1)
    )
    assert alike.median() > 0.7
    assert "does not state what it makes of pure noise" not in capsys.readouterr().out
