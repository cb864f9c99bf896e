"""The report of a run: its pictures are the arrays they show, its page holds them all, its folder is whole."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from polardenoise.counts import word_count
from polardenoise.engine.denoise.noise.guard import FAINT
from polardenoise.engine.denoise.residual import pick_rows
from polardenoise.engine.denoise.wording import list_warnings
from polardenoise.engine.imaging.ctf import apply_ctf, compute_ctf
from polardenoise.engine.networks.checkpoint import ModelCard
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.report import matches as report_matches
from polardenoise.engine.report import page as report_page
from polardenoise.engine.report.figures import choose_grey_range, draw_picture
from polardenoise.engine.report.html import shrink
from polardenoise.engine.report.images import Residual, find_faint, measure_residual
from polardenoise.engine.report.matches import count_alone, list_classes, show_classes
from polardenoise.engine.report.page import (
    doubt_residual,
    name_model,
    tell_verdict,
    word_training,
)
from tests.denoise_files import denoise, images_of, write_set

COUNT = 24


@pytest.fixture
def folder(folder):
    write_set(folder, COUNT)
    return folder


def as_picture(image, grey_range):
    """Say what a PNG of an image should hold: rows from the top, 8 bits."""
    black, white = grey_range
    return np.round(255 * np.clip((np.asarray(image) - black) / (white - black), 0, 1))[::-1]


def read_picture(png):
    pixels = imread(io.BytesIO(png))
    assert pixels.ndim == 2
    return np.round(255 * pixels)


def read_page(folder):
    """Give the text of the page and its pictures by name; it is all there is, and fetches nothing."""
    assert [path.name for path in folder.iterdir()] == ["index.html"]
    page = (folder / "index.html").read_text()
    found = re.findall(r'data-name="([^"]*)" src="data:image/png;base64,([^"]*)"', page)
    pictures = {name: base64.b64decode(data) for name, data in found}
    text = re.sub(r"base64,[^\"]*", "", page)
    assert len(pictures) == text.count("<img ") == text.count("src=")
    assert all(png.startswith(b"\x89PNG") for png in pictures.values())
    assert "http" not in text
    assert "url(" not in text
    assert '<meta name="viewport" content="width=device-width' in text
    return text, pictures


# ---- pictures


def test_a_picture_holds_the_pixels_with_y_up():
    image = np.random.default_rng(0).standard_normal((7, 9))
    shown = read_picture(draw_picture(image, (-1.0, 1.5)))
    np.testing.assert_array_equal(shown, as_picture(image, (-1.0, 1.5)))
    corner = np.zeros((8, 8))
    corner[0, 7] = 1  # the lowest row, to the right
    assert read_picture(draw_picture(corner, (0, 1)))[7, 7] == 255


def test_an_empty_image_is_grey():
    png = draw_picture(np.zeros((8, 8)), choose_grey_range(np.zeros((8, 8))))
    assert (abs(read_picture(png) - 127.5) < 1).all()


def test_large_images_are_averaged_to_what_a_screen_shows():
    image = np.random.default_rng(0).standard_normal((401, 401))
    small = shrink(image, 400)
    assert small.shape == (200, 200)
    assert small[3, 5] == pytest.approx(image[6:8, 10:12].mean())
    assert shrink(small, 400) is small


def check_gallery(folder, noisy, denoised, residual, rows):
    _, pictures = read_page(folder)
    for row in rows:
        name, greys = f"particle_{row + 1:06d}", choose_grey_range(noisy[row].numpy())
        for kind, images, grey_range in (
            ("noisy", noisy, greys),
            ("denoised", denoised, choose_grey_range(denoised[row].numpy())),
            ("residual", residual, greys),
        ):
            shown = read_picture(pictures[f"{name}_{kind}"])
            expected = as_picture(images[row], grey_range)
            # A value between two greys may fall to either: sums are not rounded alike everywhere.
            assert abs(shown - expected).max() <= 1
            assert (shown != expected).mean() < 0.01


def test_pictures_are_the_images_of_the_run_and_their_difference(folder, model):
    assert denoise(model, "--report", "r") == 0
    page, pictures = read_page(folder / "r")
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
    assert {"scores", "residual_mean", "residual_power", "class_0001"} <= set(pictures)
    first = int(rows[0]) + 1
    assert f"neighbours_{first:06d}_denoised_1" in pictures
    assert f"particle_{first:06d}_residual" in pictures
    # Matches were made for report and classes, and nothing else is left.
    assert {path.name for path in folder.iterdir() if "_2d_" not in path.name} == {
        *("in.star", "stack.mrcs", "out.star", "out.mrcs", "out.json", "r")
    }
    assert json.loads((folder / "out.json").read_text())["report"] == "r"


def test_classes_have_the_numbers_of_the_output(folder, model):
    """Who sees a class on the page finds it by its number: select takes that of the STAR file."""
    assert denoise(model, "--report", "r") == 0
    page, _ = read_page(folder / "r")
    out = read_particles("out.star")
    number, half = (out.numbers(name) for name in ("polardenoiseClass", "rlnRandomSubset"))
    found = r"<figcaption>class (\d+): (\d+) particles?(, of half (\d); no twin)?<"
    shown = re.findall(found, page)
    # Every class of either half is pictured once, in the order of the numbers, and one of a single half says so.
    assert [int(name) for name, *_ in shown] == list(range(1, int(number.max()) + 1))
    assert set(half[np.isin(number, [int(name) for name, *_ in shown])]) == {1, 2}
    for name, count, alone, which in shown:
        halves = half[number == int(name)]
        assert int(count) == (halves == int(which or 1)).sum()
        assert bool(alone) == (len(set(halves)) == 1)
    assert page.count("its twin: ") // 3 == sum(not alone for _, _, alone, _ in shown)
    assert f", {word_count(int(number.max()), 'class')}, median score" in page


def test_what_a_model_is_and_what_it_was_trained_on_are_two_things():
    card = ModelCard(
        name="base",
        architecture="polar-transformer",
        sizes={},
        weights_sha256="0123456789abcdef" * 4,
        trained_on={"sources": ["a", "b"], "recipe": {"snr": [0.01, 0.3]}, "steps": 1300},
        description="polar-transformer (joint denoising), 64 px",
    )
    assert (
        name_model(card)
        == "base: polar-transformer (joint denoising), 64 px; weights 0123456789abcdef"
    )
    assert word_training(card.trained_on) == "2 molecules at SNR 0.01 to 0.3 in 1300 steps"
    assert name_model(replace(card, description="")).startswith("base: polar-transformer; ")
    assert word_training({}) == ""


def test_the_verdict_stands_first_and_provenance_is_folded(folder, model):
    assert denoise(model, "--report", "r") == 0
    page, _ = read_page(folder / "r")
    order = [
        page.index(words)
        for words in (
            'class="verdict',
            "<h2>Classes",
            "<h2>Particles",
            "<h2>Scores",
            "<h2>Before you use them",
            "<h2>What was taken away",
            "<summary>What was done",
        )
    ]
    assert order == sorted(order)
    before, _, after = page.partition("<summary>What was done")
    assert before.endswith("<details>")
    assert str(folder / "in.star") in after
    assert not re.search(r">black |<br>black", page)  # greys are no captions


def test_the_report_changes_no_image(folder, model):
    assert denoise(model) == 0
    before = (folder / "out.mrcs").read_bytes()
    assert denoise(model, "--report", "r", "--matches", "m.npz") == 0
    assert (folder / "out.mrcs").read_bytes() == before
    with np.load("m.npz") as matches:
        half, size = matches["class_half"], matches["class_size"]
        averages = matches["class_averages"]
    largest = np.flatnonzero(half == 1)[size[half == 1].argmax()]
    page, pictures = read_page(folder / "r")
    shown = read_picture(pictures[f"class_{largest + 1:04d}"])
    expected = as_picture(averages[largest], choose_grey_range(averages[largest]))
    np.testing.assert_array_equal(shown, expected)
    assert f"{size[largest]} particles" in page


def test_random_sets_have_no_matches_to_show(folder, model):
    assert denoise(model, "--report", "r", "--group-by", "random", "--ignore-halves") == 0
    page, pictures = read_page(folder / "r")
    assert not [name for name in pictures if re.match("scores|class|neighbours", name)]
    assert {"residual_mean", "residual_power"} <= set(pictures)
    assert "Halves shared information" in page


def test_estimates_without_ctf_get_it_back_for_the_residual(folder, model):
    options = ("--ctf-output", "corrected", "--group-by", "random")
    assert denoise(model, "--report", "r", *options) == 0
    noisy, denoised = images_of("in.star"), images_of("out.star")
    particles = read_particles("in.star")
    transfer = compute_ctf(particles.ctf, 3.0, 32)
    residual = noisy - apply_ctf(denoised, transfer)
    check_gallery(folder / "r", noisy, denoised, residual, pick_rows(COUNT, 8, 0))
    assert "reconstruct them without CTF" in read_page(folder / "r")[0]


@pytest.mark.parametrize("box", [24, 33, 48])
def test_boxes_other_than_the_networks(tmp_path, monkeypatch, model, box):
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path, 12, box=box, ctf=False)
    assert denoise(model, "--report", "r", "--rows", "2:") == 0
    _, pictures = read_page(tmp_path / "r")
    noisy, denoised = read_images(read_particles("in.star"), slice(2, None)), images_of("out.star")
    row = int(pick_rows(10, 8, 0)[0])
    shown = read_picture(pictures[f"particle_{row + 3:06d}_residual"])
    greys = choose_grey_range(noisy[row])
    assert abs(shown - as_picture(noisy[row] - denoised[row].numpy(), greys)).max() <= 1
    assert denoise(model, "--report", "r", "--output-box", "working") == 0
    _, pictures = read_page(tmp_path / "r")
    shown = next(name for name in pictures if name.endswith("_residual"))
    assert read_picture(pictures[shown]).shape == (32, 32)


def test_images_taken_for_noise_are_captioned_as_what_they_are(folder, model, tmp_path):
    """With a card by which pure noise comes out as strong as anything, all are: the raw image, faint."""
    facts = json.loads((Path(model) / "model.json").read_text())
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    (quiet / "model.json").write_text(
        json.dumps(facts | {"noise_energy": {"none": 1e9, "ctf": 1e9}})
    )
    (quiet / "weights.safetensors").write_bytes((Path(model) / "weights.safetensors").read_bytes())
    for words in ((), ("--ctf-output", "corrected"), ("--output-box", "working")):
        assert denoise(str(quiet), "--report", "r", *words) == 0
        page, _ = read_page(folder / "r")
        assert page.count(">taken for noise: raw, a hundredth as strong</figcaption>") == 8
        assert page.count("taken for noise, faint</figcaption>") == 3
        assert ">denoised</figcaption>" not in page
    assert denoise(model, "--report", "r") == 0
    page, _ = read_page(folder / "r")
    assert "taken for noise" not in page
    assert page.count(">denoised</figcaption>") == 8


def test_faint_images_are_told_from_estimates():
    noisy = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0))
    estimates = torch.stack([FAINT * noisy[0], 0.3 * FAINT * noisy[1], 0.04 * noisy[2].flip(0)])
    assert find_faint(noisy, estimates).tolist() == [True, True, False]


SOUND = {
    "particles": 500,
    "model": "base",
    "verdict": [],
    "doubts": [],
    "halves": "drawn",
    "faint": 0,
    "noise_guard": True,
    "residual": None,
    "ctf_output": "kept",
}


def test_the_first_line_says_nothing_that_the_page_takes_back():
    def first(doubts=(), **facts):
        summary = SOUND | facts
        summary["warnings"] = list_warnings(summary)
        return str(tell_verdict(summary, None, list(doubts)).body)

    assert 'class="verdict good">No check speaks against' in first()
    for one in (
        first(["much is in the residual"]),
        first(residual={"said": "what was taken away is not noise alone"}),
    ):
        assert 'class="verdict mixed">These images can be used, but mind what stands below' in one
        assert "No check" not in one
        assert 'class="caution"' in one
    assert 'class="verdict bad">VERDICT' in first(verdict=["weak"])


def test_a_large_residual_of_the_page_stands_in_its_first_lines():
    power = np.r_[9.0, 9.0, np.full(14, 3.0)]
    large = Residual(np.zeros((32, 32)), power, power, 40)
    (doubt,) = doubt_residual(large, SOUND)
    assert "the mean residual has 3 times the power of noise" in doubt
    assert doubt_residual(large, SOUND | {"residual": {"said": "the same"}}) == []
    assert doubt_residual(Residual(large.mean, 0.4 * power, power, 40), SOUND) == []


def test_classes_of_both_halves_are_listed_twins_once():
    """Two of half 1, three of half 2; the second and the third are twins."""
    half, twin = np.array([1, 1, 2, 2, 2]), np.array([0, 3, 2, 0, 0])
    every = list_classes(np.array([30, 20, 25, 40, 5]), half, twin)
    assert every.tolist() == [1, 3, 0, 4]
    assert count_alone(every, half, twin) == (
        " (1 that both halves have, 1 that only half 1 has, 2 that only half 2 has)"
    )


def test_a_class_that_only_the_second_half_has_is_pictured(monkeypatch):
    monkeypatch.setattr(report_matches, "find_grid", lambda _: None)
    classes = SimpleNamespace(
        class_averages=np.random.default_rng(0).standard_normal((2, 16, 16)).astype(np.float32),
        class_size=np.array([3, 2]),
        class_half=np.array([1, 2]),
        class_twin=np.array([0, 0]),
        class_number=np.array([1, 1, 1, 2, 2]),
        shown_number=np.array([2, 2, 2, 1, 1]),
    )
    section = show_classes(SimpleNamespace(device=torch.device("cpu")), classes)
    body = str(section.body)
    assert "class 2: 3 particles, of half 1; no twin" in body
    assert "class 1: 2 particles, of half 2; no twin" in body
    assert body.index("class 1: ") < body.index("class 2: ")  # though it is the smaller one
    assert "2 classes (0 that both halves have, 1 that" in section.sentences
    assert "no other half" not in section.sentences


def test_the_score_is_explained_by_its_four_shares_at_both_places(folder, model):
    assert denoise(model, "--report", "r") == 0
    page, _ = read_page(folder / "r")
    for share in (
        "neighbours show is in",
        "they have in common, how",
        "but noise is left",
        "near to the centre",
    ):
        assert page.count(share) == 2


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
    _, former = read_page(folder / "r")
    # What earlier versions left beside their page goes with it.
    with (folder / "r" / "index.html").open("a") as page:
        page.write('<img src="old.png">')
    (folder / "r" / "old.png").touch()
    assert denoise(model, "--report", "r", "--seed", "2", "--group-by", "random") == 0
    _, pictures = read_page(folder / "r")
    assert set(former) - set(pictures)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_resume_makes_a_report_that_is_gone(folder, model):
    assert denoise(model, "--report", "r") == 0
    page = (folder / "r" / "index.html").read_bytes()
    for path in (folder / "r").iterdir():
        path.unlink()
    assert denoise(model, "--report", "r", "--resume") == 0
    assert (folder / "r" / "index.html").read_bytes().count(b"src=") == page.count(b"src=")
    assert denoise(model, "--report", "r", "--resume") == 0


def test_a_report_that_a_complete_run_has_not_is_made_by_a_new_run_and_said(folder, model, capsys):
    assert denoise(model) == 0
    before = (folder / "out.mrcs").read_bytes()
    capsys.readouterr()
    assert denoise(model, "--report", "r", "--resume") == 0
    assert "out.star: complete, but r/index.html is not there" in capsys.readouterr().out
    assert (folder / "out.mrcs").read_bytes() == before
    read_page(folder / "r")
    assert denoise(model, "--report", "r", "--resume") == 0
    assert "denoised again" not in capsys.readouterr().out


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
