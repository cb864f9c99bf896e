"""Denoising a STAR file: pixels, halves, CTF states, boxes, text tokens, and bad input."""

import json
import os

import numpy as np
import pytest
import torch

from polardenoise import __version__
from polardenoise.engine.imaging.background import measure_background
from polardenoise.engine.imaging.ctf import apply_ctf, compute_ctf
from polardenoise.engine.imaging.fourier import fourier_crop
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.star import read_star
from tests.denoise_files import denoise, images_of, write_set


def test_only_image_names_change_in_the_text(folder, model):
    source = write_set(folder)
    assert denoise(model, "--set-size", "8", "--class-count", "0") == 0
    before, after = source.read_text().splitlines(), (folder / "out.star").read_text().splitlines()
    comment = f"# polardenoise {__version__} denoise: denoised images, estimates and not data"
    assert after.pop(0) == comment
    assert len(before) == len(after)
    row = 0
    for old, new in zip(before, after, strict=True):
        if "@" not in old:
            assert old == new
            continue
        row += 1
        name = old.split()[1]
        assert new == old.replace(name, f"{row:06d}@out.mrcs")
    assert row == 24


def test_rows_keep_their_images_whatever_their_order_in_the_stack(folder, model):
    """Each set is one image here, so every output depends on its own input alone."""
    source = write_set(folder, ctf=False)
    assert denoise(model, "--set-size", "1", "--precision", "float32") == 0
    particles = read_particles(source)
    network = build_from(model)
    out = images_of("out.star")
    for row in (0, 7, 23):
        image = torch.from_numpy(read_images(particles, np.array([row])))
        assert torch.allclose(out[row], run_by_hand(network, image), atol=1e-5)


def build_from(model):
    from polardenoise.engine.networks.checkpoint import load_model

    return load_model(model)[0]


def run_by_hand(network, image):
    background = measure_background(image)
    with torch.inference_mode():
        return (
            network(((image - background.mean) / background.deviation)[None])[0]
            * background.deviation
        )[0]


def test_scale_offset_and_contrast_of_the_input(folder, model):
    source = write_set(folder, ctf=False)
    exact = ("--precision", "float32")
    assert denoise(model, *exact) == 0
    plain = images_of("out.star")
    stack = read_images(
        read_particles(source), np.argsort([int(w.split()[1][:6]) for w in rows_of(source)])
    )
    write_stack(folder / "stack.mrcs", 7 * stack - 40, 3.0)
    assert denoise(model, *exact, output="scaled.star") == 0
    assert torch.allclose(images_of("scaled.star"), 7 * plain, rtol=1e-3, atol=1e-3)
    write_stack(folder / "stack.mrcs", -stack, 3.0)
    assert denoise(model, *exact, "--contrast", "dark", output="dark.star") == 0
    assert torch.allclose(images_of("dark.star"), -plain, atol=1e-4)


def test_lower_precision_changes_little(folder, model):
    write_set(folder, ctf=False)
    for precision in ("float32", "bfloat16"):
        assert denoise(model, "--precision", precision, output=f"{precision}.star") == 0
    exact, quick = images_of("float32.star"), images_of("bfloat16.star")
    assert 0 < (quick - exact).norm() < 0.02 * exact.norm()


def rows_of(star):
    return [line for line in star.read_text().splitlines() if "@" in line]


def test_halves_never_exchange_information(folder, model):
    source = write_set(folder)
    assert denoise(model) == 0
    before = images_of("out.star")
    particles = read_particles(source)
    second = particles.random_subset == 2
    stack = np.empty((24, 32, 32), dtype=np.float32)
    stack[particles.index_in_stack] = read_images(particles, slice(None))
    stack[particles.index_in_stack[second]] = np.random.default_rng(9).standard_normal((12, 32, 32))
    write_stack(folder / "stack.mrcs", stack, 3.0)
    assert denoise(model, output="other.star") == 0
    after = images_of("other.star")
    assert torch.equal(after[~second], before[~second])  # to the last bit
    assert not torch.allclose(after[second], before[second], atol=1e-2)
    # With halves ignored they do meet.
    assert denoise(model, "--ignore-halves", output="mixed.star") == 0
    assert not torch.allclose(images_of("mixed.star")[~second], after[~second], atol=1e-6)


def test_drawn_halves_are_written_and_used(folder, model):
    write_set(folder, subset=False)
    assert denoise(model, "--seed", "4") == 0
    particles = read_particles("out.star")
    assert sorted(np.bincount(particles.random_subset)[1:]) == [12, 12]
    assert json.loads((folder / "out.json").read_text())["halves"] == "drawn"


