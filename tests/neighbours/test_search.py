"""Images denoised among their neighbours: these show the same view, and the shipped network gains by them."""

import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.mirror_parity import mirror_images
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotation import turn_images
from polardenoise.engine.imaging.rotational_matching import ROTATIONS
from polardenoise.engine.neighbours import encoded_cluster
from polardenoise.engine.neighbours import search as neighbours
from polardenoise.engine.neighbours.centred_denoising import denoise_centred_cluster
from polardenoise.engine.neighbours.companions import choose_neighbours
from polardenoise.engine.neighbours.encoded_cluster import Cluster, encode_cluster, encode_mirrored
from polardenoise.engine.neighbours.grouping import form_sets
from polardenoise.engine.neighbours.matches import match_denoised_cluster
from polardenoise.engine.neighbours.search import (
    OWN_NOISE_KEPT,
    EarlierEstimates,
    denoise_encoded_cluster,
    denoise_first,
    denoise_further,
    expect_own_noise,
)
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.networks.registry import build_model
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.simulate.pipeline import SimulationPlan, simulate_particles
from tests.denoise_files import TINY
from tests.imaging.test_ring_harmonics import turn_quarters
from tests.smooth_images import relative_norm

COUNT = 96
CTF_RINGS = torch.ones(COUNT, 32)  # no CTF


def denoise_cluster(model, images, ctf_rings, images_per_set, seed):
    cluster = encode_cluster(model, images, ctf_rings)
    return denoise_encoded_cluster(model, cluster, images_per_set, seed)


@pytest.fixture(scope="module", autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    """96 images of 4 views of a molecule that nothing was trained on: noisy, clean, and the view of each."""
    folder = tmp_path_factory.mktemp("views")
    plan = SimulationPlan(("phantom:10001",), particles=COUNT, views=4, snr=0.1, with_ctf=False)
    simulate_particles(plan, folder)
    noisy = read_particles(folder / "particles.star")
    view = torch.tensor([int(number) for number in noisy.column("rlnClassNumber")])
    pixels = [
        read_images(read_particles(folder / f"{name}.star"), slice(None))
        for name in ("particles", "clean")
    ]
    return *(torch.from_numpy(one) for one in pixels), view


@pytest.fixture(scope="module")
def model():
    return load_model("base")[0].eval()


@pytest.fixture(scope="module")
def denoised(model, particles):
    return denoise_cluster(model, particles[0], CTF_RINGS, 16, 0)


@pytest.fixture(scope="module")
def found(model, particles, denoised):
    """The matches of the cluster as `--matches` gives them."""
    cluster = encode_cluster(model, particles[0], CTF_RINGS)
    return match_denoised_cluster(cluster, denoised, torch.zeros(COUNT, 2))


def relative_mse(estimates, clean):
    return float((estimates - clean).square().sum() / clean.square().sum())


def test_neighbours_show_the_same_view(denoised, particles):
    view = particles[2]
    assert denoised.neighbours.shape == (COUNT, 16)
    assert torch.equal(denoised.neighbours[:, 0], torch.arange(COUNT))  # first the image itself
    assert all(len(theirs.unique()) == 16 for theirs in denoised.neighbours)
    same = view[denoised.neighbours[:, 1:] % COUNT] == view[:, None]
    assert same.float().mean() > 0.9
    assert (denoised.attention.weights.sum(1) - 1).abs().max() < 1e-4


def test_neighbours_are_worth_more_than_random_images(model, denoised, particles):
    """Random sets of as many images: what `--group-by random` does."""
    noisy, clean, _ = particles
    at_random = torch.empty_like(noisy)
    for one in form_sets(np.zeros(COUNT), np.zeros(COUNT), 16, 0):
        at_random[one.rows] = model(noisy[one.rows][None])[0]
    found = relative_mse(denoised.estimates, clean)
    assert found < 0.8 * relative_mse(at_random, clean)  # 0.65 of it


def test_turning_all_images_turns_the_output(model, denoised, particles):
    """The random sets of the first pass are drawn by the seed, whatever the images show."""
    turned = denoise_cluster(model, turn_quarters(particles[0], 1), CTF_RINGS, 16, 0)
    expected = turn_quarters(denoised.estimates, 1)
    assert relative_norm(turned.estimates - expected, expected) < 1e-3
    assert torch.equal(turned.neighbours, denoised.neighbours)


def test_degrees_turn_the_neighbour_onto_the_particle(model, particles, found):
    """Clean images, turned by the degrees counter-clockwise; the other way round they do not fit."""
    _, clean, _ = particles
    steps = torch.from_numpy(found.in_plane_degrees[:, :4]).div(360 / ROTATIONS).round().long()
    theirs = clean[torch.from_numpy(found.neighbours[:, :4])].flatten(0, 1)
    onto = clean.repeat_interleave(4, 0).flatten(1)

    def fit(by):
        turned = turn_images(theirs, by * (360.0 / ROTATIONS), model.grid).flatten(1)
        return torch.cosine_similarity(turned, onto).median()

    assert fit(steps.flatten()) > 0.97
    assert fit(-steps.flatten()) < 0.9


def test_noise_gives_nothing_and_scores_low(model, denoised, found):
    noise = torch.randn(COUNT, 64, 64, generator=torch.Generator().manual_seed(0))
    cluster = encode_cluster(model, noise, CTF_RINGS)
    of_noise = denoise_encoded_cluster(model, cluster, 16, 0)
    assert of_noise.estimates.square().mean() < 0.02 * denoised.estimates.square().mean()
    assert np.median(found.score) > 0.7
    assert np.median(match_denoised_cluster(cluster, of_noise, torch.zeros(COUNT, 2)).score) < 0.2


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return build_model("polar-transformer", TINY).eval()


def draw_small(count):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 32, 32, generator=generator), torch.rand(
        count, 16, generator=generator
    )


