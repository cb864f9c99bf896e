"""The null test: noise that knows nothing correlates with nothing, and what is known beforehand shows."""

import json
import re

import numpy as np
import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.evaluate.noise_bars import (
    MOST_ENERGY,
    estimate_error,
    list_warnings,
    state_bar,
    word_checks,
)
from polardenoise.engine.evaluate.noise_images import (
    Conditions,
    draw_conditions,
    read_conditions,
    write_conditions,
)
from polardenoise.engine.evaluate.noise_measures import SNR
from polardenoise.engine.evaluate.noise_test import denoise_images, measure_null
from polardenoise.engine.evaluate.reference_alignment import align_to_reference
from polardenoise.engine.imaging.backprojection import reconstruct_map
from polardenoise.engine.imaging.ctf import apply_ctf
from polardenoise.engine.imaging.euler_angles import draw_orientations, matrices_from_angles
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.fsc import fourier_shell_correlation
from polardenoise.engine.imaging.projections import prepare_volume, take_projections
from polardenoise.engine.networks.checkpoint import ModelCard, save_model
from polardenoise.engine.networks.registry import build_model
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.reconstruct.half_maps import (
    correlate_halves,
    mean_correlation,
    measure_amplitude,
    subtract_means,
)
from polardenoise.engine.simulate.particle_table import draw_table
from polardenoise.engine.simulate.sources import read_density
from polardenoise.engine.train.recipe import TINY

BOX = 32


@pytest.fixture(scope="module")
def reference():
    return prepare_volume(read_density("phantom:10001", BOX, None, 150.0).volume)


def draw_noise(count, seed=0):
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.standard_normal((count, BOX, BOX), dtype=np.float32))