def test_groups_of_a_column_do_not_meet(folder, model):
    source = write_set(folder)
    assert denoise(model, "--group-by", "rlnClassNumber") == 0
    before = images_of("out.star")
    particles = read_particles(source)
    first = np.array([name == "001" for name in particles.column("rlnClassNumber")])
    stack = np.empty((24, 32, 32), dtype=np.float32)
    stack[particles.index_in_stack] = read_images(particles, slice(None))
    stack[particles.index_in_stack[first]] += np.random.default_rng(9).standard_normal((8, 32, 32))
    write_stack(folder / "stack.mrcs", stack, 3.0)
    assert denoise(model, "--group-by", "rlnClassNumber", output="other.star") == 0
    assert torch.equal(images_of("other.star")[~first], before[~first])


@pytest.mark.parametrize("batch", ["1", "13", "10000"])
def test_the_batch_changes_no_result(folder, model, batch):
    write_set(folder, count=40)
    assert denoise(model, "--set-size", "6") == 0
    assert denoise(model, "--set-size", "6", "--batch", batch, output="batch.star") == 0
    plain = images_of("out.star")
    assert (images_of("batch.star") - plain).abs().max() < 1e-5 * plain.abs().max()


def test_kept_is_corrected_times_the_own_ctf(folder, model):
    source = write_set(folder)
    assert denoise(model, "--ctf-output", "corrected", output="corrected.star") == 0
    assert denoise(model, "--ctf-output", "kept") == 0
    particles = read_particles(source)
    ctf = compute_ctf(particles.ctf, 3.0, 32)
    kept, corrected = images_of("out.star"), images_of("corrected.star")
    assert torch.allclose(kept, apply_ctf(corrected, ctf), atol=1e-4 * float(kept.abs().max()))
    assert read_particles("out.star").ctf_state == "raw"
    assert read_particles("corrected.star").ctf_state == "corrected"
    assert read_particles("corrected.star").ctf is not None  # the defocus columns stay
    assert json.loads((folder / "corrected.json").read_text())["ctf_output"] == "corrected"


def test_raw_and_flipped_input_are_the_same_particle(folder, model):
    source = write_set(folder)
    particles = read_particles(source)
    ctf = compute_ctf(particles.ctf, 3.0, 32)
    sign = torch.where(ctf < 0, -1.0, 1.0)
    assert denoise(model) == 0
    raw = images_of("out.star")
    flipped = apply_ctf(torch.from_numpy(read_images(particles, slice(None))), sign)
    stack = torch.empty(24, 32, 32)
    stack[torch.from_numpy(particles.index_in_stack)] = flipped
    write_set(folder, images=stack.numpy(), optics_extra="rlnCtfDataArePhaseFlipped 1")
    assert read_particles("in.star").ctf_state == "flipped"
    assert denoise(model, output="flipped.star") == 0
    # The estimate multiplied by |CTF| is the one multiplied by the CTF with its phases flipped.
    expected = apply_ctf(raw, sign)
    assert torch.allclose(
        images_of("flipped.star"), expected, atol=2e-4 * float(expected.abs().max())
    )


@pytest.mark.parametrize("box", [24, 48, 80])
def test_other_boxes_come_back_in_their_own_box(folder, model, box):
    write_set(folder, box=box, ctf=False)
    assert denoise(model) == 0
    out = images_of("out.star")
    assert out.shape == (24, box, box)
    assert read_particles("out.star").pixel_size[0] == 3.0
    if box > 32:  # nothing above the working Nyquist comes back
        spectrum = torch.fft.rfft2(out).abs()
        beyond = torch.fft.fftfreq(box).abs()[:, None] > 16.5 / box
        assert (spectrum * beyond).max() < 1e-4 * spectrum.max()
        assert fourier_crop(out, 32).std() > 0


def test_the_same_command_gives_the_same_bytes(folder, model):
    write_set(folder)
    assert denoise(model) == 0
    first = (folder / "out.mrcs").read_bytes()
    assert denoise(model) == 0
    assert (folder / "out.mrcs").read_bytes() == first


def test_the_provenance_says_what_was_done(folder, model, capsys):
    write_set(folder)
    assert denoise(model, "--json", "summary.json") == 0
    facts = json.loads((folder / "out.json").read_text())
    assert facts["command"][:2] == ["polardenoise", "denoise"]
    assert facts["input"] == str(folder / "in.star")
    assert facts["model"] == "tiny"
    assert len(facts["model_sha256"]) == 64
    assert json.loads((folder / "summary.json").read_text())["particles"] == 24
    assert "estimates, not data" in capsys.readouterr().out


