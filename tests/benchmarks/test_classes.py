"""The benchmark of 2D classes: views that are one, junk that is what it says, averages put back, and a run in small."""

import csv
import time

import numpy as np
import pytest
import torch

from benchmarks.classes import aspire, junk, junk_sets, relion, runs
from benchmarks.classes.averages import PlacedImages, measure_error, measure_viewing_angle
from benchmarks.classes.sets import (
    BOX,
    KnownImages,
    add_noise,
    draw_images,
    find_amplitude,
    project_images,
    read_ctf,
    read_molecule,
    see_images,
    write_set,
)
from benchmarks.classes.views import choose_views, find_symmetry, look_along, measure_apart
from benchmarks.studies import classes
from polardenoise.engine.evaluate.against_truth import compare_images
from polardenoise.engine.imaging.euler_angles import draw_orientations, matrices_from_angles
from polardenoise.engine.imaging.symmetry import symmetry_matrices
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.runtime.errors import InputError

SOURCE = "phantom:10001"


@pytest.fixture(scope="module")
def molecule():
    return read_molecule(SOURCE)


@pytest.fixture
def generator():
    return np.random.default_rng(2)


def draw_lumps_about_an_axis(order):
    """A map of this symmetry about z, and of no other: blobs at different heights and radii."""
    axis = torch.arange(BOX, dtype=torch.float32) - BOX // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    volume = torch.zeros(BOX, BOX, BOX)
    lumps = ((14.0, 0.0, 0.0, 2.0), (9.0, 10.0, 40.0, 1.0), (16.0, -7.0, 80.0, 1.0))
    for radius, height, start, strength in lumps:
        for copy in range(order):
            angle = np.deg2rad(start + 360 * copy / order)
            at = radius * np.cos(angle), radius * np.sin(angle), height
            volume += (
                strength
                * (-((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2) / (2 * 4.0**2)).exp()
            )
    return volume


@pytest.mark.parametrize("order", [1, 3])
def test_turns_that_bring_a_map_onto_itself_are_found(order):
    found = find_symmetry(draw_lumps_about_an_axis(order))
    assert len(found) == order
    for turn in symmetry_matrices(f"c{order}"):
        trace = torch.einsum("nij,ij->n", found, turn)
        assert torch.rad2deg(((trace.max() - 1) / 2).clamp(-1, 1).arccos()) < 5


def test_views_lie_apart_with_their_copies_and_mirror_images(generator):
    symmetry = symmetry_matrices("c2")
    views = choose_views(12, 25.0, symmetry, generator)
    assert len(views) == 12
    apart = measure_apart(views, views, symmetry)
    assert apart.diagonal().max() < 1e-3
    assert apart[~torch.eye(12, dtype=torch.bool)].min() >= 25
    about_z = views * torch.tensor([-1.0, -1.0, 1.0])
    for copies in (-views, about_z, -about_z):
        assert measure_apart(views, copies, symmetry).diagonal().max() < 1e-3
    assert len(choose_views(12, 60.0, symmetry, generator)) < 12  # so many do not fit
    angles = torch.from_numpy(look_along(views, generator))
    torch.testing.assert_close(matrices_from_angles(angles)[:, :, 2], views)


def test_averages_of_known_views_are_put_back_exactly(molecule, generator):
    """RELION's psi and origins of a simulated set say how its views lie: no error is left but the turning's."""
    view = np.arange(20) % 4
    directions = choose_views(4, 25.0, torch.eye(3, dtype=torch.float64)[None], generator)
    angles = look_along(directions[view], generator)
    table = draw_images(angles, molecule.pixel_size, generator)
    clean = project_images(molecule, table)
    at_rest = draw_images(np.pad(angles[:4, :2], ((0, 0), (0, 1))), molecule.pixel_size, generator)
    at_rest.origins[:] = 0
    views = project_images(molecule, at_rest)
    placed = PlacedImages(view + 1, table.angles[:, 2], table.origins)
    assert measure_error(3 * views, placed, clean, molecule.pixel_size) < 1e-3
    swapped = PlacedImages((view + 1) % 4 + 1, placed.psi, placed.origins)
    assert measure_error(views, swapped, clean, molecule.pixel_size) > 0.05
    unmoved = PlacedImages(view + 1, placed.psi, -placed.origins)
    assert measure_error(views, unmoved, clean, molecule.pixel_size) > 0.01


def test_viewing_angles_know_symmetry_and_not_mirrors():
    angles = np.array([[0.0, 90, 0], [0, 90, 50], [180, 90, 0], [20, 90, 0]])
    none, half_turn = symmetry_matrices("c1"), symmetry_matrices("c2")
    one = np.ones(2, dtype=int)
    assert measure_viewing_angle(one, angles[:2], none) < 1e-3
    assert measure_viewing_angle(np.ones(3, dtype=int), angles[[0, 2, 2]], half_turn) < 1e-3
    assert measure_viewing_angle(np.array([1, 1, 2]), angles[[0, 1, 2]], none) < 1e-3
    spread = measure_viewing_angle(np.ones(3, dtype=int), angles[[3, 0, 3]], none)
    assert spread < 1e-3  # the median of two that agree and one 20 degrees off
    assert 15 < measure_viewing_angle(np.ones(3, dtype=int), angles[[0, 3, 2]], none) < 25


def test_a_set_has_its_snr_and_is_read_as_it_was_made(molecule, generator, tmp_path):
    table = draw_images(draw_orientations(60, generator).numpy(), molecule.pixel_size, generator)
    seen = see_images(project_images(molecule, table), table, molecule.pixel_size)
    seen = find_amplitude(seen, 0.2) * seen
    assert float(seen.square().mean()) == pytest.approx(0.2, rel=1e-3)
    star = write_set(tmp_path, add_noise(seen, generator), table, molecule.pixel_size)
    particles = read_particles(star)
    assert np.abs(particles.angles - table.angles).max() < 1e-5
    assert sorted(np.bincount(particles.random_subset)[1:]) == [30, 30]


@pytest.fixture(scope="module")
def site(molecule):
    generator = np.random.default_rng(3)
    table = draw_images(draw_orientations(40, generator).numpy(), molecule.pixel_size, generator)
    return junk.Site(molecule, 1.0, 500.0, read_ctf(table), generator)


def test_junk_is_what_its_name_says(site, molecule):
    drawn = {name: draw(site) for name, draw in junk.KINDS.items()}
    for name, images in drawn.items():
        assert images.shape == (40, BOX, BOX), name
        assert images.isfinite().all(), name
    energies = {name: images.square().sum((1, 2)) for name, images in drawn.items()}
    assert energies["empty boxes"].max() == 0
    for name in ("ice-like blobs", "edge of carbon"):
        assert energies[name].min() > 0.9 * 500
        assert energies[name].max() < 1.1 * 4 * 500
    whole = junk.project_at(site, torch.zeros(40, 2, dtype=torch.float64)).square().sum((1, 2))
    assert 0.15 < float(energies["broken"].mean() / whole.mean()) < 0.75
    assert float(energies["pairs and clumps"].mean() / whole.mean()) > 1.5
    away = measure_distance(drawn["off the centre"])
    assert away.median() > 0.2 * BOX > 4 * measure_distance(drawn["broken"]).median()


def measure_distance(images):
    """Distance of the centre of the energy from that of the box, pixels."""
    axis = torch.arange(BOX, dtype=torch.float32) - BOX // 2
    power = images.square()
    whole = power.sum((1, 2))
    return torch.hypot((power.sum(1) @ axis) / whole, (power.sum(2) @ axis) / whole)


def test_the_rare_view_stands_alone_and_shares_are_as_stated(generator):
    kind = junk_sets.draw_kinds(1000, True, generator)
    assert np.sum(junk_sets.find_junk(kind)) == 300
    assert np.sum(kind == junk_sets.RARE_VIEW) == 20
    assert np.sum(kind == junk_sets.OTHER) == 70
    counts = [np.sum(kind == name) for name in (*junk.KINDS, junk_sets.REAL)]
    assert max(counts) - min(counts) <= 1
    symmetry = symmetry_matrices("c1")
    angles = junk_sets.draw_poses(kind, symmetry, generator)
    directions = matrices_from_angles(torch.from_numpy(angles))[:, :, 2]
    rare = torch.from_numpy(kind == junk_sets.RARE_VIEW)
    apart = measure_apart(directions, directions[rare], symmetry)
    assert apart[rare].max() < 25
    assert apart[~rare].min() > 15


def test_images_are_in_classes_of_their_own_where_most_are_theirs():
    number = np.array([1, 1, 1, 2, 2, 2, 2, 3])
    own = np.array([1, 1, 0, 1, 1, 0, 0, 0], dtype=bool)
    assert junk_sets.share_in_own_classes(number, own) == 0.5  # half of class 2 is not most


def read_rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_everything_in_small(tmp_path, monkeypatch):
    boxes = np.random.default_rng(0).standard_normal((8, BOX, BOX)).astype(np.float32)
    write_stack(tmp_path / "boxes.mrcs", boxes, 3.0)

    def copy_ours(star, classes, iterations, diameter, folder):
        folder.mkdir()
        for name, ours in zip(
            relion.name_results(folder, iterations), ("data.star", "classes.mrcs"), strict=True
        ):
            name.write_bytes(star.with_name(f"out_2d_{ours}").read_bytes())
        assert 0 < diameter < BOX * 20
        time.sleep(0.4)

    monkeypatch.setattr(relion, "is_installed", lambda: True)
    monkeypatch.setattr(relion, "classify", copy_ours)
    monkeypatch.setattr(classes, "SNRS", (0.5,))
    monkeypatch.setattr(runs, "SNR", 0.5)
    words = f"--molecules {SOURCE} --particles 60 --class-count 4 --views 3 --relion-iterations 5"
    words += f" --empty-boxes {tmp_path / 'boxes.mrcs'}"
    classes.main([*words.split(), "-o", str(tmp_path / "tables")])
    ours, theirs = read_rows(tmp_path / "tables" / "classes_averages.csv")
    assert (ours["method"], theirs["method"]) == ("ours", "RELION Class2D, 5 iterations")
    assert 0 < float(ours["relative MSE"]) < 1
    assert theirs["relative MSE"] == ours["relative MSE"]
    assert float(theirs["seconds"]) >= 5 * 0.4 > 5 * float(theirs["processor seconds"])
    assert float(ours["processor seconds"]) > 0.1
    (views,) = read_rows(tmp_path / "tables" / "classes_views.csv")
    assert views["views"] == "3"
    assert float(views["half 1"]) > 0.3  # three views at SNR 0.5
    kinds = read_rows(tmp_path / "tables" / "classes_junk.csv")
    assert [row["kind"] for row in kinds] == [*junk.KINDS, junk_sets.REAL]
    (kept,) = read_rows(tmp_path / "tables" / "classes_kept.csv")
    assert float(kept["particles kept"]) > 0.5
    for name in ("classes_averages", "classes_views", "classes_junk", "classes_kept"):
        assert str(tmp_path) not in (tmp_path / "tables" / f"{name}.rst").read_text()


def test_aspire_gets_flipped_phases_and_the_filter_of_the_truth(
    molecule, generator, tmp_path, monkeypatch
):
    table = draw_images(draw_orientations(40, generator).numpy(), molecule.pixel_size, generator)
    clean = project_images(molecule, table)
    seen = see_images(clean, table, molecule.pixel_size)
    star = write_set(tmp_path, seen, table, molecule.pixel_size)

    def give_back(words, python, folder):
        assert (python, folder) == ("aspire/bin/python", tmp_path.absolute())
        assert words[3:] == ["--neighbours", "40"]
        given = read_particles(words[1], pixel_size=1.0)
        np.save(words[2], read_images(given, slice(None)))
        return {}

    monkeypatch.setattr(aspire, "run_python", give_back)
    averages = aspire.average_neighbours(star, "aspire/bin/python")
    flipped = np.fft.rfft2(averages.numpy()) * np.fft.rfft2(clean.numpy()).conj()
    assert (flipped.real.sum(0) > -1e-3 * np.abs(flipped).sum(0)).all()
    filtered = aspire.filter_with_truth(averages, KnownImages(molecule, table, clean))
    errors = [compare_images(one, clean).relative_mse_scaled() for one in (averages, filtered)]
    assert errors[1] < 0.8 * errors[0]


def test_what_is_asked_wrongly_is_one_line(tmp_path, capsys):
    with pytest.raises(InputError, match="pictures: no part; give some of averages, views, junk"):
        classes.main(["pictures", "-o", str(tmp_path)])
    assert junk_sets.read_real_boxes(tmp_path / "boxes.mrcs") is None
    assert "left out: empty boxes, real" in capsys.readouterr().out
