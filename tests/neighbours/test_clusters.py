"""Clusters: each row once, inside one half, evenly filled, related images together."""

import numpy as np
import pytest
import torch

from polardenoise.engine.neighbours import clusters
from polardenoise.engine.neighbours.clusters import (
    cut_groups,
    divide_landmarks,
    fill_evenly,
    form_clusters,
)
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.networks.registry import build_model
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.scratch_file import ScratchImages
from polardenoise.engine.simulate.pipeline import SimulationPlan, simulate_particles
from tests.denoise_files import TINY

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture
def small_clusters(monkeypatch):
    monkeypatch.setattr(clusters, "LARGEST_CLUSTER", 48)
    monkeypatch.setattr(clusters, "LANDMARKS", 32)


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return build_model("polar-transformer", TINY).eval()


@pytest.fixture
def scratch(tmp_path):
    """250 images of noise with ctf_rings."""
    generator = torch.Generator().manual_seed(0)
    with ScratchImages(tmp_path, 250, 32) as scratch:
        scratch.append(
            torch.randn(250, 32, 32, generator=generator), torch.rand(250, 16, generator=generator)
        )
        yield scratch


def form(model, scratch, halves, seed=0):
    advanced = []
    found = form_clusters(model, scratch, halves, seed, CPU, advanced.append)
    assert sum(advanced) == len(halves)  # the progress line ends at 100 %
    return found


def test_every_row_is_in_one_cluster_of_its_half(small_clusters, tiny, scratch):
    halves = np.where(np.arange(250) % 5 < 3, 1, 2)  # 150 and 100 of them
    found = form(tiny, scratch, halves)
    assert sorted(np.concatenate([one.rows for one in found])) == list(range(250))
    assert all(one.kept == len(one.rows) for one in found)
    assert all(len(set(halves[one.rows])) == 1 for one in found)
    sizes = [len(one.rows) for one in found]
    assert sorted(sizes) == [33, 33, 34, 37, 37, 38, 38]  # 4 clusters of 150, 3 of 100, to one


def test_one_half_does_not_decide_on_the_clusters_of_the_other(
    small_clusters, tiny, scratch, tmp_path
):
    halves = np.where(np.arange(250) % 5 < 3, 1, 2)
    before = form(tiny, scratch, halves)[:4]
    images, ctf_rings = scratch.read_with_ctf_rings(np.arange(250))
    images[torch.from_numpy(halves == 2)] *= -3
    (tmp_path / "other").mkdir()
    with ScratchImages(tmp_path / "other", 250, 32) as other:
        other.append(images, ctf_rings)
        after = form(tiny, other, halves)[:4]
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(before, after, strict=True))


def test_the_seed_fixes_the_clusters(small_clusters, tiny, scratch):
    halves = np.ones(250)
    first, again, other = (form(tiny, scratch, halves, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a.rows, b.rows) for a, b in zip(first, other, strict=True))


def test_how_many_images_are_compared_at_once_changes_nothing(
    small_clusters, tiny, scratch, monkeypatch
):
    whole = form(tiny, scratch, np.ones(250))
    monkeypatch.setattr(clusters, "IMAGES_AT_ONCE", 37)
    parts = form(tiny, scratch, np.ones(250))
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(whole, parts, strict=True))


@pytest.mark.parametrize("count", [1, 2, 48])
def test_a_small_half_is_one_cluster(small_clusters, tiny, scratch, count):
    (one,) = form(tiny, scratch, np.ones(count))
    assert one.rows.tolist() == list(range(count))


@pytest.mark.parametrize("groups", [2, 3])
def test_more_clusters_than_groups(small_clusters, tiny, scratch, monkeypatch, groups):
    monkeypatch.setattr(clusters, "MOST_GROUPS", groups)
    found = form(tiny, scratch, np.ones(250))
    assert sorted(np.concatenate([one.rows for one in found])) == list(range(250))
    assert max(len(one.rows) for one in found) <= 48
    assert min(len(one.rows) for one in found) >= 40


def test_related_images_land_together(small_clusters, tmp_path):
    """Of 8 views, 36 images each, in 6 clusters: an image shares its view with 1 in 8 of a random cluster."""
    simulate_particles(
        SimulationPlan(("phantom:10001",), particles=288, views=8, snr=0.1, with_ctf=False),
        tmp_path,
    )
    particles = read_particles(tmp_path / "particles.star")
    view = np.array([int(number) for number in particles.column("rlnClassNumber")])
    model = load_model("base")[0].eval()
    with ScratchImages(tmp_path, 288, 64) as scratch:
        scratch.append(torch.from_numpy(read_images(particles, slice(None))))
        found = form(model, scratch, np.ones(288))
    same = [(view[one.rows, None] == view[one.rows]).mean() for one in found]
    assert len(found) == 6
    assert np.mean(same) > 0.4


def test_like_landmarks_are_of_one_group():
    view = np.arange(30) % 3
    generator = torch.Generator().manual_seed(0)
    affinity = torch.where(torch.from_numpy(view[:, None] == view), -1.0, -20.0)
    noise = torch.rand(30, 30, generator=generator)
    affinity += noise + noise.T
    affinity.fill_diagonal_(-torch.inf)
    group = divide_landmarks(affinity, 3).numpy()
    assert np.bincount(group).tolist() == [10, 10, 10]
    assert all(len(set(group[view == one])) == 1 for one in range(3))


def test_groups_are_filled_evenly_and_the_clearest_choice_goes_first():
    """All 10 rows like group 0 best: the five with the most to lose get it."""
    loss = np.array([1, 9, 2, 8, 3, 7, 4, 6, 5, 0.5])
    evidence = np.stack([np.zeros(10), -loss], 1)
    assert fill_evenly(evidence).tolist() == [1, 0, 1, 0, 1, 0, 1, 0, 0, 1]


@pytest.mark.parametrize(("count", "groups"), [(10, 1), (11, 3), (100, 7), (64, 64)])
def test_any_evidence_fills_evenly(count, groups):
    generator = np.random.default_rng(0)
    evidence = 50 * generator.standard_normal((count, groups)).astype(np.float16)
    evidence -= evidence.max(1, keepdims=True)
    assigned = fill_evenly(evidence)
    sizes = np.bincount(assigned, minlength=groups)
    assert sizes.sum() == count
    assert sizes.max() - sizes.min() <= 1
    if groups in (3, 7):  # far better than by chance
        rows = np.arange(count)
        assert evidence[rows, assigned].mean() > 0.5 * evidence.astype(np.float32).mean()
    # Rows that are alike to the last bit find places too.
    equal = np.bincount(fill_evenly(np.zeros((count, groups))), minlength=groups)
    assert equal.max() - equal.min() <= 1


def test_a_large_group_is_cut_at_random(small_clusters):
    rows = np.arange(1000, 1100)
    found = list(cut_groups(rows, np.zeros(100), 0))
    assert [len(one.rows) for one in found] == [34, 33, 33]
    assert sorted(np.concatenate([one.rows for one in found])) == rows.tolist()
    assert found[0].rows.max() > 1066  # not the first third
