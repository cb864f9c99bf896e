"""The error of denoised particles against their truth, as defined, in the CTF state of the set."""

import json

import numpy as np
import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.evaluate import against_truth as evaluate
from polardenoise.engine.evaluate.against_truth import compare_images, relative_mse
from polardenoise.engine.imaging.ctf import apply_ctf, compute_ctf, phase_flip
from polardenoise.engine.imaging.disk import disk_mask
from tests.particle_files import ctf_parameters, draw_ctf, write_particle_files

BOX, PIXEL_SIZE, COUNT = 16, 3.0, 24
DISK = disk_mask(BOX, BOX / 2 - 1)


def smooth_images(seed=0, count=COUNT):
    generator = torch.Generator().manual_seed(seed)
    falloff = torch.exp(-((torch.arange(BOX // 2 + 1) / 4.0) ** 2))
    rows = torch.exp(-((torch.fft.fftfreq(BOX, 1 / BOX) / 4.0) ** 2))
    return apply_ctf(torch.randn(count, BOX, BOX, generator=generator), rows[:, None] * falloff)


def relative_mse_scaled(estimate, truth):
    return compare_images(estimate, truth).relative_mse_scaled()


def relative_mse_by_definition(estimate, truth):
    inside, target = estimate.double()[:, DISK], truth.double()[:, DISK]
    return float((inside - target).square().sum() / target.square().sum())


def relative_mse_scaled_by_definition(estimate, truth):
    inside, target = estimate.double()[:, DISK], truth.double()[:, DISK]
    scale = float((inside * target).sum() / inside.square().sum())
    return relative_mse_by_definition(scale * estimate.double(), truth)


def noise(seed=9):
    return torch.randn(COUNT, BOX, BOX, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def files(tmp_path):
    """Give a folder with a truth, and the truth under a CTF."""
    clean = smooth_images()
    ctf = draw_ctf(COUNT)
    write_particle_files(tmp_path / "clean.star", clean, PIXEL_SIZE)
    return tmp_path, clean, ctf, compute_ctf(ctf_parameters(ctf), PIXEL_SIZE, BOX)


def run(folder, name, *words):
    star, truth, out = folder / f"{name}.star", folder / "clean.star", folder / "out.json"
    status = main(
        [str(word) for word in ("evaluate", star, "--truth", truth, "--json", out, *words)]
    )
    assert status == 0
    return json.loads((folder / "out.json").read_text())


# ---- pure functions


def test_the_disk_has_the_stated_radius():
    truth = torch.ones(1, BOX, BOX)
    spots = torch.eye(BOX * BOX).reshape(-1, 1, BOX, BOX)
    mask = torch.tensor([relative_mse(truth + spot, truth) > 0 for spot in spots]).view(BOX, BOX)
    y, x = np.nonzero(mask.numpy())
    assert np.hypot(y - BOX // 2, x - BOX // 2).max() <= BOX / 2 - 1
    assert mask[BOX // 2, 1]
    assert not mask[BOX // 2, 0]


def test_no_estimate_has_error_one_and_the_truth_none():
    truth = smooth_images()
    assert relative_mse(torch.zeros_like(truth), truth) == 1.0
    assert relative_mse_scaled(torch.zeros_like(truth), truth) == 1.0
    assert relative_mse(truth, truth) == 0.0


def test_what_lies_outside_the_disk_does_not_count():
    truth = smooth_images()
    estimate = truth + 100.0 * ~DISK
    assert relative_mse(estimate, truth) == 0.0
    assert compare_images(estimate, truth).relative_mse() == 0.0


def test_the_scale_is_global_and_the_best_one():
    truth = smooth_images()
    estimate = truth + 0.5 * noise()
    assert relative_mse_scaled(5.0 * estimate, truth) == pytest.approx(
        relative_mse_scaled(estimate, truth)
    )
    tried = [relative_mse(scale * estimate, truth) for scale in np.linspace(0.1, 1.5, 400)]
    assert relative_mse_scaled(estimate, truth) == pytest.approx(min(tried), rel=1e-3)
    assert min(tried) >= relative_mse_scaled(estimate, truth)
    # One scale for all images: undoing a different one for each is not allowed.
    uneven = truth * torch.linspace(0.5, 2, COUNT)[:, None, None]
    assert relative_mse_scaled(uneven, truth) > 0.02


def test_the_error_of_added_noise_is_its_power():
    truth = smooth_images()
    expected = float(0.25 * DISK.sum() * COUNT / truth[:, DISK].square().sum())
    assert relative_mse(truth + 0.5 * noise(), truth) == pytest.approx(expected, rel=0.05)


def test_comparisons_of_parts_add_up_to_the_whole():
    truth = smooth_images()
    estimate = truth + 0.3 * noise()
    whole = compare_images(estimate, truth)
    parts = compare_images(estimate[:5], truth[:5]) + compare_images(estimate[5:], truth[5:])
    assert whole.relative_mse() == pytest.approx(relative_mse_by_definition(estimate, truth))
    assert whole.relative_mse_scaled() == pytest.approx(
        relative_mse_scaled_by_definition(estimate, truth)
    )
    assert parts.relative_mse() == pytest.approx(whole.relative_mse())
    assert parts.relative_mse_scaled() == pytest.approx(whole.relative_mse_scaled())
    np.testing.assert_allclose(parts.mean_ring_correlation(), whole.mean_ring_correlation())
    assert parts.count == COUNT


# ---- the command


def test_figures_of_a_set_without_ctf(files):
    folder, clean, _, _ = files
    estimate = 0.8 * clean + 0.1 * noise()
    write_particle_files(folder / "denoised.star", estimate, PIXEL_SIZE)
    found = run(folder, "denoised")
    assert found["relative_mse"] == pytest.approx(
        relative_mse_by_definition(estimate, clean), rel=1e-5
    )
    assert found["relative_mse_scaled"] == pytest.approx(
        relative_mse_scaled_by_definition(estimate, clean), rel=1e-4
    )
    assert found["relative_mse_noisy"] is None
    assert found["particles"] == COUNT
    assert 2 * PIXEL_SIZE <= found["frc_0.5_angstrom"] < BOX * PIXEL_SIZE


def test_the_mask_radius_leaves_out_what_lies_beyond(files):
    """A neighbour at the rim counts on the whole disk and not inside the mask."""
    folder, clean, _, _ = files
    y, x = torch.meshgrid(*2 * [torch.arange(BOX) - BOX // 2], indexing="ij")
    rim = torch.hypot(y.float(), x.float()) > BOX / 4 + 1
    write_particle_files(folder / "denoised.star", clean + 2.0 * rim, PIXEL_SIZE)
    assert run(folder, "denoised")["relative_mse"] > 0.1
    found = run(folder, "denoised", "--mask-radius", str(BOX // 4))
    assert found["relative_mse"] == pytest.approx(0, abs=1e-10)
    assert found["mask_radius"] == BOX // 4


def test_a_mask_radius_beyond_the_box_is_refused(files, capsys):
    folder, clean, _, _ = files
    write_particle_files(folder / "denoised.star", clean, PIXEL_SIZE)
    words = [folder / "denoised.star", "--truth", folder / "clean.star", "--mask-radius", BOX]
    refuse(capsys, words, "--mask-radius")


def test_the_frc_falls_earlier_with_more_noise(files):
    folder, clean, _, _ = files
    found = []
    for level in (0.0, 0.3, 3.0):
        write_particle_files(folder / "denoised.star", clean + level * noise(), PIXEL_SIZE)
        found.append(run(folder, "denoised")["frc_0.5_angstrom"])
    assert found[0] == 2 * PIXEL_SIZE
    assert found[0] < found[1] < found[2]


@pytest.mark.parametrize("state", ["raw", "flipped", "corrected"])
def test_the_truth_gets_the_ctf_that_the_images_carry(files, state):
    """Perfect estimates in each state have no error, whatever each particle's defocus."""
    folder, clean, ctf, transfer = files
    perfect = {
        "raw": apply_ctf(clean, transfer),
        "flipped": phase_flip(apply_ctf(clean, transfer), transfer),
        "corrected": clean,
    }[state]
    optics = {"raw": {}, "flipped": {"rlnCtfDataArePhaseFlipped": 1}}.get(
        state, {"polardenoiseCtfState": "corrected"}
    )
    write_particle_files(folder / "denoised.star", perfect, PIXEL_SIZE, ctf, optics)
    found = run(folder, "denoised")
    assert found["ctf_state"] == state
    assert found["relative_mse"] < 1e-10
    if state != "corrected":
        assert relative_mse(perfect, clean) > 0.1


def test_a_truth_that_carries_the_ctf_is_taken_as_it_is(files):
    folder, clean, ctf, transfer = files
    observed = apply_ctf(clean, transfer)
    write_particle_files(folder / "clean.star", observed, PIXEL_SIZE, ctf)
    write_particle_files(folder / "denoised.star", observed, PIXEL_SIZE, ctf)
    assert run(folder, "denoised")["relative_mse"] < 1e-10
    flipped = phase_flip(observed, transfer)
    stated = {"rlnCtfDataArePhaseFlipped": 1}
    write_particle_files(folder / "flipped.star", flipped, PIXEL_SIZE, ctf, stated)
    assert run(folder, "flipped")["relative_mse"] < 1e-10


def test_the_noisy_input_is_found_by_the_provenance(files):
    folder, clean, ctf, transfer = files
    noisy = apply_ctf(clean, transfer) + noise()
    write_particle_files(folder / "particles.star", noisy, PIXEL_SIZE, ctf)
    corrected = {"polardenoiseCtfState": "corrected"}
    write_particle_files(folder / "denoised.star", 0.9 * clean, PIXEL_SIZE, ctf, corrected)
    facts = {"program": "polardenoise", "input": "particles.star"}
    (folder / "denoised.json").write_text(json.dumps(facts))
    found = run(folder, "denoised")
    assert found["relative_mse"] == pytest.approx(0.01, rel=1e-3)
    # The noisy images still carry their CTF, and are compared with the truth under it.
    expected = relative_mse(noisy, apply_ctf(clean, transfer))
    assert found["relative_mse_noisy"] == pytest.approx(expected, rel=1e-4)
    (folder / "particles.star").unlink()
    assert run(folder, "denoised")["relative_mse_noisy"] is None


@pytest.mark.parametrize(("first", "cut"), [(6, True), (0, True), (COUNT, False), (None, False)])
def test_the_truth_of_all_is_cut_to_the_rows_that_were_denoised(files, capsys, first, cut):
    """`OUT.json` of a run with `--rows` says where its rows begin; beyond the input, or unsaid, nobody knows."""
    folder, clean, ctf, transfer = files
    noisy = apply_ctf(clean, transfer) + noise()
    write_particle_files(folder / "particles.star", noisy, PIXEL_SIZE, ctf)
    part = slice(first or 0, (first or 0) + 10) if cut else slice(0, 10)
    own = {name: values[part] for name, values in ctf.items()}
    corrected = {"polardenoiseCtfState": "corrected"}
    write_particle_files(folder / "denoised.star", 0.9 * clean[part], PIXEL_SIZE, own, corrected)
    facts = {"program": "polardenoise", "input": "particles.star", "particles": 10}
    facts |= {} if first is None else {"first_row": first}
    (folder / "denoised.json").write_text(json.dumps(facts))
    if not cut:
        words = [folder / "denoised.star", "--truth", folder / "clean.star"]
        return refuse(capsys, words, "24 rows, but", "has 10")
    found = run(folder, "denoised")
    assert found["relative_mse"] == pytest.approx(0.01, rel=1e-3)
    expected = relative_mse(noisy[part], apply_ctf(clean, transfer)[part])
    assert found["relative_mse_noisy"] == pytest.approx(expected, rel=1e-4)
    assert found["truth_rows"] == [first, first + 10]
    assert f"its rows {first + 1} to {first + 10} (counted from 1)" in capsys.readouterr().out
    named = run(folder, "denoised", "--noisy", folder / "particles.star")
    assert named["relative_mse_noisy"] == found["relative_mse_noisy"]
    # The truth of these rows alone will do, and another set of more rows will not.
    write_particle_files(folder / "clean.star", clean[part], PIXEL_SIZE)
    assert "truth_rows" not in run(folder, "denoised")
    write_particle_files(folder / "clean.star", clean[:20], PIXEL_SIZE)
    words = [folder / "denoised.star", "--truth", folder / "clean.star"]
    return refuse(capsys, words, "20 rows, but", "has 10")


def test_the_size_of_chunks_does_not_change_the_figures(files, monkeypatch):
    folder, clean, ctf, transfer = files
    estimate = apply_ctf(clean, transfer) + 0.2 * noise()
    write_particle_files(folder / "denoised.star", estimate, PIXEL_SIZE, ctf)
    whole = run(folder, "denoised")
    monkeypatch.setattr(evaluate, "BYTES_READ_AT_ONCE", 5 * 8 * BOX * BOX)
    for key, value in run(folder, "denoised").items():
        numbers = isinstance(value, float | list)
        assert value == (pytest.approx(whole[key]) if numbers else whole[key])


def test_the_plot_is_drawn(files):
    folder, clean, _, _ = files
    write_particle_files(folder / "particles.star", clean + noise(), PIXEL_SIZE)
    write_particle_files(folder / "denoised.star", 0.9 * clean, PIXEL_SIZE)
    facts = {"program": "polardenoise", "input": str(folder / "particles.star")}
    (folder / "denoised.json").write_text(json.dumps(facts))
    run(folder, "denoised", "--plot", folder / "plot.png")
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")


# ---- what is refused


def refuse(capsys, words, *told):
    assert main(["evaluate", *(str(word) for word in words)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    for word in told:
        assert word in line


def test_sets_that_do_not_match_are_refused(files, capsys):
    folder, clean, _, _ = files
    write_particle_files(folder / "few.star", clean[:5], PIXEL_SIZE)
    write_particle_files(folder / "small.star", clean[:, :8, :8], PIXEL_SIZE)
    write_particle_files(folder / "coarse.star", clean, 2 * PIXEL_SIZE)
    for name, told in (("few", "5"), ("small", "box"), ("coarse", "pixel size")):
        words = [folder / f"{name}.star", "--truth", folder / "clean.star"]
        refuse(capsys, words, "clean.star", told)


def test_a_truth_with_ctf_for_images_without_is_refused(files, capsys):
    folder, clean, ctf, _ = files
    write_particle_files(folder / "clean.star", clean, PIXEL_SIZE, ctf)
    write_particle_files(folder / "denoised.star", clean, PIXEL_SIZE)
    refuse(capsys, [folder / "denoised.star", "--truth", folder / "clean.star"], "defocus columns")


def test_missing_words_are_refused(files, capsys):
    folder, clean, _, _ = files
    write_particle_files(folder / "denoised.star", clean, PIXEL_SIZE)
    star = folder / "denoised.star"
    refuse(capsys, [star], "--truth CLEAN.star is missing")
    refuse(capsys, ["--truth", folder / "clean.star"], "DENOISED.star is missing")
    words = [star, "--truth", folder / "clean.star", "--plot", folder / "plot.xyz"]
    refuse(capsys, words, "--plot", ".png")
    refuse(capsys, [star, "--truth", folder / "nothing.star"], "nothing.star")


def test_the_noisy_side_may_be_named(folder, capsys):
    """Without a provenance nobody knows what the images were made from; others than these particles are refused."""
    truth = smooth_images().numpy()
    write_particle_files(folder / "clean.star", truth, 3.0)
    write_particle_files(folder / "estimate.star", 0.9 * truth, 3.0)
    write_particle_files(folder / "raw.star", 3 * truth, 3.0)
    words = ["evaluate", "estimate.star", "--truth", "clean.star", "--json", "e.json"]
    assert main(words) == 0
    assert json.loads((folder / "e.json").read_text())["relative_mse_noisy"] is None
    assert main([*words, "--noisy", "raw.star", "--plot", "e.png"]) == 0
    found = json.loads((folder / "e.json").read_text())
    assert found["relative_mse"] == pytest.approx(0.01, rel=1e-3)
    assert found["relative_mse_noisy"] == pytest.approx(4.0, rel=1e-3)
    assert len(found["frc_noisy"]) == len(found["frc"])
    write_particle_files(folder / "other.star", truth[:5], 3.0)
    capsys.readouterr()
    assert main([*words, "--noisy", "other.star"]) == 2
    assert "other.star" in capsys.readouterr().err
    assert main([*words, "--noisy", "raw.star", "--plot", "raw.png", "--json", "raw.star"]) == 2
    assert main(["evaluate", "--null", "base", "--noisy", "raw.star"]) == 2
    assert "--noisy" in capsys.readouterr().err


def test_the_raw_input_is_no_truth(files, capsys):
    """Whatever name its images have; the provenance says what was denoised."""
    folder, clean, ctf, _ = files
    write_particle_files(folder / "particles.star", clean + noise(), PIXEL_SIZE, ctf)
    write_particle_files(folder / "copy.star", clean + noise(), PIXEL_SIZE)
    corrected = {"polardenoiseCtfState": "corrected"}
    write_particle_files(folder / "denoised.star", 0.9 * clean, PIXEL_SIZE, ctf, corrected)
    facts = {"program": "polardenoise", "input": "particles.star"}
    (folder / "denoised.json").write_text(json.dumps(facts))
    denoised, copy = folder / "denoised.star", folder / "copy.star"
    refuse(capsys, [denoised, "--truth", copy], "--truth", "copy.star", "clean.star")
    words = [denoised, "--truth", copy, "--noisy", folder / "clean.star"]
    refuse(capsys, words, "--truth", "copy.star")
    write_particle_files(folder / "kept.star", 0.9 * clean, PIXEL_SIZE, ctf)
    (folder / "kept.json").write_text(json.dumps(facts))
    words = [folder / "kept.star", "--truth", folder / "particles.star"]
    refuse(capsys, words, "--truth", "particles.star", "clean.star")
    assert run(folder, "denoised")["relative_mse"] == pytest.approx(0.01, rel=1e-3)


def test_one_set_is_not_truth_and_noisy_both(files, capsys):
    folder, clean, _, _ = files
    write_particle_files(folder / "denoised.star", 0.9 * clean, PIXEL_SIZE)
    truth = folder / "clean.star"
    words = [folder / "denoised.star", "--truth", truth, "--noisy", truth]
    refuse(capsys, words, "--noisy", "clean.star", "cannot be both")
