"""The map of the residual: what was taken from the particles, told apart from noise."""

import re

import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.imaging.projections import prepare_volume, take_projections
from polardenoise.engine.report.residual_map import doubt_residual_map, reconstruct_residual
from polardenoise.engine.simulate.sources import read_density
from tests.denoise_files import denoise, save_tiny_model, write_set

BOX, COUNT = 32, 200


@pytest.fixture(scope="module")
def particles():
    """Noisy images, clean ones, poses and halves."""
    generator = np.random.default_rng(0)
    density = read_density("phantom:10001", BOX, None, 150.0)
    angles = draw_orientations(COUNT, generator)
    clean = take_projections(prepare_volume(density.volume), angles)
    clean = clean / clean.square().mean().sqrt()
    noise = torch.from_numpy(generator.standard_normal(clean.shape, dtype=np.float32))
    return clean + noise, clean, angles, np.arange(COUNT) % 2 + 1


def reconstruct(noisy, estimates, angles, halves):
    transfer = torch.ones(len(noisy), BOX, BOX // 2 + 1)
    return reconstruct_residual(noisy, estimates, transfer, angles, halves)


def test_perfect_estimates_leave_noise(particles):
    noisy, clean, angles, halves = particles
    found = reconstruct(noisy, clean, angles, halves)
    assert abs(found.left) < 0.02
    assert found.correlation[4:].max() < 0.2
    torch.testing.assert_close(found.noisy - found.denoised, found.residual)
    assert doubt_residual_map(found) == []


@pytest.mark.parametrize("kept", [0.0, 0.7])
def test_what_the_estimates_lack_is_in_the_residual(particles, kept):
    noisy, clean, angles, halves = particles
    found = reconstruct(noisy, kept * clean, angles, halves)
    assert found.left == pytest.approx(1 - kept, abs=0.03)
    assert found.correlation[4] > 0.7
    (doubt,) = doubt_residual_map(found)
    assert doubt.startswith(f"{found.left:.0%} of what the particles have in common is not in")


def test_a_map_needs_two_halves(particles):
    noisy, clean, angles, halves = particles
    assert reconstruct(noisy, clean, angles, np.ones_like(halves)) is None
    few = np.where(np.arange(COUNT) < 3, 2, 1)
    assert reconstruct(noisy, clean, angles, few) is None


def test_the_report_shows_the_map_where_particles_have_poses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = save_tiny_model(tmp_path / "model")
    write_set(tmp_path, 24)
    assert denoise(model, "--report", "posed", "--group-by", "random") == 0
    page = (tmp_path / "posed" / "index.html").read_text()
    assert "What was taken away, as a map" in page
    names = re.findall(r'data-name="([^"]*)"', page)
    assert {"map_noisy", "map_denoised", "map_residual"} <= set(names)
    text = (tmp_path / "in.star").read_text()
    for label in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"):
        text = text.replace(label, f"formerly{label}")
    (tmp_path / "in.star").write_text(text)
    assert denoise(model, "--report", "unposed", "--group-by", "random", output="o.star") == 0
    assert "as a map" not in (tmp_path / "unposed" / "index.html").read_text()
