"""What a user says settles a doubt before the columns are looked at; what no command uses is not demanded."""

import html
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from tests.denoise_files import denoise, images_of, write_set


def change_token(folder, label, token, row=4, table="data_particles"):
    """Put a token into a row (from 0) of a column of in.star; all rows where the row is None."""
    text = (folder / "in.star").read_text().replace("'a note'", "a_note")
    before, name, rest = text.partition(f"{table}\n")
    head, _, rows = rest.partition("loop_\n")
    lines = rows.splitlines(keepends=True)
    labels = [line.split()[0] for line in lines if line.startswith("_")]
    first = next(n for n, line in enumerate(lines) if not line.startswith("_"))
    place = labels[: labels.index(f"_{label}") + 1].index(f"_{label}")
    last = next((n for n in range(first, len(lines)) if not lines[n].strip()), len(lines))
    for number in range(first, last) if row is None else [first + row]:
        words = lines[number].split()
        words[place] = token
        lines[number] = " ".join(words) + "\n"
    (folder / "in.star").write_text("".join([before, name, head, "loop_\n", *lines]))


def refuse(model, capsys, *extra, **keywords):
    capsys.readouterr()
    assert denoise(model, *extra, **keywords) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("token", ["0.000", "nan", "1e30", "None", "9" * 5000])
@pytest.mark.parametrize("label", ["rlnDefocusU", "rlnVoltage", "rlnSphericalAberration"])
def test_a_set_without_ctf_needs_none_of_its_columns(folder, model, capsys, label, token):
    write_set(folder)
    table = "data_particles" if label == "rlnDefocusU" else "data_optics"
    change_token(folder, label, token, 0, table)
    if token != "0.000" or label == "rlnVoltage":
        assert label in refuse(model, capsys)
    assert denoise(model, "--ctf-state", "none") == 0
    out = read_particles("out.star")
    assert out.ctf_state == "none"
    assert token in out.table.column(label) if table == "data_particles" else True


def test_a_missing_voltage_is_not_demanded_where_there_is_no_ctf(folder, model, capsys):
    write_set(folder)
    text = (folder / "in.star").read_text().replace("rlnVoltage", "facilityVoltage")
    (folder / "in.star").write_text(text)
    assert "has a defocus but no rlnVoltage" in refuse(model, capsys)
    assert denoise(model, "--ctf-state", "none") == 0


def test_a_column_in_other_capitals_is_refused_before_any_work(folder, model, capsys):
    source = write_set(folder)
    before = sorted(folder.iterdir())
    source.write_text(source.read_text().replace("_rlnRandomSubset", "_rlnrandomsubset"))
    error = refuse(model, capsys)
    assert "in.star: column _rlnrandomsubset of table data_particles" in error
    assert "rename it to _rlnRandomSubset" in error
    assert sorted(folder.iterdir()) == before


def test_a_set_of_one_half_is_denoised_with_a_warning(folder, model, capsys):
    write_set(folder)
    change_token(folder, "rlnRandomSubset", "1", None)
    assert denoise(model) == 0
    assert "WARNING: all particles are in half 1 (rlnRandomSubset)" in capsys.readouterr().out
    assert "in half 1" in json.loads((folder / "out.json").read_text())["doubts"][0]
    assert denoise(model, "--ignore-halves") == 0
    assert "in half 1" not in capsys.readouterr().out


@pytest.mark.parametrize("token", ["3", "0", "-1", "None", "nan"])
def test_halves_that_are_to_be_ignored_need_not_be_right(folder, model, capsys, token):
    write_set(folder)
    change_token(folder, "rlnRandomSubset", token)
    assert "rlnRandomSubset" in refuse(model, capsys)
    assert denoise(model, "--ignore-halves") == 0
    assert read_particles("out.star").table.column("rlnRandomSubset")[4] == token


