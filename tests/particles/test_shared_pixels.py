"""Rows of one image are one, and images that share pixels may not meet."""

import os
import time

import numpy as np
import pytest

from polardenoise.engine.neighbours.grouping import draw_halves, form_sets
from polardenoise.engine.particles.half_sets import (
    count_overlaps,
    doubt_halves,
    find_inseparable,
)
from polardenoise.engine.particles.micrograph_places import MicrographPlaces
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.shared_pixels import find_shared_pixels, join, share_nothing
from tests.particle_files import draw_ctf, pose_columns, write_tables

BOX = 16


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_stack("a.mrcs", np.random.default_rng(0).standard_normal((8, BOX, BOX)), 3.0)
    return tmp_path


def read(names, columns=None, optics=None, **options):
    write_tables("in.star", {"rlnImageName": names, **(columns or {})}, 3.0, BOX, optics)
    return find_shared_pixels(read_particles("in.star"), **options)


def lay(*places, micrograph=None, sizes=3.0):
    """Coordinates of the rows, on one micrograph where none are given."""
    names = ["m.mrc"] * len(places) if micrograph is None else micrograph
    x, y = np.array(places, float).T
    columns = {"rlnMicrographName": names, "rlnCoordinateX": x, "rlnCoordinateY": y}
    optics = {} if sizes is None else {"rlnMicrographPixelSize": sizes}
    return [f"{k + 1}@a.mrcs" for k in range(len(places))], columns, optics


def pairs_of(shared):
    mask = shared.mask(np.arange(len(shared)))
    return set() if mask is None else {(i, j) for i, j in np.argwhere(mask).tolist() if i < j}


def test_rows_that_name_one_image_are_one_whatever_their_poses(folder):
    names = ["3@a.mrcs", "1@a.mrcs", "3@a.mrcs", "2@./a.mrcs", "1@a.mrcs", "3@a.mrcs"]
    poses = pose_columns(np.random.default_rng(0).uniform(0, 90, (6, 3)))
    shared = read(names, poses)
    assert shared.image_of_row.tolist() == [0, 1, 0, 2, 1, 0]
    assert shared.first_row.tolist() == [0, 1, 3]
    assert shared.copies.tolist() == [3, 2, 1]
    assert shared.shown_by(np.arange(6)).tolist() == [0, 1, 0, 3, 1, 0]
    assert pairs_of(shared) == set()
    assert not shared.crowded.any()


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_is_the_file_that_it_leads_to(folder, link):
    link("a.mrcs", "b.mrcs")
    assert read(["1@a.mrcs", "1@b.mrcs", "2@b.mrcs"]).image_of_row.tolist() == [0, 0, 1]


@pytest.mark.parametrize("what", ["ctf", "optics", "half", "group"])
def test_rows_that_differ_in_what_is_used_are_denoised_and_never_meet(folder, what):
    names = ["1@a.mrcs", "2@a.mrcs", "1@a.mrcs", "1@a.mrcs"]
    columns, options = draw_ctf(4), {}
    columns = {label: values[[0, 1, 0, 0]] for label, values in columns.items()}
    if what == "ctf":
        columns["rlnDefocusAngle"][3] += 1
    if what == "half":
        options["halves"] = np.array([1, 1, 1, 2])
    if what == "group":
        options["groups"] = np.array(["a", "a", "a", "b"])
    write_tables("in.star", {"rlnImageName": names, **columns}, 3.0, BOX)
    if what == "optics":
        text = (folder / "in.star").read_text()
        head, tail = text.split("data_particles")
        line = next(
            one
            for one in head.splitlines()
            if one.endswith("300 2.7 0.1") or one.startswith("300 2.7 0.1")
        )
        place = head.split("loop_")[1].split().index("_rlnOpticsGroup") // 2
        words = line.split()
        words[place] = "2"
        head = head.replace(line, f"{line}\n{' '.join(words)}")
        rows = tail.rstrip().splitlines()
        rows[-1] = rows[-1].rsplit(" ", 1)[0] + " 2"
        (folder / "in.star").write_text(head + "data_particles" + "\n".join(rows) + "\n")
    shared = find_shared_pixels(read_particles("in.star"), **options)
    assert shared.image_of_row.tolist() == [0, 1, 0, 2]
    assert pairs_of(shared) == {(0, 2)}
    assert shared.source.tolist() == [0, 1, 0]
    assert shared.fold[0] == shared.fold[2] != shared.fold[1]
    assert shared.count_once(np.ones(4, int)).tolist() == [True, True, False, False]
    if what == "ctf":
        without = find_shared_pixels(read_particles("in.star"), with_ctf=False)
        assert len(without) == 2


