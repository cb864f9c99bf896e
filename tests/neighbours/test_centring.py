"""Particles off the centre of their images: found by those that show the same, moved, denoised, and put back."""

import numpy as np
import pytest
import torch

from polardenoise.engine.neighbours import centring
from polardenoise.engine.neighbours.centred_denoising import (
    denoise_centred_cluster,
    denoise_sets,
    list_others,
)
from polardenoise.engine.neighbours.centring import (
    find_off_centre_groups,
    put_mass_at_centre,
)
from polardenoise.engine.neighbours.encoded_cluster import encode_cluster
from polardenoise.engine.neighbours.search import denoise_encoded_cluster
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.simulate.pipeline import SimulationPlan, simulate_particles

COUNT, K = 96, 32


@pytest.fixture(scope="module", autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def model():
    return load_model("base")[0].eval()


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """96 images of three views, without shifts and the same with shifts of up to 3 px: noisy, clean, displacements."""
    found = {}
    for shift in (0.0, 3.0):
        folder = tmp_path_factory.mktemp("views")
        plan = SimulationPlan(
            ("phantom:10001",), particles=COUNT, views=3, snr=0.1, with_ctf=False, max_shift=shift
        )
        simulate_particles(plan, folder)
        noisy = read_particles(folder / "particles.star")
        order = np.argsort([int(view) for view in noisy.column("rlnClassNumber")], kind="stable")
        images = torch.from_numpy(read_images(noisy, order))
        clean = torch.from_numpy(read_images(read_particles(folder / "clean.star"), order))
        off_centre = -torch.from_numpy(noisy.origins[order] / noisy.pixel_size[order, None])
        found[shift] = images, clean, off_centre.float()
    return found


def relative_mse(estimates, clean):
    return float((estimates - clean).square().sum() / clean.square().sum())


def test_sets_off_the_centre_are_moved_and_put_back(model, views):
    noisy, clean, off_centre = (part.unflatten(0, (3, K)) for part in views[3.0])
    centred = denoise_sets(model, noisy, torch.ones(3, K, 32))
    estimates = centred.undo_recentring()
    assert relative_mse(estimates, clean) < 0.9 * relative_mse(model(noisy), clean)  # 0.8 of it
    # Where a view's images are centred as a whole, at the same point of the view, is nobody's to tell.
    for found, truth in zip(centred.displacements, off_centre, strict=True):
        assert np.corrcoef(found.flatten(), truth.flatten())[0, 1] > 0.4


def test_centred_sets_are_the_networks_bit_for_bit(model, views):
    """Whatever lies in the batch beside them."""
    still, restless = (views[shift][0].unflatten(0, (3, K))[:2] for shift in (0.0, 3.0))
    ctf_rings = torch.ones(2, K, 32)
    alone = denoise_sets(model, still, ctf_rings)
    assert not alone.displacements.any()
    assert torch.equal(alone.undo_recentring(), model(still, ctf_rings))
    mixed = denoise_sets(model, torch.cat([still[:1], restless[1:]]), ctf_rings)
    assert not mixed.displacements[0].any()
    assert mixed.displacements[1:].abs().amax((1, 2)).min() > 1
    expected = model(torch.cat([still[:1], restless[1:]]), ctf_rings)[0]
    assert torch.equal(mixed.undo_recentring()[0], expected)


def test_a_cluster_off_the_centre_is_denoised_better_than_as_it_lies(model, views):
    noisy, clean, off_centre = views[3.0]
    flat = torch.ones(COUNT, 32)
    as_it_lies = denoise_encoded_cluster(model, encode_cluster(model, noisy, flat), K, 0)
    centred = denoise_centred_cluster(model, noisy, flat, K, 0)
    before, after = (
        relative_mse(estimates, clean)
        for estimates in (as_it_lies.estimates, centred.undo_recentring())
    )
    assert after < 0.9 * before
    # What comes out lies where the particle lay: moving it on by what was found would undo the gain.
    assert relative_mse(centred.denoised.estimates, clean) > 2 * after
    found = centred.displacements
    assert np.corrcoef(found.flatten(), off_centre.flatten())[0, 1] > 0.5


def test_images_of_one_view_agree_on_a_centre(model, views, monkeypatch):
    """Those that lie off it alike find one another first; the centre of mass is one for all."""
    noisy, clean, off_centre = views[3.0]
    flat = torch.ones(COUNT, 32)
    anchored = denoise_centred_cluster(model, noisy, flat, K, 0)
    monkeypatch.setattr(centring, "LEAST_ANCHORED", COUNT + 1)
    free = denoise_centred_cluster(model, noisy, flat, K, 0)
    errors = [float((one.displacements - off_centre).norm()) for one in (anchored, free)]
    assert errors[0] < 0.9 * errors[1]  # 0.83 of it
    better, worse = (relative_mse(one.undo_recentring(), clean) for one in (anchored, free))
    assert better < worse


def test_the_mass_of_references_comes_to_the_centre():
    along = torch.arange(64.0) - 32
    places = torch.tensor([[3.0, -2.0], [0.0, 0.5], [-4.0, 4.0]])
    squares = (along[:, None] - places[:, 1, None, None]).square() + (
        along - places[:, 0, None, None]
    ).square()
    blobs = (-squares / 50).exp()
    # A faint rim, as estimates have it, weighs nothing.
    rim = 0.05 * (along > 10)
    expected = (-(along[:, None].square() + along.square()) / 50).exp()
    moved = put_mass_at_centre(torch.cat([blobs, blobs[:1] + rim, torch.zeros(1, 64, 64)]))
    for found in moved[:3]:
        assert (found - expected).abs().max() < 0.02
    assert (moved[3] - expected)[:, 8:40].abs().max() < 0.08
    assert not moved[4].any()


def test_a_centred_cluster_stays_where_it_is(model, views):
    noisy, flat = views[0.0][0], torch.ones(COUNT, 32)
    centred = denoise_centred_cluster(model, noisy, flat, 16, 0)
    plain = denoise_encoded_cluster(model, encode_cluster(model, noisy, flat), 16, 0)
    assert not centred.displacements.any()
    assert torch.equal(centred.undo_recentring(), plain.estimates)


@pytest.mark.parametrize(
    ("images", "spread", "error", "moved"),
    [
        (1000, 0.200, 0.204, True),  # 6rku, random views with a CTF at SNR 0.05, off by up to 2 px
        (1000, 0.061, 0.162, False),  # the same, centred
        (1000, 0.114, 0.375, False),  # off by up to 2 px at SNR 0.02: nobody can tell where to
        (32, 0.200, 0.204, False),  # small groups show that much where they are centred
        (32, 0.500, 0.300, True),
    ],
)
def test_groups_are_moved_that_lie_off_the_centre_and_can_be_placed(images, spread, error, moved):
    told = find_off_centre_groups(torch.tensor([spread]), torch.tensor([error]), images)
    assert told.tolist() == [moved]


def test_noise_gives_nothing_when_it_is_centred(model, views):
    noise = torch.randn(COUNT, 64, 64, generator=torch.Generator().manual_seed(0))
    estimates = denoise_centred_cluster(
        model, noise, torch.ones(COUNT, 32), 16, 0
    ).undo_recentring()
    assert estimates.square().mean() < 0.02 * views[3.0][1].square().mean()


def test_one_image_has_no_others():
    assert list_others(2, 1).shape == (2, 0)
    assert list_others(2, 3).tolist() == [[1, 2], [2, 0], [0, 1], [4, 5], [5, 3], [3, 4]]
