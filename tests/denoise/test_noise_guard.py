"""What is no more than noise is not drawn as a particle: its own raw image stands there, faint, never a blank one."""

import json
from pathlib import Path

import pytest
import torch

from polardenoise.engine.denoise.noise.guard import FAINT, fade_faint_images, measure_energy
from polardenoise.engine.evaluate import noise_energy
from polardenoise.engine.evaluate.noise_energy import measure_noise_energy
from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.neighbours.centred_denoising import CentredCluster
from polardenoise.engine.neighbours.search import DenoisedCluster
from polardenoise.engine.networks.registry import ARCHITECTURES, build_model
from tests.denoise_files import denoise, images_of, save_tiny_model, write_set

LIMITS = {"none": 1.0, "ctf": 0.1}
BOX = 32


def draw_images(count, seed):
    return torch.randn(count, BOX, BOX, generator=torch.manual_seed(seed))


def scale_to_energy(images, ctf_rings, energies):
    return images * (energies / measure_energy(images, ctf_rings)).sqrt()[:, None, None]


def test_from_once_to_twice_the_energy_of_noise_estimates_replace_raw_images():
    ctf_rings = torch.ones(5, BOX // 2)
    raw = draw_images(5, 1)
    energies = torch.tensor([0.3, 1.0, 1.5, 2.01, 40.0])
    estimates = scale_to_energy(draw_images(5, 2), ctf_rings, energies)
    shown, faint = fade_faint_images(estimates, raw, ctf_rings, [5], LIMITS)
    assert faint[[0, 2, 3, 4]].tolist() == [True, False, False, False]
    assert torch.equal(shown[3:], estimates[3:])  # bit for bit
    torch.testing.assert_close(shown[:2], FAINT * raw[:2], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(shown[2], (estimates[2] + FAINT * raw[2]) / 2, atol=1e-5, rtol=1e-4)
    assert (shown.flatten(1).std(1) > 0).all()  # programs divide by it


def test_an_image_with_a_ctf_is_held_against_noise_with_a_ctf_as_it_was_seen():
    ctf_rings = torch.ones(3, BOX // 2)
    ctf_rings[1:] = torch.linspace(0.1, 0.9, BOX // 2)
    raw = draw_images(3, 3)
    estimates = scale_to_energy(draw_images(3, 4), ctf_rings, torch.tensor([0.3, 0.3, 0.05]))
    seen = filter_by_rings(estimates[1:2], ctf_rings[1:2]) * disk_mask(BOX, BOX / 2 - 1)
    assert seen.square().sum() / disk_mask(BOX, BOX / 2 - 1).sum() == pytest.approx(0.3, rel=1e-4)
    _, faint = fade_faint_images(estimates, raw, ctf_rings, [3], LIMITS)
    assert faint.tolist() == [True, False, True]


def test_images_are_judged_by_those_that_were_denoised_with_them_and_no_others():
    """Half of what one noise image in a hundred exceeds: noise among noise, and no noise where all others have more."""
    energies = torch.full((400,), 0.5)
    energies[210:] = 5.0  # the second set; its first ten stay at 0.5
    ctf_rings, raw = torch.ones(400, BOX // 2), draw_images(400, 7)
    estimates = scale_to_energy(draw_images(400, 8), ctf_rings, energies)
    shown, faint = fade_faint_images(estimates, raw, ctf_rings, [200, 200], LIMITS)
    assert faint[:200].all()
    assert not faint[200:].any()
    assert torch.equal(shown[200:], estimates[200:])
    _, faint = fade_faint_images(estimates, raw, ctf_rings, [1] * 400, LIMITS)
    assert faint[:210].all()
    assert not faint[210:].any()


def test_of_a_model_that_was_not_measured_nothing_is_replaced():
    estimates = 1e-6 * draw_images(2, 5)
    shown, faint = fade_faint_images(estimates, draw_images(2, 6), torch.ones(2, BOX // 2), [2], {})
    assert shown is estimates
    assert not faint.any()


def test_the_energy_of_noise_is_what_one_image_in_a_hundred_exceeds(monkeypatch):
    """Images multiplied by 0.1.

    The mean square of 3,001 independent pixels has a deviation of 2.6 %; that of the 889 pixels of the corners, by
    which images are normalised, has one of 4.7 %.
    """

    def shrink(model, images, ctf_rings, images_per_set, seed):
        neighbours = torch.arange(len(images))[:, None]
        denoised = DenoisedCluster(0.1 * images, neighbours, None)
        return CentredCluster(None, denoised, torch.zeros(len(images), 2))

    monkeypatch.setattr(noise_energy, "denoise_centred_cluster", shrink)
    model = build_model("polar-transformer", ARCHITECTURES["polar-transformer"].tiny | {"box": 64})
    found = measure_noise_energy(model, images=512)
    assert found["none"] == pytest.approx(
        0.01 * (1 + 2.33 * (2 / 3001 + 2 / 889) ** 0.5), rel=0.015
    )
    assert 0.2 * found["none"] < found["ctf"] < 0.9 * found["none"]  # |CTF|^2 is 0.5 in the mean


@pytest.mark.parametrize("group_by", ["neighbours", "random"])
def test_a_run_returns_faint_raw_images_and_says_how_many(tmp_path, monkeypatch, capsys, group_by):
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path, count=12, ctf=False)
    plain = save_tiny_model(tmp_path / "plain")
    measured = save_tiny_model(tmp_path / "measured")
    card = Path(measured) / "model.json"
    facts = json.loads(card.read_text())
    options = ("--group-by", group_by, "--contrast", "dark", "--report", "report")
    assert denoise(plain, "--group-by", group_by, "--contrast", "dark", output="plain.star") == 0
    assert json.loads(Path("plain.json").read_text())["faint"] == 0
    assert (
        "WARNING: the card of tiny does not state what it makes of pure noise"
        in capsys.readouterr().out
    )
    card.write_text(json.dumps(facts | {"noise_energy": {"none": 1e9, "ctf": 1e9}}))
    assert denoise(measured, *options) == 0
    said = capsys.readouterr().out
    assert "12 particles show no more than pure noise would" in said
    assert "WARNING: the card" not in said
    assert json.loads(Path("out.json").read_text())["faint"] == 12
    page = Path("report/index.html").read_text()
    assert "12 of 12 particles" in page
    assert "does not state" not in page
    assert denoise(plain, *options[:4], "--report", "unguarded", output="unguarded.star") == 0
    assert "The card of tiny does not state" in Path("unguarded/index.html").read_text()
    raw, shown = images_of("in.star"), images_of("out.star")
    inside = disk_mask(BOX, BOX / 2 - 1) > 0.999
    corners = disk_mask(BOX, BOX / 2 - 1) == 0
    background = raw[:, corners].mean(1)[:, None]
    residual = shown[:, inside] - FAINT * (raw[:, inside] - background)
    # The background is a measured one, of the same corners to a pixel: a constant is all that may differ.
    assert residual.std(1).max() < 1e-5
    assert residual.abs().max() < 0.2 * FAINT
    card.write_text(json.dumps(facts | {"noise_energy": {"none": 1e-12, "ctf": 1e-12}}))
    assert denoise(measured, *options[:4], output="all.star") == 0
    assert torch.equal(images_of("all.star"), images_of("plain.star"))
