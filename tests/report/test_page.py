"""The report of a run: its pictures are the arrays they show, its page names every file, its folder is whole."""

import json
import re

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from polardenoise.engine.imaging.ctf import apply_ctf, compute_ctf
from polardenoise.engine.particles.particle_set import read_images, read_particles
from polardenoise.engine.report import page as report_page
from polardenoise.engine.report.figures import choose_grey_range, write_picture
from polardenoise.engine.report.images import measure_residual, pick_rows
from tests.denoise_files import denoise, images_of, save_tiny_model, write_set

COUNT = 24


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path, COUNT)
    return tmp_path


def as_picture(image, grey_range):
    """Say what a PNG of an image should hold: rows from the top, 8 bits."""
    black, white = grey_range
    return np.round(255 * np.clip((np.asarray(image) - black) / (white - black), 0, 1))[::-1]


def read_picture(path):
    pixels = imread(path)
    assert pixels.ndim == 2
    return np.round(255 * pixels)


def read_page(folder):
    """Give the page, after checking that it names every file beside it, shows no other, and fetches nothing."""
    page = (folder / "index.html").read_text()
    pictures = {path.name for path in folder.iterdir()} - {"index.html"}
    assert set(re.findall(r'src="([^"]*)"', page)) == pictures
    assert all(name.endswith(".png") for name in pictures)
    assert "http" not in page
    return page


# ---- pictures


def test_a_picture_holds_the_pixels_with_y_up(tmp_path):
    image = np.random.default_rng(0).standard_normal((7, 9))
    write_picture(tmp_path / "a.png", image, (-1.0, 1.5))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), as_picture(image, (-1.0, 1.5)))
    corner = np.zeros((8, 8))
    corner[0, 7] = 1  # the lowest row, to the right
    write_picture(tmp_path / "b.png", corner, (0, 1))
    assert read_picture(tmp_path / "b.png")[7, 7] == 255


def test_an_empty_image_is_grey(tmp_path):
    write_picture(tmp_path / "a.png", np.zeros((8, 8)), choose_grey_range(np.zeros((8, 8))))
    assert (abs(read_picture(tmp_path / "a.png") - 127.5) < 1).all()


def check_gallery(folder, noisy, denoised, residual, rows):
    for row in rows:
        name, greys = folder / f"particle_{row + 1:06d}", choose_grey_range(noisy[row].numpy())
        for kind, images, grey_range in (
            ("noisy", noisy, greys),
            ("denoised", denoised, choose_grey_range(denoised[row].numpy())),
            ("residual", residual, greys),
        ):
            shown = read_picture(f"{name}_{kind}.png")
            expected = as_picture(images[row], grey_range)
            # A value between two greys may fall to either: sums are not rounded alike everywhere.
            assert abs(shown - expected).max() <= 1
            assert (shown != expected).mean() < 0.01


def test_pictures_are_the_images_of_the_run_and_their_difference(folder, model):
    assert denoise(model, "--report", "r") == 0
    page = read_page(folder / "r")
    noisy, denoised = images_of("in.star"), images_of("out.star")
    rows = pick_rows(COUNT, 8, 0)
    assert len(set(rows)) == 8
    check_gallery(folder / "r", noisy, denoised, noisy - denoised, rows)
    black, white = choose_grey_range(noisy[rows[0]].numpy())
    assert f"black {black:.3g}, white {white:.3g}" in page
    for words in (
        "estimate, not data",
        "reconstruct from the raw particles",
        "consistency, not resolution",
        "Nothing finer than",
        "raw in, kept out",
        "rlnRandomSubset: 12 and 12 particles",
        "tiny",
    ):
        assert words in page
    names = {path.name for path in (folder / "r").iterdir()}
    assert {"scores.png", "residual_mean.png", "residual_power.png", "class_0001.png"} <= names
    first = int(rows[0]) + 1
    assert f"neighbours_{first:06d}_denoised_1.png" in names
    assert f"particle_{first:06d}_residual.png" in names
    # Matches were made for the report alone, and nothing else is left.
    assert {path.name for path in folder.iterdir()} == {
        *("in.star", "stack.mrcs", "out.star", "out.mrcs", "out.json", "r")
    }
    assert json.loads((folder / "out.json").read_text())["report"] == "r"


def test_the_report_changes_no_image(folder, model):
    assert denoise(model) == 0
    before = (folder / "out.mrcs").read_bytes()
    assert denoise(model, "--report", "r", "--matches", "m.npz") == 0
    assert (folder / "out.mrcs").read_bytes() == before
    with np.load("m.npz") as matches:
        half, size = matches["class_half"], matches["class_size"]
        averages = matches["class_averages"]
    largest = np.flatnonzero(half == 1)[size[half == 1].argmax()]
    shown = read_picture(folder / "r" / f"class_{largest + 1:04d}.png")
    expected = as_picture(averages[largest], choose_grey_range(averages[largest]))
    np.testing.assert_array_equal(shown, expected)
    assert f"{size[largest]} particles" in read_page(folder / "r")


def test_random_sets_have_no_matches_to_show(folder, model):
    assert denoise(model, "--report", "r", "--group-by", "random", "--ignore-halves") == 0
    page = read_page(folder / "r")
    names = {path.name for path in (folder / "r").iterdir()}
    assert not [name for name in names if re.match("scores|class|neighbours", name)]
    assert {"residual_mean.png", "residual_power.png"} <= names
    assert "Halves shared information" in page