def test_a_summary_asked_for_where_the_provenance_goes_keeps_both(folder, model):
    write_set(folder)
    assert denoise(model, "--json", "out.json") == 0
    facts = json.loads((folder / "out.json").read_text())
    assert facts["program"] == "polardenoise"
    assert facts["seed"] == 0
    assert facts["particles"] == 24


def damage_missing(folder):
    (folder / "stack.mrcs").unlink()


def damage_truncated(folder):
    data = (folder / "stack.mrcs").read_bytes()
    (folder / "stack.mrcs").write_bytes(data[:-5000])


def damage_index(folder):
    text = (folder / "in.star").read_text()
    (folder / "in.star").write_text(text.replace("000024@", "000025@"))


def damage_index_number(folder):
    text = (folder / "in.star").read_text()
    (folder / "in.star").write_text(text.replace("000024@", f"{10**30}@"))


def damage_nan(folder):
    images = np.random.default_rng(0).standard_normal((24, 32, 32)).astype(np.float32)
    images[5, 3, 3] = np.nan
    write_stack(folder / "stack.mrcs", images, 3.0)


def damage_blank(folder):
    images = np.random.default_rng(0).standard_normal((24, 32, 32)).astype(np.float32)
    images[5] = 1.0
    write_stack(folder / "stack.mrcs", images, 3.0)


def damage_rectangular(folder):
    import mrcfile

    with mrcfile.new(folder / "stack.mrcs", overwrite=True) as file:
        file.set_data(np.ones((24, 32, 30), dtype=np.float32))


def damage_junk(folder):
    (folder / "in.star").write_bytes(os.urandom(3000))


def damage_pixel_size(folder):
    text = (folder / "in.star").read_text()
    (folder / "in.star").write_text(text.replace("rlnImagePixelSize", "rlnSomething"))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (damage_missing, "stack.mrcs"),
        (damage_truncated, "stack.mrcs"),
        (damage_index, "row"),
        (damage_index_number, "row"),
        (damage_nan, "row"),
        (damage_blank, "row"),
        (damage_rectangular, "stack.mrcs"),
        (damage_junk, "in.star"),
        (damage_pixel_size, "in.star"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(folder, model, capsys, damage, named):
    write_set(folder)
    damage(folder)
    before = sorted(os.listdir(folder))
    assert denoise(model) == 2
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--model", "no-such-model"], "no-such-model"),
        (["--group-by", "rlnNothing"], "rlnNothing"),
        (["--rows", "10"], "--rows"),
        (["--rows", "a:b"], "--rows"),
        (["--rows", "24:"], "--rows"),
        (["--report", "stack.mrcs"], "--report"),
        (["--matches", "m.npz", "--group-by", "random"], "--group-by neighbours"),
        (["--set-size", "0"], "--set-size"),
        (["--batch", "many"], "--batch"),
        (["--batch", "\u00b2"], "--batch"),
        (["--ctf-state", "flipped"], "rlnDefocusU"),
        (["-o", "in.star"], "replace the input"),
        (["-o", "stack.star"], "replace the input"),
        (["-o", "out.txt"], ".star"),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing(folder, model, capsys, extra, message):
    write_set(folder, ctf=False)
    before = sorted(os.listdir(folder))
    assert denoise(model, *extra) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(os.listdir(folder)) == before


def test_a_failure_in_the_middle_leaves_earlier_results(folder, model, monkeypatch):
    write_set(folder)
    assert denoise(model) == 0
    before = {name: (folder / name).read_bytes() for name in ("out.star", "out.mrcs", "out.json")}
    from polardenoise.engine.denoise import pipeline as module

    monkeypatch.setattr(module, "return_images", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        denoise(model)
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert not [name for name in os.listdir(folder) if "partial" in name]


def test_real_particles_go_through(folder, model, shared_data):
    """EMPIAR-10076: RELION 3.0 dialect, pixel size by magnification, voxel size 0, dark particles, 320 px."""
    star = shared_data / "particles" / "real" / "empiar_10076" / "empiar_10076_7.star"
    assert denoise(model, "--contrast", "dark", source=str(star)) == 0
    before, after = read_star(star), read_star(folder / "out.star")
    assert after.tables[0].labels[: len(before.tables[0].labels)] == before.tables[0].labels
    out, noisy = images_of("out.star"), images_of(star)
    assert out.shape == noisy.shape == (7, 320, 320)
    assert out.isfinite().all()
