"""Images that share pixels are not each other's neighbours, templates, class seeds or landmarks."""

import numpy as np
import pytest
import torch

from polardenoise.engine.classes.refinement import match_with_classes, observe_classes
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import (
    compute_image_harmonics,
    measure_affinity,
)
from polardenoise.engine.neighbours import clusters
from polardenoise.engine.neighbours.companions import choose_neighbours
from polardenoise.engine.neighbours.encoded_cluster import encode_cluster
from polardenoise.engine.neighbours.matches import match_denoised_cluster
from polardenoise.engine.neighbours.search import denoise_encoded_cluster
from polardenoise.engine.networks import polar_transformer
from polardenoise.engine.networks.registry import build_model
from polardenoise.engine.particles.micrograph_places import MicrographPlaces
from polardenoise.engine.particles.scratch_file import ScratchImages
from polardenoise.engine.particles.shared_pixels import join
from tests.denoise_files import TINY

COUNT, BOX = 60, 32


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module", params=[1, 3])
def model(request):
    """Networks of one pass and of three: neighbours are attended by the logits, and by evidence."""
    torch.manual_seed(0)
    return build_model("polar-transformer", {**TINY, "passes": request.param}).eval()


def crowd(count, micrographs, side=150, seed=0):
    """Images on micrographs of this side, boxes of 32 px."""
    generator = np.random.default_rng(seed)
    every = np.arange(count)
    centre = generator.uniform(0, side, (count, 2))
    places = MicrographPlaces(every % micrographs, centre, np.full(count, BOX / 2), "")
    return join(every, every, places)