@pytest.mark.parametrize(
    ("label", "token"),
    [
        ("rlnAngleRot", "-nan"),
        ("rlnAnglePsi", "None"),
        ("rlnOriginXAngst", "inf"),
        ("rlnAngleTilt", "1e300"),
    ],
)
def test_poses_that_denoise_does_not_use_pass_through(folder, model, capsys, label, token):
    from polardenoise.engine.cli import main

    write_set(folder)
    assert denoise(model) == 0
    expected = images_of("out.star")
    change_token(folder, label, token)
    assert denoise(model, "--report", "report") == 0
    assert read_particles("out.star").table.column(label)[4] == token
    assert (images_of("out.star") - expected).abs().max() == 0
    capsys.readouterr()
    assert main(["reconstruct", "in.star", "-o", "map"]) == 2  # which uses them
    assert label.removesuffix("Angst") in capsys.readouterr().err


def test_a_magnification_that_gives_no_pixel_size_passes_through(folder, model):
    write_set(folder)
    text = (folder / "in.star").read_text().replace("_rlnClassNumber", "_rlnMagnification")
    (folder / "in.star").write_text(text)
    change_token(folder, "rlnMagnification", "inf")
    assert denoise(model) == 0
    assert denoise(model, "--output-box", "working", output="small.star") == 0
    for name in ("out.star", "small.star"):
        assert read_particles(name).table.column("rlnMagnification")[4] == "inf"


def test_origins_that_are_no_numbers_pass_through_to_another_box(folder, model):
    write_set(folder, box=48)
    text = (folder / "in.star").read_text()
    text = text.replace("_rlnAngleRot", "_rlnOriginXPrior").replace("_rlnAngleTilt", "_rlnOriginX")
    (folder / "in.star").write_text(text)
    change_token(folder, "rlnOriginXPrior", "None", None)
    change_token(folder, "rlnOriginX", "3.0", None)
    assert denoise(model, "--output-box", "working") == 0
    out = read_particles("out.star").table
    assert set(out.column("rlnOriginXPrior")) == {"None"}
    assert set(out.column("rlnOriginX")) == {"2.000000"}


def write_pixels(folder, change):
    """Write a set whose images, in the order of the rows, are changed."""
    source = write_set(folder)
    particles = read_particles(source)
    images = read_images(particles, slice(None))
    change(images)
    stack = np.empty_like(images)
    stack[particles.index_in_stack] = images
    write_stack(folder / "stack.mrcs", stack, 3.0)


@pytest.mark.parametrize("value", [3e38, -3e38])
def test_pixels_that_cannot_be_computed_with_are_named_by_their_row(folder, model, capsys, value):
    """One would be a hot pixel, see `test_hot_pixels`; these are too many to be replaced by what surrounds them."""

    def change(images):
        images[5, :8, :8] = value

    write_pixels(folder, change)
    error = refuse(model, capsys)
    assert "row 6: image" in error
    assert "too large or too small" in error
    assert "--device cpu" not in error


def test_all_images_of_a_fault_are_named_in_one_message(folder, model, capsys):
    def change(images):
        images[[3, 7, 9]] = 0
        images[11, 0, 0] = np.nan

    write_pixels(folder, change)
    error = refuse(model, capsys)
    assert "3 images are blank, every pixel has one value (rows 4, 8, 10)" in error
    assert "row 12: image" in error
    assert "not finite" in error


def test_many_faults_are_counted_and_the_first_named(folder, model, capsys):
    def change(images):
        images[2:] = 1

    write_pixels(folder, change)
    assert "22 images are blank" in (error := refuse(model, capsys))
    assert "(rows 3, 4, 5, 6, 7, 8, 9, 10 and 14 more)" in error


def test_images_of_any_scale_that_numbers_hold_are_denoised(folder, model):
    def change(images):
        images *= 1e-12

    # In bfloat16 the last bit of a pixel may decide about the third digit of a feature.
    exact = ("--precision", "float32")
    write_set(folder)
    assert denoise(model, *exact) == 0
    expected = images_of("out.star")
    write_pixels(folder, change)
    assert denoise(model, *exact, output="faint.star") == 0
    assert (images_of("faint.star") * 1e12 - expected).abs().max() < 1e-3 * expected.abs().max()


