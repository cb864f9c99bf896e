"""Matches against the truth: angles, rotations, classes and scores that are known beforehand come out as they are."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from polardenoise.engine.cli import main
from polardenoise.engine.evaluate import matches_against_truth
from polardenoise.engine.evaluate.matches_against_truth import (
    adjusted_rand_index,
    area_under_curve,
    compare_poses,
)
from polardenoise.engine.imaging.euler_angles import angles_from_matrices, matrices_from_angles
from polardenoise.engine.imaging.frc import fourier_ring_correlation
from polardenoise.engine.imaging.symmetry import symmetry_matrices
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from tests.particle_files import pose_columns, write_particle_files

BOX, COUNT = 16, 60


def draw_poses(count=COUNT, seed=0):
    return Rotation.random(count, random_state=np.random.RandomState(seed)).as_matrix()


def as_angles(matrices):
    return angles_from_matrices(torch.from_numpy(np.asarray(matrices))).numpy()


def turn(axis, degrees):
    return Rotation.from_euler(axis, degrees, degrees=True).as_matrix()


def write_truth(folder, poses, classes=None, junk=()):
    images = np.random.default_rng(1).standard_normal((len(poses), BOX, BOX)).astype(np.float32)
    images[list(junk)] = 0
    columns = pose_columns(as_angles(poses))
    if classes is not None:
        columns["rlnClassNumber"] = classes
    write_particle_files(folder / "clean.star", torch.from_numpy(images), 3.0, columns)


def write_matches(folder, neighbours, degrees=None, **arrays):
    neighbours = np.asarray(neighbours)
    count = len(neighbours)
    known = {
        "neighbours": neighbours,
        "in_plane_degrees": np.zeros(neighbours.shape) if degrees is None else degrees,
        "half": np.ones(count, dtype=np.int64),
        "class_number": np.ones(count, dtype=np.int64),
        "score": np.ones(count),
    }
    np.savez(folder / "m.npz", **known | arrays)


def judge(folder, *words):
    """Judge `m.npz` by `clean.star`, which stands for the denoised particles as well."""
    clean, matches, out = (str(folder / name) for name in ("clean.star", "m.npz", "out.json"))
    status = main(
        ["evaluate", clean, "--truth", clean, "--matches", matches, "--json", out, *words]
    )
    assert status == 0
    return json.loads((folder / "out.json").read_text())


# ---- made-up matches


def test_neighbours_at_known_angles_and_rotations(tmp_path):
    """The second half of the particles are the first half, tilted by 10 degrees and turned in the plane."""
    first, psi = draw_poses(COUNT // 2), np.random.default_rng(0).uniform(-180, 180, COUNT // 2)
    second = first @ turn("x", 10) @ turn("z", psi)
    write_truth(tmp_path, np.concatenate([first, second]))
    order = np.arange(COUNT)
    partner = ((order + COUNT // 2) % COUNT)[:, None]
    # The second is turned by psi: to be taken onto the first it has to be turned by +psi, see docs/conventions.rst.
    degrees = np.concatenate([psi, -psi])[:, None]
    write_matches(tmp_path, partner, degrees)
    found = judge(tmp_path)
    assert found["neighbour_angle_median"] == pytest.approx(10, abs=1e-3)
    assert found["neighbours_within_25_degrees"] == 1
    assert found["in_plane_error_median"] < 1e-3
    assert found["in_plane_pairs"] == COUNT
    write_matches(tmp_path, partner, degrees + 7)
    assert judge(tmp_path)["in_plane_error_median"] == pytest.approx(7, abs=1e-3)
    write_matches(tmp_path, partner, -degrees)
    assert judge(tmp_path)["in_plane_error_median"] > 45


def test_the_best_neighbours_are_the_truly_nearest_of_the_same_half(tmp_path):
    poses = draw_poses()
    write_truth(tmp_path, poses)
    half = 1 + np.arange(COUNT) % 2
    cosine = poses[:, :, 2] @ poses[:, :, 2].T
    cosine[half[:, None] != half] = -2
    np.fill_diagonal(cosine, -3)
    nearest = np.argsort(-cosine, axis=1)[:, :20]
    write_matches(tmp_path, nearest, half=half)
    found = judge(tmp_path)
    assert found["neighbour_angle_median"] == pytest.approx(found["neighbour_angle_best"])
    assert 80 < found["neighbour_angle_random"] < 100
    assert found["neighbour_angle_best"] < 75


def test_judging_says_how_far_it_is_and_looks_at_few_angles(tmp_path, capsys, monkeypatch):
    """Of all pairs of a half of 50,000 the angles took longer than the comparison, and nothing said so."""
    write_truth(tmp_path, draw_poses())
    write_matches(tmp_path, np.arange(COUNT)[:, None])
    sizes, turn_cosines = [], matches_against_truth.between_directions

    def count_angles(cosine):
        sizes.append(cosine.numel())
        return turn_cosines(cosine)

    monkeypatch.setattr(matches_against_truth, "between_directions", count_angles)
    monkeypatch.setattr(matches_against_truth, "NEAREST", 2)
    judge(tmp_path)
    said = capsys.readouterr().out
    assert f"look for junk: {COUNT}/{COUNT} images" in said
    assert f"judge neighbours: {COUNT}/{COUNT} images" in said
    assert {2 * 50, 2 * (COUNT - 50)} <= set(sizes)  # two for each of those that are asked at once


def test_symmetric_copies_are_the_same_view_and_mirror_images_are_not(tmp_path):
    first = draw_poses(COUNT // 2)
    copies = turn("z", 90) @ first  # the molecule's z, of which a C4 molecule knows nothing
    partner = ((np.arange(COUNT) + COUNT // 2) % COUNT)[:, None]
    write_matches(tmp_path, partner)
    write_truth(tmp_path, np.concatenate([first, copies]))
    assert judge(tmp_path)["neighbour_angle_median"] > 20
    symmetric = judge(tmp_path, "--symmetry", "c4")
    assert symmetric["symmetry"] == "c4"
    assert symmetric["neighbour_angle_median"] == pytest.approx(0, abs=1e-3)
    assert symmetric["in_plane_error_median"] == pytest.approx(0, abs=1e-3)
    assert symmetric["neighbour_angle_best"] < 1e-3 + judge(tmp_path)["neighbour_angle_best"]
    opposite = first @ turn("x", 180)
    write_truth(tmp_path, np.concatenate([first, opposite]))
    assert judge(tmp_path)["neighbour_angle_median"] == pytest.approx(180, abs=1e-3)
    assert judge(tmp_path)["in_plane_error_median"] is None


def test_a_rotation_about_the_view_is_found_whatever_the_group():
    first = torch.from_numpy(draw_poses(8))
    for name in ("c1", "d3", "i1"):
        group = symmetry_matrices(name)
        second = group[-1] @ first @ torch.from_numpy(turn("z", -30))
        poses = torch.cat([first, second])
        view, rotation = compare_poses(poses, np.arange(8), np.arange(8, 16), group)
        best = view.argmin(1, keepdim=True)
        assert view.gather(1, best).max() < 1e-3
        assert ((rotation.gather(1, best) + 30).abs()).max() < 1e-3


def test_junk_is_no_neighbour_and_is_not_asked_for_one(tmp_path):
    poses = draw_poses()
    junk = np.arange(0, COUNT, 3)
    write_truth(tmp_path, poses, junk=junk)
    neighbours = np.where(np.isin(np.arange(COUNT), junk), 1, junk[0])[:, None]
    score = np.linspace(1, 0.5, COUNT)
    score[junk] = 0.1
    write_matches(tmp_path, neighbours, score=score)
    found = judge(tmp_path)
    assert found["junk"] == len(junk)
    assert found["score_auc"] == 1
    assert found["neighbour_angle_median"] == 180
    assert found["neighbours_within_25_degrees"] == 0


def test_scores_of_chance_and_of_the_wrong_sign():
    junk = np.arange(1000) % 2 == 0
    assert area_under_curve(np.zeros(1000), junk) == 0.5
    assert area_under_curve(junk.astype(float), junk) == 0
    assert area_under_curve(np.ones(1000), np.zeros(1000, dtype=bool)) is None


def test_classes_agree_whatever_their_names(tmp_path):
    classes = np.arange(COUNT) // 2 % 4
    half = 1 + np.arange(COUNT) % 2
    write_truth(tmp_path, draw_poses(), classes=classes + 1)
    # Classes lie within a half: those of the other have other numbers.
    write_matches(
        tmp_path, np.full((COUNT, 1), -1), class_number=(3 - classes) + 4 * half, half=half
    )
    found = judge(tmp_path)
    assert found["class_ari"] == 1
    assert found["class_ari_of_halves"] == {"1": 1, "2": 1}
    assert found["neighbour_angle_median"] is None
    generator = np.random.default_rng(0)
    one, other = generator.integers(0, 5, (2, 5000))
    assert abs(adjusted_rand_index(one, other)) < 0.02
    # Two of three pairs' partitions: worked by hand from Hubert & Arabie's formula.
    assert adjusted_rand_index([0, 0, 1, 1], [0, 0, 1, 2]) == pytest.approx(4 / 7)


@pytest.mark.parametrize("case", ["absent", "text", "other npz", "rows", "place", "symmetry"])
def test_what_cannot_be_judged_is_said_in_one_line(tmp_path, capsys, case):
    write_truth(tmp_path, draw_poses(6))
    path, words = tmp_path / "m.npz", []
    write_matches(tmp_path, np.full((5 if case == "rows" else 6, 2), 9 if case == "place" else 1))
    if case == "absent":
        path.unlink()
    elif case == "text":
        path.write_text("no archive")
    elif case == "other npz":
        np.savez(path, weights=np.zeros(6))
    elif case == "symmetry":
        words = ["--symmetry", "c0"]
    star = str(tmp_path / "clean.star")
    capsys.readouterr()
    assert main(["evaluate", star, "--truth", star, "--matches", str(path), *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert ("--symmetry c0" if case == "symmetry" else str(path)) in error


def test_symmetry_without_matches_is_refused(tmp_path, capsys):
    write_truth(tmp_path, draw_poses(6))
    star = str(tmp_path / "clean.star")
    assert main(["evaluate", star, "--truth", star, "--symmetry", "c4"]) == 2
    assert "--matches" in capsys.readouterr().err


# ---- ring correlation


@pytest.mark.parametrize("box", [16, 31, 64])
def test_ring_correlation_is_that_of_the_fields_library(box):
    library = pytest.importorskip("torch_fourier_shell_correlation")
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(5, box, box, generator=generator, dtype=torch.float64)
    second = 3 * (first + torch.randn(5, box, box, generator=generator))
    first[2] = 0
    expected = library.fourier_ring_correlation(first, second).double()
    torch.testing.assert_close(fourier_ring_correlation(first, second), expected, atol=1e-6, rtol=0)


# ---- real runs of the shipped model


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def run_real_set(folder, name, particles, *words, junk=()):
    """Simulate, put noise in the place of some images, denoise with matches, and judge them."""
    data = folder / name
    command = ["simulate", "phantom:10001", "-o", str(data), "--particles", str(particles)]
    assert main([*command, "--snr", "0.1", "--no-ctf", "--seed", "5", *words]) == 0
    for stack, with_noise in (("particles", True), ("clean", False)):
        if len(junk):
            particles = read_particles(data / f"{stack}.star")
            images = read_images(particles, slice(None))
            noise = np.random.default_rng(6).standard_normal((len(junk), *images.shape[1:]))
            images[junk] = noise if with_noise else 0
            write_stack(data / f"{stack}.mrcs", images, float(particles.pixel_size[0]))
    star, matches, out = (str(data / end) for end in ("out.star", "m.npz", "judged.json"))
    assert main(["denoise", str(data / "particles.star"), "-o", star, "--matches", matches]) == 0
    truth = str(data / "clean.star")
    assert main(["evaluate", star, "--truth", truth, "--matches", matches, "--json", out]) == 0
    return json.loads((data / "judged.json").read_text())


@pytest.mark.timeout(300)
def test_neighbours_of_a_small_set_are_far_better_than_chance(shared_folder):
    found = run_real_set(shared_folder, "random", 300)
    assert found["neighbour_angle_best"] < found["neighbour_angle_median"]
    assert found["neighbour_angle_median"] < 0.75 * found["neighbour_angle_random"]
    # The sign of in-plane rotations: with the wrong one the median error is 90 degrees.
    assert found["in_plane_pairs"] > 300
    assert found["in_plane_error_median"] < 6
    assert found["score_auc"] is None


@pytest.mark.timeout(300)
def test_classes_of_a_few_views_are_the_views(shared_folder):
    found = run_real_set(shared_folder, "views", 200, "--views", "8")
    assert found["class_ari"] > 0.6
    assert set(found["class_ari_of_halves"]) == {"1", "2"}
    assert found["in_plane_error_median"] < 6


@pytest.mark.timeout(300)
@pytest.mark.long
def test_noise_in_the_place_of_particles_gets_low_scores(shared_folder):
    junk = np.random.default_rng(7).permutation(300)[:90]
    found = run_real_set(shared_folder, "junk", 300, junk=junk)
    assert found["junk"] == 90
    assert found["score_auc"] >= 0.95


def test_poses_are_those_of_relion():
    """`R` carries image coordinates into the molecule's: an image of +psi is turned by +psi onto psi 0."""
    angles = torch.tensor([[30.0, 40.0, 0.0], [30.0, 40.0, 25.0]], dtype=torch.float64)
    poses = matrices_from_angles(angles)
    _, rotation = compare_poses(poses, np.array([0]), np.array([1]), symmetry_matrices("c1"))
    assert rotation.item() == pytest.approx(25)
