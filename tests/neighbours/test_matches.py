"""What `--matches` writes: rows, classes and twins over all clusters, the same however the run went."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from polardenoise.engine.denoise.cluster_runner import ClusterRunner
from polardenoise.engine.denoise.resume_folder import name_unfinished
from polardenoise.engine.imaging.rotational_matching import ROTATIONS
from polardenoise.engine.neighbours import clusters
from polardenoise.engine.neighbours.matches import (
    ClusterMatches,
    as_degrees,
    join_matches,
    list_matches_files,
    look_up_weights,
    name_matches_file,
    save_cluster_matches,
)
from polardenoise.engine.neighbours.search import DenoisedCluster
from polardenoise.engine.networks.neighbour_attention import NeighbourAttention
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.shared_pixels import share_nothing
from tests.denoise_files import denoise, images_of, write_set

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
OPTIONS = ("--set-size", "6", "--matches", "found.npz")
#: Of each row; all else is of each class, but for the pixel size.
OF_ROWS = {
    "neighbours": np.int64,
    "weights": np.float32,
    "in_plane_degrees": np.float32,
    "half": np.int64,
    "class_number": np.int64,
    "class_in_plane_degrees": np.float32,
    "score": np.float32,
}


@pytest.fixture
def folder(folder, monkeypatch):
    """An empty folder, in which clusters are small."""
    monkeypatch.setattr(clusters, "LARGEST_CLUSTER", 12)
    monkeypatch.setattr(clusters, "LANDMARKS", 16)
    return folder


def load(path="found.npz"):
    with np.load(path) as saved:
        return dict(saved)


def made_up_cluster(count, seed, neighbours=5):
    """Matches of a cluster without meaning, but all different."""
    generator = np.random.default_rng(seed)
    shape = (count, min(count - 1, neighbours))
    return ClusterMatches(
        neighbours=np.stack([(i + 1 + np.arange(shape[1])) % count for i in range(count)]),
        weights=generator.random(shape, dtype=np.float32),
        in_plane_degrees=generator.random(shape, dtype=np.float32),
        score=generator.random(count, dtype=np.float32),
        off_centre=generator.random((count, 2), dtype=np.float32),
    )


def test_places_in_clusters_become_rows(tmp_path):
    """Three clusters, their rows mixed: 7 and 4 images of half 1, one image of half 2."""
    halves = np.array([1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    rows = [np.array([0, 3, 4, 6, 8, 10, 11]), np.array([1, 5, 7, 9]), np.array([2])]
    parts = [made_up_cluster(7, 0), made_up_cluster(4, 1), made_up_cluster(1, 2)]
    for number, (own, part) in enumerate(zip(rows, parts, strict=True)):
        save_cluster_matches(name_matches_file(tmp_path, number), own, part)
    joined = join_matches(list_matches_files(tmp_path, 3), halves, 3.5, share_nothing(len(halves)))
    for own, part in zip(rows, parts, strict=True):
        wide = part.neighbours.shape[1]
        for place, row in enumerate(own):
            assert joined["neighbours"][row, :wide].tolist() == own[part.neighbours[place]].tolist()
            assert (joined["neighbours"][row, wide:] == -1).all()
            assert (joined["weights"][row, wide:] == 0).all()
            assert joined["weights"][row, :wide].tolist() == part.weights[place].tolist()
            assert joined["in_plane_degrees"][row, :wide].tolist() == (
                part.in_plane_degrees[place].tolist()
            )
        assert np.array_equal(joined["score"][own], part.score)
        expected = 3.5 * part.off_centre
        assert np.array_equal(joined["off_centre_angstrom"][own], expected.astype(np.float32))


def test_weights_are_looked_up_by_image():
    asked = torch.tensor([[0, 1, 3], [1, 0, 2], [2, 0, 1], [3, 1, 2]])
    attention = NeighbourAttention(torch.empty(0), torch.arange(12.0).view(4, 3), torch.empty(0))
    denoised = DenoisedCluster(torch.empty(0), asked, attention)
    others = torch.tensor([[3, 2, 1], [2, 3, 0], [0, 1, 3], [0, 1, 2]])
    expected = [[2, 0, 1], [5, 0, 4], [7, 8, 0], [0, 10, 11]]  # 0: the attention did not ask
    assert look_up_weights(denoised, others).tolist() == expected


def test_steps_become_degrees_between_minus_180_and_180():
    degrees = as_degrees(torch.arange(ROTATIONS))
    assert degrees.dtype == np.float32
    assert degrees[[0, 1, 24, 48, 72, 95]].tolist() == [0, 3.75, 90, -180, -90, -3.75]


def test_the_file_says_what_it_shall(folder, model):
    write_set(folder, count=60)
    assert denoise(model, *OPTIONS) == 0
    found = load()
    classes = len(found["class_averages"])
    assert {name: found[name].dtype for name in OF_ROWS} == OF_ROWS
    assert found["neighbours"].shape == found["weights"].shape == (60, 32)
    assert found["class_averages"].shape == (classes, 32, 32)
    assert found["class_averages"].dtype == np.float32
    for name in ("class_half", "class_size", "class_twin"):
        assert found[name].shape == (classes,)
        assert found[name].dtype == np.int64
    assert found["pixel_size"] == 3.0
    half = read_particles("in.star").random_subset
    assert np.array_equal(found["half"], half)
    for row, (theirs, weights) in enumerate(
        zip(found["neighbours"], found["weights"], strict=True)
    ):
        some = theirs[theirs >= 0]
        assert len(some) == len(set(some)) >= 9  # a cluster has 10 images at least
        assert row not in some
        assert (half[some] == half[row]).all()
        assert 0 <= weights.sum() <= 1.0001
        assert (weights[theirs < 0] == 0).all()
    assert np.array_equal(np.bincount(found["class_number"])[1:], found["class_size"])
    assert found["class_number"].min() == 1
    assert np.array_equal(found["class_half"][found["class_number"] - 1], half)
    twins = found["class_twin"]
    paired = np.flatnonzero(twins)
    assert np.array_equal(
        twins[twins[paired] - 1], paired + 1
    )  # each is the other's, and nobody else's
    assert (found["class_half"][twins[paired] - 1] != found["class_half"][paired]).all()
    assert ((found["score"] >= 0) & (found["score"] <= 1)).all()
    assert (np.abs(found["in_plane_degrees"]) <= 180).all()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_halves_of_a_few_particles(folder, model, count):
    """1, 2 and 3 images in a half; of one image there is one half only."""
    write_set(folder, count=count)
    assert denoise(model, *OPTIONS) == 0
    assert images_of("out.star").isfinite().all()
    found = load()
    assert (
        (found["neighbours"] >= 0).sum(1) == np.bincount(found["half"])[found["half"]] - 1
    ).all()
    assert np.isfinite(found["score"]).all()
    assert (found["score"][(found["neighbours"] < 0).all(1)] == 0).all()
    assert count > 1 or (found["class_twin"] == 0).all()


def test_rows_are_matched_as_if_the_file_held_no_others(folder, model):
    source = write_set(folder, count=60)
    lines = source.read_text().splitlines(keepends=True)
    rows = [number for number, line in enumerate(lines) if "@" in line]
    dropped = set(rows) - set(rows[20:50])
    kept = "".join(line for number, line in enumerate(lines) if number not in dropped)
    (folder / "part.star").write_text(kept)
    assert denoise(model, *OPTIONS, "--rows", "20:50") == 0
    some = load()
    assert denoise(model, *OPTIONS, source="part.star", output="other.star") == 0
    assert_same(load(), some)
    assert (folder / "out.mrcs").read_bytes() == (folder / "other.mrcs").read_bytes()


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].tobytes() == values.tobytes(), name


def write_launcher(folder, kill_after=1000):
    """Write a program: the command line with clusters as small as here, which may kill itself."""
    (folder / "launcher.py").write_text(
        f"""