def test_the_order_of_the_images_matters_to_the_random_sets_only(tiny, monkeypatch):
    """With one set of all images in the first pass nothing is left that depends on the order."""
    images, ctf_rings = draw_small(40)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))

    def denoise_both():
        plain = denoise_cluster(tiny, images, ctf_rings, 6, 0)
        shuffled = denoise_cluster(tiny, images[order], ctf_rings[order], 6, 0)
        return plain, shuffled

    monkeypatch.setattr(neighbours, "FIRST_SET", 40)
    plain, shuffled = denoise_both()
    assert relative_norm(shuffled.estimates - plain.estimates[order], plain.estimates) < 1e-4
    mirrored, place = shuffled.neighbours // 40, shuffled.neighbours % 40
    assert torch.equal(order[place] + 40 * mirrored, plain.neighbours[order])
    monkeypatch.setattr(neighbours, "FIRST_SET", 10)
    plain, shuffled = denoise_both()
    assert relative_norm(shuffled.estimates - plain.estimates[order], plain.estimates) > 1e-4


def test_how_many_images_are_computed_at_once_changes_nothing(tiny, monkeypatch):
    images, ctf_rings = draw_small(25)
    whole = denoise_cluster(tiny, images, ctf_rings, 6, 0)
    for module in (neighbours, encoded_cluster):
        monkeypatch.setattr(module, "IMAGES_AT_ONCE", 7)
    parts = denoise_cluster(tiny, images, ctf_rings, 6, 0)
    assert torch.equal(parts.neighbours, whole.neighbours)
    assert relative_norm(parts.estimates - whole.estimates, whole.estimates) < 1e-5


def test_with_everybody_for_a_neighbour_it_is_the_network(tiny):
    """A set as the network was trained on, of all images as they are."""
    images, ctf_rings = draw_small(9)
    cluster = encode_cluster(tiny, images, ctf_rings)
    first, *_, expected = (one[0] for one in tiny.denoise_by_passes(images[None], ctf_rings[None]))
    found = denoise_further(tiny, cluster, denoise_first(tiny, cluster, first, 9), 9)
    assert found.neighbours.shape == (9, 9)
    assert relative_norm(found.estimates - expected, expected) < 1e-4


def test_mirrored_images_are_encoded_as_if_they_had_been_read(tiny):
    images, ctf_rings = draw_small(5)
    cluster = encode_mirrored(tiny, encode_cluster(tiny, images, ctf_rings))
    expected = tiny.encode(mirror_images(images), ctf_rings)
    for found, theirs in (
        (cluster.encoded.key, expected.key),
        (cluster.encoded.value, expected.value),
    ):
        assert relative_norm(found[5:] - theirs, theirs) < 1e-5
    plain = encode_cluster(tiny, images, ctf_rings).encoded
    assert torch.equal(cluster.encoded.key[:5], plain.key)
    assert torch.equal(cluster.encoded.value[:5], plain.value)