def test_boxes_overlap_where_both_distances_are_less_than_a_box(folder):
    names, columns, optics = lay((100, 100), (115, 115), (116, 100), (100, 131), (300, 300))
    shared = read(names, columns, optics)
    # 115, 115: both 15. 116, 100: x 16 from the first, 1 from the second. 131: y 31, 16 and 31.
    assert pairs_of(shared) == {(0, 1), (1, 2)}
    assert shared.crowded.tolist() == [True, True, True, False, False]
    names, columns, optics = lay((100, 100), (115, 115), micrograph=["m", "n"])
    assert pairs_of(read(names, columns, optics)) == set()


@pytest.mark.parametrize("label", ["rlnMicrographPixelSize", "rlnMicrographOriginalPixelSize"])
@pytest.mark.parametrize(("size", "reach"), [(1.5, 32), (3.0, 16), (6.0, 8)])
def test_coordinates_are_pixels_of_the_micrograph(folder, label, size, reach):
    names, columns, _ = lay((100, 100), (100 + reach - 1, 100), (100, 100 + reach))
    shared = read(names, columns, {label: size})
    assert (0, 1) in pairs_of(shared)
    assert (0, 2) not in pairs_of(shared)
    assert shared.doubt == ""


def test_what_could_not_be_checked_is_said(folder):
    names, columns, _ = lay((100, 100), (110, 100), (50, 50))
    unknown = read(names, columns)
    assert pairs_of(unknown) == {(0, 1)}  # at least these
    assert "pixels of the images" in unknown.doubt
    assert "overlaps were not checked" in unknown.doubt
    # the microscope's magnification gives another pixel than the images': they were binned
    binned = read(names, columns, {"rlnDetectorPixelSize": 5.0, "rlnMagnification": 50000})
    assert pairs_of(binned) == set()
    assert binned.doubt.startswith("overlaps were not checked")
    assert "no rlnMicrographName" in read(names).doubt
    same = lay((5, 5), (5, 5), (5, 5))
    assert "all coordinates are the same" in read(*same).doubt
    zeros = lay((0, 0), (0, 0), (40, 40), (41, 40))
    shared = read(*zeros)
    assert pairs_of(shared) == {(2, 3)}
    assert "2 particles have no coordinates" in shared.doubt
    names, columns, optics = lay((100, 100), (110, 100), (50, 50))
    columns["rlnCoordinateX"] = ["nan", "110", "None"]
    assert pairs_of(read(names, columns, optics)) == set()


@pytest.mark.parametrize("size", ["inf", "1e30", "1e-320", "-1", "nan", "0"])
def test_a_pixel_size_that_no_micrograph_has_switches_no_check_off(folder, size):
    names, columns, _ = lay((100, 100), (110, 100), (300, 300))
    shared = read(names, columns, {"rlnMicrographPixelSize": size})
    assert pairs_of(shared) == {(0, 1)}
    assert "rlnMicrographPixelSize" in shared.doubt


@pytest.mark.parametrize("far", ["1e308", "-1e308", "inf", "1e7"])
def test_coordinates_off_every_micrograph_are_said_and_touch_no_other(folder, recwarn, far):
    names, columns, optics = lay((100, 100), (110, 100), (112, 100), (300, 300))
    columns["rlnCoordinateX"] = ["100", "110", far, "300"]
    shared = read(names, columns, optics)
    assert pairs_of(shared) == {(0, 1)}
    assert "1 particle has no coordinates of a micrograph" in shared.doubt
    assert not recwarn.list