import os, signal, sys
from polardenoise.engine.cli import main
from polardenoise.engine.denoise.cluster_runner import ClusterRunner
from polardenoise.engine.neighbours import clusters
clusters.LARGEST_CLUSTER, clusters.LANDMARKS = {clusters.LARGEST_CLUSTER}, {clusters.LANDMARKS}
run, done = ClusterRunner.run, []
def run_or_die(self, batch):
    if len(done) == {kill_after}:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(1)
    return run(self, batch)
ClusterRunner.run = run_or_die
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""
    )
    return str(folder / "launcher.py")


def test_a_run_killed_between_clusters_ends_with_the_same_bytes(folder, model, monkeypatch):
    write_set(folder, count=60)
    assert denoise(model, *OPTIONS) == 0
    expected, pixels = load(), (folder / "out.mrcs").read_bytes()
    for name in ("out.star", "out.mrcs", "out.json", "found.npz"):
        (folder / name).unlink()
    words = ["denoise", "in.star", "-o", "out.star", "--model", model, "--device", "cpu", *OPTIONS]
    killed = subprocess.run(
        [sys.executable, write_launcher(folder, 3), *words], env=ENVIRONMENT, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (folder / "found.npz").exists()
    assert len(list(name_unfinished(folder / "out.star").glob("matches.*.npz"))) == 3
    run, done = ClusterRunner.run, []

    def count_runs(self, batch):
        done.append(1)
        return run(self, batch)

    monkeypatch.setattr(ClusterRunner, "run", count_runs)
    assert denoise(model, *OPTIONS, "--resume") == 0
    assert 3 <= len(done) < 6  # of 6; the last of the first 3 may not have been written yet
    assert_same(load(), expected)
    assert (folder / "out.mrcs").read_bytes() == pixels
    # All is there: nothing is done again, but where the matches are lost.
    done.clear()
    assert denoise(model, *OPTIONS, "--resume") == 0
    assert not done
    (folder / "found.npz").unlink()
    assert denoise(model, *OPTIONS, "--resume") == 0
    assert_same(load(), expected)


def test_two_processes_give_the_matches_of_one(folder, model):
    write_set(folder, count=60)
    assert denoise(model, *OPTIONS) == 0
    expected, pixels = load(), images_of("out.star")
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    words += [write_launcher(folder), "denoise", "in.star", "-o", "two.star", "--model", model]
    words += ["--device", "cpu", *OPTIONS]
    run = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert (images_of("two.star") - pixels).abs().max() < 1e-5 * pixels.abs().max()
    found = load()
    for name, values in expected.items():
        if values.dtype.kind == "i":
            assert np.array_equal(found[name], values), name
        else:
            assert np.allclose(found[name], values, atol=1e-4 * max(1, np.abs(values).max())), name


def test_no_pixel_of_half_two_changes_a_byte_of_half_one(folder, model):
    source = write_set(folder, count=60)
    assert denoise(model, *OPTIONS) == 0
    before, pixels = load(), images_of("out.star").numpy()
    particles = read_particles(source)
    images, first = read_images(particles, slice(None)), particles.random_subset == 1
    images[~first] = 5 - 3 * np.random.default_rng(9).standard_normal(images[~first].shape)
    images[~first, 10:20, 12:18] += 1.0
    stack = np.empty_like(images)
    stack[particles.index_in_stack] = images
    write_stack(folder / "stack.mrcs", stack, 3.0)
    assert denoise(model, *OPTIONS) == 0
    after, changed = load(), images_of("out.star").numpy()
    assert changed[first].tobytes() == pixels[first].tobytes()
    assert changed[~first].tobytes() != pixels[~first].tobytes()
    for name in OF_ROWS:
        assert after[name][first].tobytes() == before[name][first].tobytes(), name
    assert after["score"][~first].tobytes() != before["score"][~first].tobytes()
    for name in ("class_averages", "class_half", "class_size"):  # twins are of the other half
        theirs, ours = (one[name][one["class_half"] == 1] for one in (after, before))
        assert theirs.tobytes() == ours.tobytes(), name


@pytest.mark.parametrize(
    ("name", "message"),
    [("found.txt", ".npz"), ("in.star", ".npz"), ("stack.mrcs", ".npz"), ("a.npz", "folder")],
)
def test_a_file_of_matches_that_cannot_be_is_one_line(folder, model, capsys, name, message):
    """Least of all does it replace the input."""
    write_set(folder)
    (folder / "a.npz").mkdir()
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert denoise(model, "--matches", name) == 2
    error = capsys.readouterr().err
    assert f"--matches {name}" in error
    assert message in error
    assert error.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_the_folder_of_the_matches_is_made(folder, model):
    write_set(folder)
    assert denoise(model, "--matches", "new/folder/found.npz") == 0
    assert len(load("new/folder/found.npz")["score"]) == 24
