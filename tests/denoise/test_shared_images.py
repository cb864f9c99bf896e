"""Rows of one image are denoised once, rows that share pixels never together: seen from the command line."""

import json
import re

import mrcfile
import numpy as np
import pytest
import torch

from polardenoise.engine.denoise.preparation import load_sets
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.shared_pixels import find_shared_pixels
from tests.denoise_files import denoise, images_of
from tests.particle_files import draw_ctf, pose_columns, write_particle_files, write_tables

BOX, COUNT = 32, 40


def draw_images(count=COUNT, seed=0):
    """Noise with a bright middle: contrast is clear."""
    images = np.random.default_rng(seed).standard_normal((count, BOX, BOX)).astype(np.float32)
    images[:, 10:22, 10:22] += 0.7
    return torch.from_numpy(images)


def write_copies(path, stack, copies, subset=True):
    """Rows that name each image of a stack so many times, each time with another pose."""
    image = np.repeat(np.arange(COUNT), copies)
    columns = {"rlnImageName": [f"{one + 1}@{stack}" for one in image]}
    columns |= pose_columns(np.random.default_rng(copies).uniform(0, 90, (len(image), 3)))
    columns |= {label: values[image] for label, values in draw_ctf(COUNT).items()}
    if subset:
        columns["rlnRandomSubset"] = image % 2 + 1
    write_tables(path, columns, 3.0, BOX)
    return image


@pytest.mark.parametrize("group", ["neighbours", "random"])
@pytest.mark.parametrize("subset", [True, False])
def test_naming_images_many_times_changes_nothing(folder, model, group, subset):
    """Not a byte: halves, contrast, sets and pixels are those of the images."""
    write_particle_files("once.star", draw_images(), 3.0)
    write_copies("once.star", "once.mrcs", 1, subset)
    image = write_copies("often.star", "once.mrcs", 7, subset)
    options = ("--group-by", group, "--set-size", "8", "--precision", "float32")
    matches = ("--matches", "m.npz") if group == "neighbours" else ()
    assert denoise(model, *options, *matches, source="once.star", output="a.star") == 0
    once = dict(np.load("m.npz")) if matches else {}
    assert denoise(model, *options, *matches, source="often.star", output="b.star") == 0
    one, many = images_of("a.star"), images_of("b.star")
    assert torch.equal(many, one[image])
    halves = [read_particles(name).random_subset for name in ("a.star", "b.star")]
    assert np.array_equal(halves[1], halves[0][image])
    facts = [json.loads((folder / name).read_text()) for name in ("a.json", "b.json")]
    assert facts[0]["contrast_of_halves"] == facts[1]["contrast_of_halves"]
    assert [one["particles"] for one in facts] == [COUNT, 7 * COUNT]
    assert [one["images"] for one in facts] == [COUNT, COUNT]
    with mrcfile.open("b.mrcs") as file:
        assert file.header.rms == pytest.approx(file.data.std(), rel=1e-4)
    if matches:
        often = np.load("m.npz")
        for name in ("score", "class_number", "class_in_plane_degrees", "weights", "half"):
            assert np.array_equal(often[name], once[name][image]), name
        assert np.array_equal(often["class_size"], once["class_size"])  # of images
        expected = np.where(once["neighbours"] >= 0, 7 * once["neighbours"], -1)
        assert np.array_equal(often["neighbours"], expected[image])


def test_copies_are_there_after_a_resumed_run(folder, model, monkeypatch):
    from polardenoise.engine.denoise.batches import BatchRunner

    write_particle_files("once.star", draw_images(), 3.0)
    write_copies("often.star", "once.mrcs", 3)
    options = ("--group-by", "random", "--set-size", "8", "--batch", "8")
    assert denoise(model, *options, source="often.star") == 0
    expected = (folder / "out.mrcs").read_bytes()
    run, done = BatchRunner.run, []

    def run_twice(self, batch):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return run(self, batch)

    monkeypatch.setattr(BatchRunner, "run", run_twice)
    assert denoise(model, *options, source="often.star") == 130
    monkeypatch.setattr(BatchRunner, "run", run)
    assert denoise(model, *options, "--resume", source="often.star") == 0
    assert (folder / "out.mrcs").read_bytes() == expected


def test_a_part_of_the_rows_stands_for_itself(folder, model):
    """The first row of an image may lie outside the part; halves are those of the whole file."""
    write_particle_files("once.star", draw_images(), 3.0)
    image = write_copies("often.star", "once.mrcs", 3, subset=False)
    assert denoise(model, source="often.star", output="all.star") == 0
    assert denoise(model, "--rows", "4:50", source="often.star", output="part.star") == 0
    part = images_of("part.star")
    for one in set(image[4:50].tolist()):
        own = np.flatnonzero(image[4:50] == one)
        assert (part[own] == part[own[0]]).all()
    whole = read_particles("all.star").random_subset
    assert np.array_equal(read_particles("part.star").random_subset, whole[4:50])


