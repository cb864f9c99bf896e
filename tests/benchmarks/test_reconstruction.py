"""The studies of maps and orientations at toy size: what they claim; halves and truth stay where they belong."""

import csv
import math

import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.euler_angles import draw_orientations, matrices_from_angles
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.particles.mrc import read_volume, write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.simulate.sources import read_density
from tests.particle_files import lumps, pose_columns, write_particle_files
from tests.reference_projections import project_volume

BOX, COUNT = 32, 120
PHANTOM = "phantom:10001"


@pytest.fixture(scope="module")
def studies():
    """Import the scripts as they import one another: by name, from their folder."""
    from benchmarks.common import study_sets
    from benchmarks.studies import orientations as orientation_study
    from benchmarks.studies import reconstruction as reconstruction_study
    from benchmarks.studies import relion_orientations

    return {
        "maps": reconstruction_study,
        "orientations": orientation_study,
        "relion": relion_orientations,
        "sets": study_sets,
    }


def read_table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def maps(studies, tmp_path_factory):
    """Run the study of maps, small."""
    folder = tmp_path_factory.mktemp("maps")
    words = ["-o", str(folder), PHANTOM, "--particles", str(COUNT), "--snr", "0.2"]
    methods = ["DnCNN=base-dncnn", "gone=/nowhere"]
    studies["maps"].main([*words, "--box", str(BOX), "--methods", *methods])
    return folder


def test_raw_map_at_true_poses_is_the_molecule(maps):
    raw = read_table(maps / "maps_at_true_poses.csv")[0]
    assert raw["images"] == "raw"
    assert float(raw["mean masked FSC to truth, low"]) > 0.9
    curve = [row for row in read_table(maps / "curves_at_true_poses.csv") if row["images"] == "raw"]
    to_truth = np.array([float(row["to truth, masked"]) for row in curve])
    assert len(curve) == BOX // 2 + 1
    assert to_truth[1:4].min() > 0.97
    # A half sees less than the whole: its agreement with the other half lies below that with the truth.
    halves = np.array([float(row["between halves"]) for row in curve])
    assert halves[2:9].mean() < np.array([float(row["to truth"]) for row in curve])[2:9].mean()


def test_half_maps_of_denoised_images_are_called_consistency_everywhere(maps, studies):
    for name, column in (
        ("maps_at_true_poses", "which means"),
        ("curves_at_true_poses", "halves mean"),
    ):
        for row in read_table(maps / f"{name}.csv"):
            expected = "resolution" if row["images"] == "raw" else "consistency, not resolution"
            assert row[column] == expected
    known = studies["maps"].read_curves(maps / "curves_at_true_poses.csv", BOX)
    figure = studies["maps"].draw_curves("molecule", known)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "DnCNN: between halves (consistency, not resolution)" in legend
    assert "raw: between halves (resolution)" in legend
    styles = {line.get_label(): line.get_linestyle() for line in figure.axes[0].lines}
    assert styles["DnCNN: map to truth, masked"] == "-"
    assert styles["DnCNN: between halves (consistency, not resolution)"] == "--"


def test_a_model_that_is_not_there_is_left_out_and_what_is_known_is_not_measured_again(
    maps, studies, monkeypatch
):
    before = (maps / "maps_at_true_poses.csv").read_text()
    assert "gone" not in before
    monkeypatch.setattr(studies["maps"], "measure_set", lambda *_: pytest.fail("measured again"))
    words = ["-o", str(maps), PHANTOM, "--particles", str(COUNT), "--snr", "0.2"]
    studies["maps"].main([*words, "--box", str(BOX), "--methods", "DnCNN=base-dncnn"])
    assert (maps / "maps_at_true_poses.csv").read_text() == before


def test_nothing_of_one_half_reaches_the_other_half_map(studies, tmp_path):
    sets = studies["sets"]
    sets.run("simulate", PHANTOM, "-o", str(tmp_path), "--particles", "40", "--box", str(BOX))
    noisy, truth = tmp_path / "particles.star", tmp_path / "volume.mrc"

    def map_halves(folder):
        stars = sets.denoise_set(noisy, {"polar transformer": "base"})
        sets.measure_map(stars["polar transformer"], truth, folder)
        return [read_volume(folder / name)[0] for name in ("half1.mrc", "half2.mrc")]

    before = map_halves(tmp_path / "before")
    particles = read_particles(noisy)
    images = read_images(particles, slice(None)).copy()
    second = particles.random_subset == 2
    images[second] = np.random.default_rng(0).standard_normal(images[second].shape)
    write_stack(tmp_path / "particles.mrcs", images, float(particles.pixel_size[0]))
    after = map_halves(tmp_path / "after")
    np.testing.assert_array_equal(after[0], before[0])
    assert np.abs(after[1] - before[1]).max() > 0.1 * np.abs(before[1]).max()


def test_mask_holds_the_molecule_and_leaves_the_corners(studies):
    truth = read_density(PHANTOM, BOX, None, 150.0).volume
    mask = studies["sets"].mask_molecule(truth)
    assert (mask[truth > 0.05 * truth.max()] == 1).all()
    assert mask[0, 0, 0] == 0
    assert 0.02 < mask.mean() < 0.5
    assert ((mask > 0) & (mask < 1)).any()


