"""Matching images with clean estimates: the likelihood, and the rotation with its sign."""

import math

import pytest
import torch

from polardenoise.engine.imaging import rotational_matching as matching
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import (
    ROTATIONS,
    compute_image_harmonics,
    match_images,
    measure_affinity,
    select_ctf_rings,
)
from tests.imaging.test_ring_harmonics import as_complex, turn_quarters
from tests.smooth_images import draw_smooth_images

BOX = 32
FLAT = torch.ones(1, BOX // 2)


@pytest.fixture(scope="module")
def rings():
    return build_fourier_rings(BOX)


def draw_noise(count, seed=0):
    return torch.randn(count, BOX, BOX, generator=torch.Generator().manual_seed(seed))


def match(images, estimates, rings, ctf_rings=FLAT):
    ctf_rings = ctf_rings.expand(len(images), -1)
    observed = compute_image_harmonics(images, ctf_rings, rings)
    return match_images(observed, ctf_rings, rings.to_harmonics(estimates), rings)


def match_by_hand(images, estimates, rings, ctf_rings):
    """Turn the coefficients of the estimate, filter them by the CTF, take inner products: one pair at a time."""
    plain, others = (
        as_complex(rings.to_harmonics(images)),
        as_complex(rings.to_harmonics(estimates)),
    )
    weights = rings.weights(images.device)
    likelihood = torch.empty(len(images), len(estimates), ROTATIONS)
    for i, (image, profile) in enumerate(
        zip(plain, select_ctf_rings(ctf_rings, rings), strict=True)
    ):
        for j, estimate in enumerate(others):
            for step in range(ROTATIONS):
                angle = 2 * math.pi * step / ROTATIONS
                turning = torch.polar(torch.ones(rings.modes), -angle * torch.arange(rings.modes))
                seen = profile[:, None] * estimate * turning
                found = (weights * (image * seen.conj()).real).sum()
                likelihood[i, j, step] = found - (weights * seen.abs().square()).sum() / 2
    return likelihood.max(-1)


def draw_ctf_rings(count, seed=0):
    """Draw |CTF| that oscillates with the frequency."""
    generator = torch.Generator().manual_seed(seed)
    speed = 0.02 + 0.04 * torch.rand(count, 1, generator=generator)
    return (speed * torch.arange(BOX // 2).square()).sin().abs()


def test_it_is_the_readable_reference(rings):
    estimates = draw_smooth_images(3, 0, BOX)[0].float()
    images, ctf_rings = draw_noise(4) + estimates[[0, 1, 2, 0]], draw_ctf_rings(4)
    found = match(images, estimates, rings, ctf_rings)
    likelihood, rotation = match_by_hand(images, estimates, rings, ctf_rings)
    assert torch.allclose(found.likelihood, likelihood, atol=1e-3, rtol=1e-4)
    assert torch.equal(found.rotation, rotation)


def test_quarter_turns_are_recovered_with_their_sign(rings):
    estimates = draw_smooth_images(3, 1, BOX)[0].float()
    for quarters in range(4):
        found = match(turn_quarters(estimates, quarters), estimates, rings)
        assert (found.rotation.diagonal() == quarters * ROTATIONS // 4).all()


@pytest.mark.parametrize("step", [1, 13, 60, 95])
def test_any_rotation_is_recovered_with_its_sign(step):
    """`turned` is `plain` turned counter-clockwise: that takes the estimate onto the image."""
    plain, turned = draw_smooth_images(4, 2, 64, 2 * math.pi * step / ROTATIONS)
    rings, flat = build_fourier_rings(64), torch.ones(4, 32)
    observed = compute_image_harmonics(turned.float(), flat, rings)
    found = match_images(observed, flat, rings.to_harmonics(plain.float()), rings)
    assert (found.rotation.diagonal() == step).all()
    assert (found.likelihood.argmax(1) == torch.arange(4)).all()


def test_the_likelihood_of_an_exact_match_is_half_the_energy_seen(rings):
    """`<C x, y> - |C y|^2 / 2` with `x = C y`."""
    estimates = draw_smooth_images(3, 3, BOX)[0].float()
    described, ctf_rings = rings.to_harmonics(estimates), draw_ctf_rings(3)
    transfers = select_ctf_rings(ctf_rings, rings)
    found = match_images(described * transfers.square(), ctf_rings, described, rings)
    seen = rings.ring_energies(described * transfers).sum(1)
    assert torch.allclose(found.likelihood.diagonal(), seen / 2, rtol=1e-4)
    assert (found.rotation.diagonal() == 0).all()
    # Likelihood against noise: no other estimate explains as much.
    assert (found.likelihood <= found.likelihood.diagonal()[:, None] + 1e-3).all()


def test_noise_matches_nothing(rings):
    estimates = draw_smooth_images(4, 4, BOX)[0].float()
    estimates *= 0.4 / estimates.std((1, 2), keepdim=True)
    noise = draw_noise(40)
    of_noise = match(noise, estimates, rings).likelihood
    of_particles = match(noise + estimates.repeat(10, 1, 1), estimates, rings).likelihood
    true = of_particles.view(10, 4, 4).diagonal(dim1=1, dim2=2)
    assert of_noise.max() < true.min()
    assert of_noise.max(1).values.median() < 0  # rather noise than anything


@pytest.mark.parametrize("values", [1, 5 * ROTATIONS * 3, 10**9])
def test_blocks_change_nothing(rings, monkeypatch, values):
    estimates = draw_smooth_images(3, 5, BOX)[0].float()
    images, ctf_rings = draw_noise(7) + estimates[[0, 1, 2, 0, 1, 2, 0]], draw_ctf_rings(7)
    whole = match(images, estimates, rings, ctf_rings)
    monkeypatch.setattr(matching, "VALUES_AT_ONCE", {"cpu": values})
    blocked = match(images, estimates, rings, ctf_rings)
    assert torch.allclose(blocked.likelihood, whole.likelihood, atol=1e-3)
    assert torch.equal(blocked.rotation, whole.rotation)


def test_matching_lets_a_bar_be_drawn_anew(rings, monkeypatch):
    """In each block of images, without counting as work that was expected."""
    told = []
    monkeypatch.setattr(matching, "VALUES_AT_ONCE", {"cpu": 1})
    monkeypatch.setattr(matching, "tell_pass", lambda: told.append(1))
    match(draw_noise(7), draw_noise(3, 1), rings)
    assert len(told) == 7


def test_affinity_is_mutual_and_no_image_has_it_with_itself():
    likelihood = 30 * torch.randn(9, 9, generator=torch.Generator().manual_seed(0))
    kept = likelihood.clone()
    affinity = measure_affinity(likelihood)
    assert torch.equal(likelihood, kept)
    assert torch.equal(affinity, affinity.T)
    assert (affinity.diagonal() == -math.inf).all()
    assert (affinity.fill_diagonal_(-1) <= 0).all()


def test_affinity_does_not_depend_on_how_good_an_image_is_as_such():
    """A constant more for all of a row: an image with more signal matches everything better."""
    likelihood = 30 * torch.randn(9, 9, generator=torch.Generator().manual_seed(0))
    constants = torch.linspace(-200, 200, 9)[:, None]
    found, expected = measure_affinity(likelihood + constants), measure_affinity(likelihood)
    off = ~torch.eye(9, dtype=torch.bool)
    assert torch.allclose(found[off], expected[off], atol=1e-3)


@pytest.mark.parametrize("count", [1, 2])
def test_affinity_of_one_and_two_images(count):
    affinity = measure_affinity(torch.randn(count, count))
    if count == 2:
        assert affinity[0, 1] == affinity[1, 0] == 0  # there is no other