def scatter(count, micrographs=12, side=200, seed=0):
    """Images on crowded micrographs, some of them of one source, some of no known place."""
    generator = np.random.default_rng(seed)
    micrograph = generator.integers(-1, micrographs, count)
    source = np.where(
        generator.random(count) < 0.1, generator.integers(0, count, count), np.arange(count)
    )
    source = np.unique(source, return_inverse=True)[1]
    first = np.unique(source, return_index=True)[1]
    places = MicrographPlaces(
        micrograph, generator.uniform(0, side, (count, 2)), np.full(count, 8.0), ""
    )
    order = np.argsort(first)
    number = np.empty(len(first), int)
    number[order] = np.arange(len(first))
    return join(np.arange(count), number[source], places)


def test_pairs_are_those_of_a_count_of_all():
    shared = scatter(400)
    expected = np.zeros((400, 400), bool)
    for i in range(400):
        for j in range(400):
            near = (np.abs(shared.centre[i] - shared.centre[j]) < 16).all()
            there = shared.micrograph[i] == shared.micrograph[j] >= 0
            expected[i, j] = i != j and ((near and there) or shared.source[i] == shared.source[j])
    assert np.array_equal(shared.mask(np.arange(400)), expected)
    assert np.array_equal(shared.crowded, expected.any(1))
    some, others = np.arange(0, 400, 3), np.arange(100, 300)
    assert np.array_equal(shared.mask(some, others), expected[some][:, others])
    for i, j in np.argwhere(expected):
        assert shared.fold[i] == shared.fold[j]
    assert len(np.unique(shared.fold)) > 12  # and not one for all
    part = shared.select(others)
    assert np.array_equal(part.mask(np.arange(200)), expected[100:300, 100:300])


@pytest.mark.parametrize("sets", [1, 10, 25])
def test_images_are_dealt_into_sets_in_which_none_share_pixels(sets):
    shared = scatter(300)
    order = np.random.default_rng(1).permutation(300)
    dealt = shared.deal_apart(order, sets)
    assert sorted(np.concatenate(dealt).tolist()) == list(range(300))
    for places in dealt:
        assert shared.mask(order[places]) is None
    if sets == 25:  # room enough
        assert {len(places) for places in dealt} == {12}


def test_sets_are_filled_up_with_what_may_come():
    shared = scatter(300)
    chosen = [0]
    added = shared.fill_up(chosen, range(300), 20)
    assert len(added) == 19
    assert len({*chosen, *added}) == 20
    assert shared.mask(np.array([*chosen, *added])) is None


def test_random_and_column_sets_hold_no_two_that_share_pixels():
    shared = scatter(500)
    halves = np.arange(500) % 2 + 1
    groups = np.arange(500) % 3
    for grouping in (np.zeros(500, int), groups, shared.micrograph):
        sets = form_sets(halves, grouping, 16, 3, shared)
        kept = np.concatenate([one.rows[: one.kept] for one in sets])
        assert sorted(kept.tolist()) == list(range(500))
        for one in sets:
            assert len(set(one.rows.tolist())) == len(one.rows) <= 16
            assert len(set(halves[one.rows])) == len(set(grouping[one.rows])) == 1
            assert shared.mask(one.rows) is None


def test_rows_of_one_image_are_in_one_place_of_one_set():
    image = np.repeat(np.arange(60), 3)
    shared = join(
        image,
        image,
        share_nothing(180)
        and MicrographPlaces(np.full(180, -1), np.zeros((180, 2)), np.zeros(180), ""),
    )
    halves = image % 2 + 1
    sets = form_sets(halves, np.zeros(180, int), 8, 5, shared)
    once = form_sets(halves[::3], np.zeros(60, int), 8, 5)
    for one, other in zip(sets, once, strict=True):
        assert np.array_equal(one.rows, 3 * other.rows)  # as if each were named once
        assert one.kept == other.kept