def test_views_that_are_there_only_mirrored_are_found(model, particles):
    """One image a view as it is, all others mirrored: they denoise it as well as if they had not been."""
    noisy, clean, view = particles
    first = torch.stack([(view == one).nonzero()[0, 0] for one in view.unique()])
    turned_over = torch.ones(COUNT, dtype=torch.bool)
    turned_over[first] = False
    images = torch.where(turned_over[:, None, None], mirror_images(noisy), noisy)
    expected = torch.where(turned_over[:, None, None], mirror_images(clean), clean)
    found = denoise_cluster(model, images, CTF_RINGS, 16, 0)
    theirs = found.neighbours[first, 1:]
    assert (theirs >= COUNT).float().mean() > 0.8
    assert (view[theirs % COUNT] == view[first, None]).float().mean() > 0.8
    plain = denoise_cluster(model, noisy, CTF_RINGS, 16, 0)
    error = relative_mse(found.estimates[first], expected[first])
    assert error < 1.3 * relative_mse(plain.estimates[first], clean[first])


def test_nobody_meets_his_own_mirror_image(model, particles, denoised):
    """Not even images that are the same mirrored: they would find their own noise."""
    noisy = particles[0] + mirror_images(particles[0])
    found = denoise_cluster(model, noisy, CTF_RINGS, 16, 0)
    own = torch.arange(COUNT)[:, None]
    for one in (found, denoised):
        assert not (one.neighbours[:, 1:] % COUNT == own).any()


def test_own_noise_in_estimates_is_what_they_were_made_of():
    """By hand: an image counts in those that took from it, mirrored in those that took from its mirror image."""
    rings = build_fourier_rings(32)
    ctf_rings = torch.ones(3, 16)
    ctf_rings[2] = 0.5
    neighbours = torch.tensor(
        [[0, 1, 5], [1, 2, -1], [2, 3, 1]]
    )  # 3, 4, 5: images 0, 1, 2 mirrored
    weights = torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0], [0.7, 0.2, 0.1]])
    earlier = EarlierEstimates(torch.zeros(3, 32, 32), neighbours, weights)
    cluster = Cluster(None, None, ctf_rings, rings)
    noise = OWN_NOISE_KEPT * float(rings.noise_energies().sum())
    found = expect_own_noise(cluster, earlier) / noise
    expected = torch.tensor(
        [
            [0.5, 0.0, 0.0, 0.0, 0.0, 0.2],
            [0.3, 0.6, 0.1, 0.0, 0.0, 0.0],
            [0.0, 0.4 / 4, 0.7 / 4, 0.2 / 4, 0.0, 0.0],
        ]
    )
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("images_per_set", [1, 2, 32])
def test_clusters_of_a_few_images(tiny, count, images_per_set):
    images, ctf_rings = draw_small(count)
    found = denoise_cluster(tiny, images, ctf_rings, images_per_set, 0)
    assert found.neighbours.shape == (count, min(2 * count - 1, images_per_set))
    assert found.estimates.isfinite().all()
    if images_per_set == 1:  # nothing but the image itself
        alone = tiny(images[:, None], ctf_rings[:, None])[:, 0]
        assert relative_norm(found.estimates - alone, alone) < 1e-4


def test_the_nearest_come_first():
    affinity = -torch.tensor(
        [[np.inf, 1.0, 3, 2], [1, np.inf, 2, 3], [3, 2, np.inf, 1], [2, 3, 1, np.inf]]
    )
    assert choose_neighbours(affinity, 3).tolist() == [[0, 1, 3], [1, 0, 2], [2, 3, 1], [3, 2, 0]]
    mirrored = affinity - 0.5  # each a little farther than as it is
    found = choose_neighbours(torch.cat([affinity, mirrored], 1), 4)
    assert found.tolist() == [[0, 1, 5, 3], [1, 0, 4, 2], [2, 3, 7, 1], [3, 2, 6, 0]]


def test_in_coloured_noise_images_are_compared_by_what_stands_out_of_it(model, particles):
    """Told the power of the noise on each ring, an image finds better neighbours, and a better estimate."""
    _, clean, view = particles
    power = 0.5 + 12 * (-torch.arange(32) / 3.0).exp()
    source = torch.Generator().manual_seed(7)
    noise = filter_by_rings(torch.randn(clean.shape, generator=source), power.sqrt()[None])
    images = filter_by_rings(clean, CTF_RINGS) + noise
    errors, alike = [], []
    for known in (power, None):
        centred = denoise_centred_cluster(model, images, CTF_RINGS, 16, 0, noise_power=known)
        errors.append(relative_mse(centred.undo_recentring(), clean))
        there = centred.denoised.neighbours[:, 1:] % COUNT
        alike.append((view[there] == view[:, None]).float().mean())
    assert alike[0] > alike[1]
    assert errors[0] < 0.95 * errors[1]
