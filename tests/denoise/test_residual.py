"""What the mean residuals of two halves have in common: nothing of noise, all that was lost or invented everywhere."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from polardenoise.engine.denoise.residual import measure_common_residual, word_residual
from tests.denoise_files import denoise, save_tiny_model, write_set

BOX, COUNT = 32, 400


@pytest.fixture(scope="module")
def particles():
    """Disks of all sizes with noise of variance 1, their truth, and halves."""
    generator = np.random.default_rng(0)
    axis = torch.arange(BOX) - BOX // 2
    radius = (axis[:, None] ** 2 + axis**2).sqrt()
    sizes = torch.from_numpy(generator.uniform(4, 9, COUNT)).float()
    clean = 0.5 * torch.sigmoid(sizes[:, None, None] - radius)
    noise = torch.from_numpy(generator.standard_normal(clean.shape, dtype=np.float32))
    return clean + noise, clean, np.arange(COUNT) % 2 + 1


def test_noise_alone_has_nothing_in_common(particles):
    noisy, clean, halves = particles
    found = measure_common_residual(noisy, clean, halves)
    assert abs(found.correlation) < 0.3
    assert abs(found.share) < 0.05
    assert not found.is_large
    assert word_residual(found) == ""


@pytest.mark.parametrize("kept", [0.7, 1.3])
def test_what_all_estimates_lack_or_have_too_much_is_said(particles, kept):
    noisy, clean, halves = particles
    found = measure_common_residual(noisy, kept * clean, halves)
    assert found.share == pytest.approx(1 - kept, abs=0.05)
    assert found.share == pytest.approx(1 - kept, abs=4 * found.error)
    assert 0.005 < found.error < 0.05
    said = word_residual(found)
    assert ("lost from" if kept < 1 else "added to") in said
    assert f"{abs(found.share):.0%} of what" in said


def test_a_ring_that_nobody_has_is_found_in_both_halves(particles):
    noisy, clean, halves = particles
    axis = torch.arange(BOX) - BOX // 2
    radius = (axis[:, None] ** 2 + axis**2).sqrt()
    ring = 0.15 * torch.exp(-((radius - 11) ** 2) / 4)
    found = measure_common_residual(noisy, clean + ring, halves)
    assert found.correlation > 0.5
    assert found.is_large
    # In one half only it is no common structure, however strong it is.
    only = torch.from_numpy(halves == 1)[:, None, None] * ring
    assert abs(measure_common_residual(noisy, clean + only, halves).correlation) < 0.3


def test_two_halves_of_enough_images_are_needed(particles):
    noisy, clean, _ = particles
    assert measure_common_residual(noisy, clean, np.ones(COUNT)) is None
    few = np.where(np.arange(COUNT) < 49, 1, 2)
    assert measure_common_residual(noisy, clean, few) is None


def test_a_run_says_it_everywhere(tmp_path, monkeypatch, capsys):
    """An untrained network takes the particles away: summary, provenance and page say so."""
    monkeypatch.chdir(tmp_path)
    model = save_tiny_model(tmp_path / "model")
    write_set(tmp_path, 120)
    options = ("--group-by", "random", "--contrast", "bright", "--report", "report")
    assert denoise(model, *options) == 0
    said = json.loads(Path("out.json").read_text())["residual"]["said"]
    assert said.startswith("what was taken away is not noise alone")
    assert f"WARNING: {said}" in capsys.readouterr().out
    page = Path("report/index.html").read_text()
    assert said[1:] in page
    assert page.index(said[1:]) < page.index("Before you use them")