@pytest.fixture
def crowded(folder):
    """Two micrographs of noise, 36 boxes cut from each half a box apart, of either half."""
    generator = np.random.default_rng(3)
    images, names, places = [], [], []
    for micrograph in ("a.mrc", "b.mrc"):
        noise = generator.standard_normal((7 * BOX // 2, 7 * BOX // 2)).astype(np.float32)
        for y in range(0, 6 * BOX // 2, BOX // 2):
            for x in range(0, 6 * BOX // 2, BOX // 2):
                images.append(noise[y : y + BOX, x : x + BOX])
                names.append(micrograph)
                places.append((x + BOX // 2, y + BOX // 2))
    x, y = np.array(places, dtype=float).T
    columns = {"rlnMicrographName": names, "rlnCoordinateX": x, "rlnCoordinateY": y}
    columns["rlnRandomSubset"] = generator.permutation(np.arange(len(names)) % 2 + 1)
    columns["rlnClassNumber"] = np.arange(len(names)) % 2
    write_particle_files(
        "in.star", torch.from_numpy(np.stack(images)), 3.0, columns, {"rlnMicrographPixelSize": 3.0}
    )
    return find_shared_pixels(read_particles("in.star"))


def test_matches_name_no_overlapping_neighbours(crowded, folder, model, capsys):
    assert crowded.crowded.all()
    assert denoise(model, "--matches", "m.npz", "--report", "report", "--set-size", "8") == 0
    neighbours = np.load("m.npz")["neighbours"]
    assert (neighbours >= 0).sum(1).min() >= 4
    for row, others in enumerate(neighbours):
        assert crowded.mask(np.array([row, *others[others >= 0]])) is None
    facts = json.loads((folder / "out.json").read_text())
    assert (facts["overlapping"], facts["overlaps_unchecked"]) == (72, "")
    assert facts["overlapping_across_halves"] > 60
    out = capsys.readouterr().out
    assert "72 images share pixels with others: these never met" in out
    assert (
        "72 images share pixels with others: these never met"
        in (folder / "report" / "index.html").read_text()
    )


@pytest.mark.parametrize("group", ["random", "rlnClassNumber", "rlnMicrographName"])
def test_sets_hold_no_overlapping_images(crowded, folder, model, monkeypatch, group):
    from polardenoise.engine.denoise import open_batches

    seen = []

    def note_sets(*arguments):
        seen.append(load_sets(*arguments))
        return seen[-1]

    monkeypatch.setattr(open_batches, "load_sets", note_sets)
    assert denoise(model, "--group-by", group, "--set-size", "8") == 0
    sets = seen[0]
    assert sorted(row for one in sets for row in one.rows[: one.kept]) == list(range(72))
    for one in sets:
        assert crowded.mask(one.rows) is None


def test_one_micrograph_that_is_all_overlap_is_warned_about(folder, model, capsys):
    columns = {
        "rlnMicrographName": ["m"] * 20,
        "rlnCoordinateX": np.arange(20) + 50.0,
        "rlnCoordinateY": np.arange(20) % 5 + 50.0,
    }
    optics = {"rlnMicrographPixelSize": 3.0}
    write_particle_files("in.star", draw_images(20), 3.0, columns, optics)
    assert denoise(model) == 0
    out = capsys.readouterr().out
    assert "WARNING: images of half 1 share pixels so widely that only 1 or so go together" in out
    assert re.search(r"out.star: 20 particles denoised by \S+, each by itself\n", out)
    assert images_of("out.star").isfinite().all()


def test_segments_of_one_filament_are_counted_once_and_the_same_everywhere(folder, model, capsys):
    """Five that overlap their neighbours on the filament: three of them lie apart, in some orders two."""
    columns = {
        "rlnMicrographName": ["m"] * 5,
        "rlnCoordinateX": BOX * 0.6 * np.arange(5) + 50.0,
        "rlnCoordinateY": [50.0] * 5,
        "rlnHelicalTubeID": [1] * 5,
    }
    optics = {"rlnMicrographPixelSize": 3.0}
    write_particle_files("in.star", draw_images(5), 3.0, columns, optics)
    assert denoise(model, "--matches", "m.npz", "--report", "report") == 0
    out = capsys.readouterr().out
    together = int(re.search(r"only (\d) or so go together \(of 5\)", out)[1])
    assert together in (2, 3)
    nearest = f"{together - 1} nearest neighbours" if together > 2 else "nearest neighbour"
    assert f"each with its {nearest}, found in" in out
    assert (np.load("m.npz")["neighbours"] >= 0).sum(1).max() in (1, 2)
    assert json.loads((folder / "out.json").read_text())["images_together"] == [[together] * 2]


def test_one_image_in_both_given_halves_is_warned_about(folder, model, capsys):
    write_particle_files("once.star", draw_images(), 3.0)
    names = [f"{k // 2 + 1}@once.mrcs" for k in range(2 * COUNT)]
    halves = np.arange(2 * COUNT) % 2 + 1
    write_tables("in.star", {"rlnImageName": names, "rlnRandomSubset": halves}, 3.0, BOX)
    assert denoise(model, "--report", "report") == 0
    out = capsys.readouterr().out
    assert f"WARNING: {COUNT} images stand in both halves" in out
    assert f"{COUNT} images stand in both halves" in (folder / "report" / "index.html").read_text()
    facts = json.loads((folder / "out.json").read_text())
    assert any("both halves" in warning for warning in facts["warnings"])
    assert facts["contrast_of_halves"]["1"]["clear"]
    assert facts["contrast_of_halves"]["2"]["clear"]  # counted in each
    assert denoise(model, "--ignore-halves") == 0
    assert "both halves" not in capsys.readouterr().out


def test_halves_are_drawn_by_filament(folder, model):
    columns = {
        "rlnMicrographName": ["m"] * 24 + ["n"] * 16,
        "rlnHelicalTubeID": [1] * 10 + [2] * 14 + [1] * 9 + [2] * 7,
    }
    write_particle_files("in.star", draw_images(), 3.0, columns)
    assert denoise(model) == 0
    halves = read_particles("out.star").random_subset
    for tube in (slice(0, 10), slice(10, 24), slice(24, 33), slice(33, 40)):
        assert len(set(halves[tube])) == 1
    assert sorted(np.bincount(halves)[1:].tolist()) == [19, 21]  # 14 + 7, 10 + 9