def no_ctf(count):
    return torch.ones(count, BOX, BOX // 2 + 1)


def test_noise_at_random_poses_correlates_with_nothing():
    poses = draw_orientations(120, np.random.default_rng(1))
    curve = correlate_halves(subtract_means(draw_noise(120), no_ctf(120)), no_ctf(120), poses)
    assert abs(mean_correlation(curve)) < 0.1


def test_a_molecule_at_its_poses_correlates(reference):
    poses = draw_orientations(120, np.random.default_rng(1))
    curve = correlate_halves(take_projections(reference, poses), no_ctf(120), poses)
    assert mean_correlation(curve) > 0.9


def test_a_common_mean_image_correlates_until_it_is_taken_out(reference):
    """One image added to all noise images of both halves: what a prior does that paints one blob."""
    blob = take_projections(reference, torch.tensor([[0.0, 0.0, 0.0]]))
    images = draw_noise(120) + 3 * blob / blob.std()
    poses = draw_orientations(120, np.random.default_rng(1))
    with_mean = mean_correlation(correlate_halves(images, no_ctf(120), poses))
    without = mean_correlation(
        correlate_halves(subtract_means(images, no_ctf(120)), no_ctf(120), poses)
    )
    assert with_mean > 0.5
    assert abs(without) < 0.1


def test_alignment_finds_view_and_rotation(reference):
    generator = np.random.default_rng(3)
    views = draw_orientations(100, np.random.default_rng(4))[:20]
    poses = views.clone()
    poses[:, 2] = torch.from_numpy(generator.uniform(-180, 180, size=20))
    images = take_projections(reference, poses)
    found = align_to_reference(images, no_ctf(20), reference, np.random.default_rng(4))
    relative = matrices_from_angles(found).mT @ matrices_from_angles(poses)
    angle = torch.rad2deg(
        torch.arccos(((relative.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clip(-1, 1))
    )
    # Half an in-plane step is 1.9 degrees; a view may be mistaken for a neighbour.
    assert angle.median() < 2
    assert (angle < 25).float().mean() > 0.8


def test_aligned_noise_looks_like_the_reference(reference):
    """Einstein from noise: raw noise aligned to a reference correlates between halves, by nothing else."""
    noise = draw_noise(240)
    poses = align_to_reference(noise, no_ctf(240), reference, np.random.default_rng(4))
    curve = correlate_halves(subtract_means(noise, no_ctf(240)), no_ctf(240), poses)
    assert mean_correlation(curve) > 0.15


def test_conditions_are_written_as_denoise_reads_them(tmp_path):
    table = draw_table(8, 1, 0, 0.0, True, np.random.default_rng(0))
    conditions = Conditions(BOX, 3.25, table.ctf_parameters(slice(None)), 8)
    write_stack(tmp_path / "images.mrcs", draw_noise(8), 3.25)
    write_conditions(tmp_path / "images.star", tmp_path / "images.mrcs", conditions)
    particles = read_particles(tmp_path / "images.star")
    assert particles.ctf_state == "raw"
    assert particles.random_subset.tolist() == [1] * 4 + [2] * 4
    np.testing.assert_allclose(particles.ctf.defocus_u, conditions.ctf.defocus_u, atol=0.01)
    np.testing.assert_allclose(particles.pixel_size, 3.25)
    like = read_conditions(particles, 16, 5, np.random.default_rng(0))
    assert like.count == 4
    assert like.pixel_size == 6.5
    assert set(like.ctf.defocus_u.tolist()) <= set(particles.ctf.defocus_u.tolist())


def test_the_command_tests_a_model(tmp_path, capsys):
    torch.manual_seed(0)
    model = build_model("polar-cnn", {**TINY.sizes, "box": BOX})
    card = ModelCard(name="untrained", architecture="polar-cnn", sizes={})
    save_model(tmp_path / "model", model, card)
    words = ["evaluate", "--null", str(tmp_path / "model"), "--images", "48", "--device", "cpu"]
    outputs = ["--json", str(tmp_path / "null.json"), "--plot", str(tmp_path / "null.png")]
    assert main([*words, *outputs]) == 0
    summary = json.loads((tmp_path / "null.json").read_text())
    assert summary["images"] == 48
    assert summary["energy"]["noise"] == pytest.approx(np.pi / 4, rel=0.15)
    assert {"random/raw", "random/denoised", "aligned/raw", "aligned/denoised"} <= set(
        summary["curves_with_mean"]
    )
    assert set(summary["curves_with_mean"]) <= set(summary["curves"])
    assert all(bar["met"] == (bar["value"] <= bar["limit"]) for bar in summary["bars"].values())
    assert all(len(curve) == BOX // 2 + 1 for curve in summary["curves"].values())
    assert summary["energy_to_particle"] > 0
    assert (tmp_path / "null.png").stat().st_size > 1000
    said = capsys.readouterr().out
    assert "consistency, never resolution" in said
    met = [name for name, bar in summary["bars"].items() if bar["met"]]
    assert len(summary["bars"]) == 6
    missed = [name for name in summary["bars"] if name not in met]
    assert missed  # or the test shows nothing
    assert re.match(
        rf"missed {len(missed)} of 6 checks( \(.*\))?: {'; '.join(missed)}$", summary["checks"]
    )
    for name, warning in zip(missed, summary["warnings"], strict=True):
        assert warning.startswith(f"missed the check of {name}: ")
        assert ("chance may do that" in warning) == summary["bars"][name]["within_chance"]
    assert "contrast" not in said  # noise has none
    verdict = next(line for line in said.splitlines() if "on pure noise" in line)
    assert verdict.endswith(f"model on pure noise (48 images, {BOX} px): {summary['checks']}")
    assert said.index(verdict) < said.index("noise comes out with")
    # Every stage says how far it is.
    for stage in ("align noise to a reference: 144/144 images", "half maps: 25/25 pairs"):
        assert stage in said


def test_checks_that_are_passed_and_missed_are_said():
    met, bad = state_bar(0.1, 0.2, None), state_bar(0.3, 0.2, 0.04)
    assert word_checks({"a": met, "b": met}) == "passed 2 of 2 checks"
    assert word_checks({"a": met, "b": bad}) == "missed 1 of 2 checks: b"
    assert list_warnings({"a": met}, 16) == []
    warnings = list_warnings({"b": bad}, 16)
    assert warnings == ["missed the check of b: 0.3, at most 0.2 is asked for"]


def test_what_chance_may_miss_is_said_with_its_digits_and_its_cure():
    """Within two sampling errors; where two digits do not show by how much, there are more."""
    bad, close = state_bar(0.9, 0.7, 0.02), state_bar(0.15321, 0.15178, 0.1)
    assert (bad["within_chance"], close["within_chance"], close["met"]) == (False, True, False)
    assert "(by no more than chance may do): a" in word_checks({"a": close})
    assert "missed 2 of 2 checks (1 of them by no more than" in word_checks({"a": close, "b": bad})
    (few,), (many,) = (list_warnings({"a": close}, images) for images in (16, 400))
    assert "0.1532, at most 0.1518 is asked for" in few
    assert "sampling error is 0.1" in few
    assert "--images 400" in few
    assert "--seed" in many


def test_the_sampling_error_is_that_of_correlations_of_noise():
    """Half maps of noise that has a part in common, many times: the spread of their correlation in shell 4."""
    generator = torch.Generator().manual_seed(0)

    def draw():
        return torch.randn(16, 16, 16, generator=generator)

    for shared in (0.0, 1.0):
        found = []
        for _ in range(300):
            same = shared * draw()
            found.append(fourier_shell_correlation(same + draw(), same + draw()))
        curve = np.full(9, -1.0)
        curve[4] = np.mean([one[4] for one in found])
        spread = 2**0.5 * np.std([one[4] for one in found])
        assert estimate_error(curve, curve, 1) == pytest.approx(spread, rel=0.15)
        assert estimate_error(curve, curve, 4) == pytest.approx(spread / 2, rel=0.15)


def test_first_makes_next_to_nothing_of_noise():
    """Energy out, and what the noise adds of a reference to a map: less than a tenth of what raw noise adds."""
    generator = np.random.default_rng(6)
    molecule = read_density("phantom:10001", 64, None, 150.0)
    conditions = draw_conditions(64, molecule.pixel_size, 96, generator)
    transfer = conditions.compute_transfer()
    noise = torch.from_numpy(generator.standard_normal((96, 64, 64), dtype=np.float32))
    denoised = apply_ctf(
        denoise_images(noise, conditions, "base", 0, "cpu", "neighbours"), transfer
    )
    assert denoised.square().mean() < MOST_ENERGY * SNR
    transform = prepare_volume(molecule.volume)
    amplitudes = {}
    for name, images in (("raw", noise), ("denoised", denoised)):
        poses = align_to_reference(images, transfer, transform, np.random.default_rng(4))
        amplitudes[name] = measure_amplitude(
            reconstruct_map(images, transfer, poses), molecule.volume
        )
    assert 0 < amplitudes["denoised"] < 0.1 * amplitudes["raw"]


@pytest.mark.long
def test_base_makes_nothing_of_noise():
    """Every bar of the null test, the one of noise that is aligned to a reference among them."""
    bars = measure_null("base", device="cpu").summary["bars"]
    assert [name for name, bar in bars.items() if not bar["met"]] == []


def test_what_cannot_be_tested_is_told_in_a_line(tmp_path, capsys):
    for words, reason in (
        (["--null", "base", "--images", "4"], "at least 16"),
        (["--null", str(tmp_path / "nothing")], "not shipped"),
        (["--null", "base", "--truth", "x.star"], "--truth: noise has none"),
        (["--null", "base", "--mask-radius", "3"], "--mask-radius: noise has none"),
        (["a.star", "--truth", "b.star", "--images", "64"], "--images: is of the null test"),
        (["a.star", "--truth", "b.star", "--seed", "0"], "--seed: is of the null test"),
        (["a.star", "--truth", "b.star", "--device", "cpu"], "--device: is of the null test"),
        ([], "or --null MODEL"),
    ):
        assert main(["evaluate", *words]) == 2
        said = capsys.readouterr().err
        assert reason in said
        assert said.count("\n") == 1


def test_a_shift_of_all_images_is_no_evidence(reference):
    """The mean image goes, wherever it lies."""
    blob = shift_images(take_projections(reference, torch.zeros(1, 3)), torch.tensor([3.0, -2.0]))
    images = draw_noise(60) + blob / blob.std()
    left = subtract_means(images, no_ctf(60))
    assert left[:30].mean(0).abs().max() < 1e-5