def test_estimates_without_ctf_get_it_back_for_the_residual(folder, model):
    options = ("--ctf-output", "corrected", "--group-by", "random")
    assert denoise(model, "--report", "r", *options) == 0
    noisy, denoised = images_of("in.star"), images_of("out.star")
    particles = read_particles("in.star")
    transfer = compute_ctf(particles.ctf, 3.0, 32)
    residual = noisy - apply_ctf(denoised, transfer)
    check_gallery(folder / "r", noisy, denoised, residual, pick_rows(COUNT, 8, 0))
    assert "reconstruct them without CTF" in read_page(folder / "r")


@pytest.mark.parametrize("box", [24, 33, 48])
def test_boxes_other_than_the_networks(tmp_path, monkeypatch, model, box):
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path, 12, box=box, ctf=False)
    assert denoise(model, "--report", "r", "--rows", "2:") == 0
    read_page(tmp_path / "r")
    noisy, denoised = read_images(read_particles("in.star"), slice(2, None)), images_of("out.star")
    row = int(pick_rows(10, 8, 0)[0])
    shown = read_picture(tmp_path / "r" / f"particle_{row + 3:06d}_residual.png")
    greys = choose_grey_range(noisy[row])
    assert abs(shown - as_picture(noisy[row] - denoised[row].numpy(), greys)).max() <= 1
    assert denoise(model, "--report", "r", "--output-box", "working") == 0
    assert read_picture(next((tmp_path / "r").glob("particle*residual.png"))).shape == (32, 32)


# ---- the residual


def test_noise_leaves_noise_and_lost_signal_stands_out():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(400, 64, 64, generator=generator)
    nothing = torch.zeros(400, 64, 64)
    found = measure_residual(noise, nothing)
    assert found.of_each[2:].mean() == pytest.approx(1, abs=0.03)
    assert found.of_mean[2:].mean() == pytest.approx(1, abs=0.15)
    y, x = np.mgrid[:64, :64] - 32
    blob = torch.from_numpy(0.5 * np.exp(-(x**2 + y**2) / 50)).float()
    lost = measure_residual(noise + blob, nothing)
    assert lost.of_mean[2] > 10
    assert lost.of_mean[16:].mean() == pytest.approx(1, abs=0.2)
    assert lost.mean[32, 32] == pytest.approx(0.5, abs=0.2)
    kept = measure_residual(noise + blob, nothing + blob)
    np.testing.assert_allclose(kept.of_mean[2:], found.of_mean[2:], rtol=0.1)


# ---- the folder


def test_a_report_is_replaced_by_a_new_one_as_a_whole(folder, model):
    assert denoise(model, "--report", "r", "--seed", "1") == 0
    former = {path.name for path in (folder / "r").iterdir()}
    assert denoise(model, "--report", "r", "--seed", "2", "--group-by", "random") == 0
    names = {path.name for path in (folder / "r").iterdir()}
    read_page(folder / "r")
    assert former - names
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_resume_makes_a_report_that_is_gone(folder, model):
    assert denoise(model, "--report", "r") == 0
    page = (folder / "r" / "index.html").read_bytes()
    for path in (folder / "r").iterdir():
        path.unlink()
    assert denoise(model, "--report", "r", "--resume") == 0
    assert (folder / "r" / "index.html").read_bytes().count(b"src=") == page.count(b"src=")
    assert denoise(model, "--report", "r", "--resume") == 0


def test_a_run_that_ends_before_its_report_is_complete_goes_on(folder, model, monkeypatch):
    def fail(path, *_):
        (path / "half.png").parent.mkdir(exist_ok=True)
        (path / "half.png").write_text("")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(report_page, "write_report", fail)
        assert denoise(model, "--report", "r") == 130
    assert not (folder / "r").exists()
    assert not (folder / "out.star").exists()
    assert denoise(model, "--report", "r", "--resume") == 0
    read_page(folder / "r")


@pytest.mark.parametrize(
    ("report", "made", "message"),
    [
        ("in.star", None, "is a file"),
        ("notes", "notes/diary.txt", "other things than a report"),
        ("site", "site/index.html", "other things than a report"),
        (".", None, "other things than a report"),
        ("new", None, "lies in it"),
        ("in.star/r", None, "in.star"),
    ],
)
def test_a_folder_that_is_not_ours_is_refused_in_one_line(
    folder, model, capsys, report, made, message
):
    if made:
        (folder / made).parent.mkdir()
        (folder / made).write_text("mine")
    output = "new/out.star" if report == "new" else "out.star"
    assert denoise(model, "--report", report, output=output) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not (folder / output).exists()
    if made:
        assert (folder / made).read_text() == "mine"


def test_a_report_to_which_something_was_added_is_kept(folder, model, capsys):
    assert denoise(model, "--report", "r", "--group-by", "random") == 0
    (folder / "r" / "notes.txt").write_text("mine")
    assert denoise(model, "--report", "r", "--group-by", "random") == 2
    assert "other things than a report" in capsys.readouterr().err
    assert (folder / "r" / "notes.txt").read_text() == "mine"