def put_in_half_1(folder, count):
    """Put the first rows of in.star into half 1, the others into half 2."""
    *head, rows = (folder / "in.star").read_text().rpartition("_rlnRandomSubset #14\n")
    lines = [line.rstrip()[:-1] for line in rows.splitlines()]
    halves = ["1" if row < count else "2" for row in range(len(lines))]
    lines = [f"{line}{half} " for line, half in zip(lines, halves, strict=True)]
    (folder / "in.star").write_text("".join(head) + "\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("count", "of_half_1", "options", "told", "stated"),
    [
        (60, 22, (), "its 21 to 37 nearest neighbours", [[22, 22], [32, 38]]),
        (40, 10, (), "its 9 or 29 nearest neighbours", [[10, 10], [30, 30]]),
        (40, 10, ("--set-size", "6"), "its 5 nearest neighbours", [[6, 6]]),
        (3, 1, (), "its 0 or 1 nearest neighbours", [[1, 1], [2, 2]]),
        (4, 2, (), "its nearest neighbour,", [[2, 2]]),
        (2, 1, (), "each by itself", [[1, 1]]),
    ],
)
def test_how_many_neighbours_each_image_has_is_true_of_small_halves(
    folder, model, capsys, count, of_half_1, options, told, stated
):
    write_set(folder, count=count)
    put_in_half_1(folder, of_half_1)
    assert denoise(model, *options) == 0
    assert told in capsys.readouterr().out
    assert json.loads((folder / "out.json").read_text())["images_together"] == stated


def test_sets_of_random_images_are_counted_as_they_are(folder, model):
    write_set(folder, count=40)
    put_in_half_1(folder, 10)
    assert denoise(model, "--group-by", "random", "--set-size", "20") == 0
    assert json.loads((folder / "out.json").read_text())["images_together"] == [[10, 10], [20, 20]]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--ignore-halves",), "halves shared information"),
        (("--ctf-output", "corrected"), "CTF-corrected"),
        (("--contrast", "dark"), "protein is bright in half 1"),
        (("--group-by", "random"), "does not state what it makes of pure noise"),
        (("--group-by", "random", "--contrast", "bright"), "what was taken away is not noise"),
    ],
)
def test_every_warning_of_the_summary_is_in_the_provenance_once(
    folder, model, capsys, options, sentence
):
    write_set(folder, count=120)
    assert denoise(model, *options, "--report", "report") == 0
    check_warnings(folder, capsys, sentence)
    assert denoise(model, *options, "--report", "report", "--resume") == 0  # told once more
    check_warnings(folder, capsys, sentence)


def test_faint_images_are_among_the_warnings(folder, model, capsys):
    write_set(folder, ctf=False)
    card = json.loads((Path(model) / "model.json").read_text())
    (folder / "quiet").mkdir()
    noise = {"noise_energy": {"none": 1e9, "ctf": 1e9}}
    (folder / "quiet" / "model.json").write_text(json.dumps(card | noise))
    shutil.copy(Path(model) / "weights.safetensors", folder / "quiet")
    assert denoise(str(folder / "quiet"), "--report", "report") == 0
    check_warnings(folder, capsys, "24 of 24 particles show no more than pure noise would")


def check_warnings(folder, capsys, sentence):
    """Summary and provenance warn of the same, in the same words, and the report says each of them once."""
    lines = capsys.readouterr().out.splitlines()
    told = [line.removeprefix("WARNING: ") for line in lines if line.startswith("WARNING: ")]
    stated = json.loads((folder / "out.json").read_text())
    assert sorted(told) == sorted(stated["warnings"])  # some as soon as they are known
    assert not [line for line in lines if line.startswith("warning: ")]
    assert len(set(told)) == len(told)
    assert sum(sentence in line for line in told) == 1
    assert set(stated["doubts"]) <= set(told)
    first = (folder / "report" / "index.html").read_text().partition("Before you use them")[0]
    assert first.count('class="caution"') >= len(told)
    assert [first.count(html.escape(one[1:])) for one in told] == [1] * len(told)