def draw_noise(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, BOX, BOX, generator=generator), torch.ones(count, BOX // 2)


def refuse_meetings(neighbours, shared):
    """Fail if any two of a row of `(n, K)` neighbours, -1 for none, share pixels."""
    for row in neighbours.tolist():
        there = [one for one in row if one >= 0]
        assert len(set(there)) == len(there)
        assert row == there + [-1] * (len(row) - len(there))
        assert shared.mask(np.array(there)) is None


def test_the_nearest_that_may_meet_are_chosen():
    shared = crowd(COUNT, 3)
    apart = torch.from_numpy(shared.mask(np.arange(COUNT)))
    likelihood = 20 * torch.randn(COUNT, COUNT, generator=torch.Generator().manual_seed(1))
    affinity = measure_affinity(likelihood, apart)
    assert (affinity[apart] == -torch.inf).all()
    neighbours = choose_neighbours(affinity, 12, apart)
    refuse_meetings(neighbours, shared)
    for image in range(COUNT):  # by hand
        chosen = [image]
        for other in affinity[image].argsort(descending=True).tolist():
            if len(chosen) < 12 and not apart[other, chosen].any() and other != image:
                chosen.append(other)
        assert neighbours[image].tolist() == chosen + [-1] * (12 - len(chosen))


def test_an_image_that_may_meet_nobody_has_no_neighbours():
    apart = ~torch.eye(5, dtype=torch.bool)
    apart[3, 4] = apart[4, 3] = False
    affinity = measure_affinity(torch.randn(5, 5), apart)
    assert not affinity.isnan().any()
    found = choose_neighbours(affinity, 4, apart)
    expected = [[k, -1, -1, -1] for k in range(3)] + [[3, 4, -1, -1], [4, 3, -1, -1]]
    assert found.tolist() == expected


@pytest.mark.parametrize("micrographs", [3, 1])
def test_nobody_meets_in_a_cell(model, micrographs, monkeypatch):
    """Neither in the random sets of the first pass, nor as neighbours, nor among those that matches name."""
    shared = crowd(COUNT, micrographs, 60 if micrographs == 1 else 150)
    images, ctf_rings = draw_noise(COUNT)
    together = []
    attend = polar_transformer.attend

    def attend_and_note(query, key, value):
        places = [
            int((cluster.encoded.query == one).flatten(1).all(1).nonzero()[0, 0])
            for one in query[0]
        ]
        together.append(places)
        return attend(query, key, value)

    cluster = encode_cluster(model, images, ctf_rings, shared)
    monkeypatch.setattr(polar_transformer, "attend", attend_and_note)
    denoised = denoise_encoded_cluster(model, cluster, 16, 0)
    assert sorted(place for places in together for place in places) == list(range(COUNT))
    for places in together:
        assert shared.mask(np.array(places)) is None
    for row in denoised.neighbours:  # an image may come with its own mirror image
        refuse_meetings((row[row >= 0] % COUNT).unique()[None], shared)
    assert denoised.estimates.isfinite().all()
    found = match_denoised_cluster(cluster, denoised, torch.zeros(COUNT, 2))
    own = np.arange(COUNT)[:, None]
    refuse_meetings(np.concatenate([own, found.neighbours], 1), shared)
    assert (found.weights[found.neighbours < 0] == 0).all()
    assert np.isfinite(found.score).all()


def test_a_cell_in_which_nobody_shares_pixels_is_as_without(model):
    images, ctf_rings = draw_noise(COUNT)
    shared = crowd(COUNT, COUNT)
    results = [
        denoise_encoded_cluster(model, encode_cluster(model, images, ctf_rings, one), 16, 0)
        for one in (None, shared)
    ]
    assert torch.equal(results[0].estimates, results[1].estimates)
    assert torch.equal(results[0].neighbours, results[1].neighbours)


def test_a_class_average_leaves_out_what_shares_pixels():
    """Other pixels of one image change nothing of how well classes explain those that share pixels with it."""
    rings = build_fourier_rings(BOX)
    images, ctf_rings = draw_noise(COUNT)
    apart = torch.from_numpy(crowd(COUNT, 2, 80).mask(np.arange(COUNT)))
    number, rotation = torch.arange(COUNT) % 4, torch.arange(COUNT) * 7 % 96
    noise_to_signal = torch.ones(rings.rings)

    def match(images, apart):
        image_harmonics = compute_image_harmonics(images, ctf_rings, rings)
        seen = observe_classes(image_harmonics, ctf_rings, noise_to_signal, rings, apart)
        return match_with_classes(seen, number, rotation).likelihood

    changed = images.clone()
    changed[11] = draw_noise(1, seed=5)[0][0]
    before, after = match(images, apart), match(changed, apart)
    those = apart[11].nonzero()[:, 0]
    assert len(those) > 5
    assert torch.allclose(before[those], after[those], atol=1e-3)
    others = (~apart[11]).nonzero()[:, 0]
    others = others[others != 11]
    assert (before[others, 11 % 4] - after[others, 11 % 4]).abs().min() > 1e-3
    without = match(images, None)
    nobody = ~apart.any(1)
    assert torch.allclose(before[nobody], without[nobody], atol=1e-3)


def test_landmarks_share_no_pixels_and_know_nobody_that_does(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "LARGEST_CLUSTER", 48)
    monkeypatch.setattr(clusters, "LANDMARKS", 32)
    torch.manual_seed(0)
    model = build_model("polar-transformer", TINY).eval()
    shared = crowd(250, 5)
    rows = np.arange(250)
    chosen = clusters.choose_landmarks(rows, shared, np.random.default_rng([0, 4]))
    assert 5 <= len(chosen) <= 32
    assert shared.mask(chosen) is None
    seen = []
    match = clusters.match_either_way

    def match_and_note(image_harmonics, *others):
        found = match(image_harmonics, *others)
        seen.append(found)  # the very table, filled with what is left out
        return found

    monkeypatch.setattr(clusters, "match_either_way", match_and_note)
    with ScratchImages(tmp_path, 250, BOX) as scratch:
        scratch.append(*draw_noise(250))
        formed = clusters.form_clusters(
            model, scratch, np.ones(250, int), 0, torch.device("cpu"), lambda _: None, shared
        )
    assert sorted(np.concatenate([one.rows for one in formed])) == list(range(250))
    table = torch.cat(seen[1:])  # the first compares landmarks with one another
    left_out = torch.from_numpy(shared.mask(rows, chosen))
    assert torch.equal(table == -torch.inf, left_out)


def test_a_half_of_which_nearly_all_share_pixels_is_cut_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "LARGEST_CLUSTER", 20)
    torch.manual_seed(0)
    model = build_model("polar-transformer", TINY).eval()
    with ScratchImages(tmp_path, 50, BOX) as scratch:
        scratch.append(*draw_noise(50))
        formed = clusters.form_clusters(
            model,
            scratch,
            np.ones(50, int),
            0,
            torch.device("cpu"),
            lambda _: None,
            crowd(50, 1, 8),
        )
    assert sorted(np.concatenate([one.rows for one in formed])) == list(range(50))