def test_drawn_halves_divide_neither_images_nor_filaments(folder):
    names = [f"{number}@a.mrcs" for number in (1, 2, 1, 3, 4, 5, 3, 6)]
    write_tables("in.star", {"rlnImageName": names}, 3.0, BOX)
    image, units = find_inseparable(read_particles("in.star"))
    assert image.tolist() == [0, 1, 0, 2, 3, 4, 2, 5]
    assert units.tolist() == [0, 1, 2, 3, 4, 5]
    halves = draw_halves(units, 0)[image]
    assert halves[0] == halves[2]
    assert halves[3] == halves[6]
    assert sorted(np.bincount(draw_halves(units, 0))[1:].tolist()) == [3, 3]
    # two tubes of the same number on two micrographs, and an image that is in two tubes
    columns = {
        "rlnMicrographName": ["m", "m", "m", "n", "n", "n", "m", "n"],
        "rlnHelicalTubeID": [1, 1, 1, 1, 1, 2, 2, 2],
    }
    write_tables("in.star", {"rlnImageName": names, **columns}, 3.0, BOX)
    image, units = find_inseparable(read_particles("in.star"))
    # image 3 is in tube 1 of n and in tube 2 of m, so that these are one
    assert units[image].tolist() == [0, 0, 0, 1, 1, 2, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_halves_of_unequal_units_are_as_equal_as_they_can_be(seed):
    sizes = np.random.default_rng(seed).integers(1, 30, 40)
    units = np.repeat(np.arange(40), sizes)
    halves = draw_halves(units, seed)
    for unit in range(40):
        assert len(set(halves[units == unit])) == 1
    assert abs((halves == 1).sum() - (halves == 2).sum()) <= 1 + sizes.sum() % 2
    assert not np.array_equal(halves, draw_halves(units, seed + 100))
    assert set(draw_halves(np.zeros(5, int), seed)) <= {1, 2}


def test_given_halves_that_share_an_image_or_a_filament_are_doubted(folder):
    names = ["1@a.mrcs", "2@a.mrcs", "3@a.mrcs", "2@a.mrcs"]
    halves = np.array([1, 1, 2, 2])
    write_tables("in.star", {"rlnImageName": names, "rlnRandomSubset": halves}, 3.0, BOX)
    (doubt,) = doubt_halves(read_particles("in.star"), halves)
    assert "1 image stands in both halves" in doubt
    assert "row 2" in doubt
    columns = {"rlnHelicalTubeID": [1, 2, 2, 1], "rlnMicrographName": ["m"] * 4}
    names[3] = "4@a.mrcs"
    write_tables("in.star", {"rlnImageName": names, **columns}, 3.0, BOX)
    (doubt,) = doubt_halves(read_particles("in.star"), halves)
    assert "2 filaments stand in both halves" in doubt
    assert doubt_halves(read_particles("in.star"), np.array([1, 2, 2, 1])) == []


def test_overlaps_are_counted_inside_and_across_halves(folder):
    names, columns, optics = lay((100, 100), (110, 100), (300, 300), (310, 300), (500, 500))
    shared = read(names, columns, optics)
    assert count_overlaps(shared, np.array([1, 1, 1, 2, 2])) == (4, 2)
    assert count_overlaps(share_nothing(5), np.ones(5, int)) == (0, 0)


@pytest.mark.long
def test_a_million_rows_take_seconds():
    """The work grows as the set, also where all of it lies on one micrograph, or at one place of it."""
    count = 1_000_000
    generator = np.random.default_rng(0)
    crowd = {
        "many": (np.arange(count) // 300, generator.uniform(0, 4000, (count, 2))),
        "one": (np.zeros(count, int), generator.uniform(0, 4000, (count, 2))),
        "spot": (np.zeros(count, int), np.full((count, 2), 7.0)),
    }
    for name, (micrograph, centre) in crowd.items():
        places = MicrographPlaces(micrograph, centre, np.full(count, 64.0), "")
        began = time.process_time()
        shared = join(np.arange(count), np.arange(count), places)
        assert shared.crowded.mean() > 0.5, name
        cell = generator.choice(count, 1024, replace=False)
        shared.mask(cell)
        assert time.process_time() - began < 30, name