def test_projection_matching_finds_the_poses_of_clean_images(studies, tmp_path):
    from benchmarks.studies.pose_errors import measure_errors
    from benchmarks.studies.projection_matching import find_orientations

    volume, generator = lumps(BOX, width=2.0), np.random.default_rng(2)
    known = draw_orientations(40, generator)
    images = 3 * project_volume(volume, known)
    write_particle_files(tmp_path / "clean.star", images, 4.0, pose_columns(known))
    particles = read_particles(tmp_path / "clean.star")
    found = find_orientations(particles, np.arange(40), volume)
    errors = measure_errors(found, known)
    # Views 6.4 degrees apart, rotations 3.75: a nearest view is within 5 degrees.
    assert errors.median() < 4.5
    assert errors.max() < 8


def test_the_study_of_orientations_tells_true_poses_from_found_ones(studies, tmp_path):
    words = ["-o", str(tmp_path), PHANTOM, "--particles", "60", "--snr", "0.3", "--box", str(BOX)]
    methods = ["--methods", "DnCNN=base-dncnn"]
    studies["orientations"].main([*words, "--references", "20", *methods])
    true, raw, denoised = read_table(tmp_path / "orientations.csv")
    assert true["orientations found on"] == "(true ones)"
    assert float(true["median error (degrees)"]) == 0
    assert (raw["orientations found on"], denoised["orientations found on"]) == ("raw", "DnCNN")
    assert 0 < float(raw["median error (degrees)"]) < 15
    resolution = "raw map to truth, FSC 0.5 (A)"
    assert float(true[resolution]) <= float(raw[resolution])


def test_one_motion_of_the_whole_map_is_no_error(studies):
    from benchmarks.studies.pose_errors import (
        measure_errors,
        remove_global_rotation,
        remove_global_shift,
    )
    from polardenoise.engine.imaging.euler_angles import angles_from_matrices

    generator = np.random.default_rng(4)
    known = draw_orientations(200, generator)
    turn = matrices_from_angles(torch.tensor([20.0, 35.0, -70.0]).double())
    found = angles_from_matrices(turn @ matrices_from_angles(known))
    found[:60] = draw_orientations(60, generator)  # found wrong: they may not pull
    assert measure_errors(found, known).median() > 20
    turned, rotation = remove_global_rotation(found, known)
    torch.testing.assert_close(rotation, turn.mT, atol=1e-3, rtol=0)
    assert measure_errors(turned, known)[60:].max() < 0.1

    # A map moved by t: its projections move by the first two components of R^T t, and so do the origins.
    volume, moved_by = lumps(BOX), (2, -3, 1)  # z, y, x
    t = torch.tensor([1.0, -3.0, 2.0]).double()  # x, y, z
    straight = project_volume(volume, known[:5])
    moved = project_volume(volume.roll(moved_by, (0, 1, 2)), known[:5])
    shift = (matrices_from_angles(known[:5]).mT @ t)[:, :2]
    again = shift_images(straight, shift.float())
    assert float((moved - again).square().sum() / straight.square().sum()) < 0.02
    origins = torch.from_numpy(generator.uniform(-2, 2, (200, 2)))
    every = (matrices_from_angles(known).mT @ t)[:, :2]
    spoilt = origins + every
    spoilt[:60] = torch.from_numpy(generator.uniform(-9, 9, (60, 2)))
    back = remove_global_shift(spoilt, origins, known)
    torch.testing.assert_close(back[60:], origins[60:], atol=0.15, rtol=0)


def test_random_poses_are_132_degrees_apart(studies):
    from benchmarks.studies.pose_errors import measure_errors

    one, other = (draw_orientations(4000, np.random.default_rng(seed)) for seed in (1, 2))
    # The angle between random rotations is below a with the probability (a - sin a) / pi: 1/2 at 2.31 radians.
    half = 2.3098814600
    assert (half - math.sin(half)) / math.pi == pytest.approx(0.5, abs=1e-6)
    assert float(measure_errors(one, other).median()) == pytest.approx(math.degrees(half), abs=3)


def test_relion_is_not_told_the_truth_and_finds_it(relion, studies, tmp_path):
    words = ["-o", str(tmp_path), PHANTOM, "--particles", "40", "--snr", "1", "--box", str(BOX)]
    found = {}
    call = studies["relion"].call

    def look(program, *rest):
        if program == "relion_refine":
            particles = read_particles(rest[rest.index("--i") + 1])
            assert not particles.angles.any()
            assert not particles.origins.any()
            found.setdefault("halves", []).append(set(particles.random_subset.tolist()))
        call(program, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies["relion"], "call", look)
        studies["relion"].main([*words, "--rounds", "1", "--methods", "none=/nowhere"])
    assert found["halves"] == [{1}, {2}]
    true, raw = read_table(tmp_path / "relion_orientations.csv")
    assert float(true["median error (degrees)"]) == 0
    # One round on 15 degrees and 40 A; poses drawn at random would be 132 degrees off.
    assert float(raw["median error (degrees)"]) < 30
