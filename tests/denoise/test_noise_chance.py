"""Images are taken for noise by what all that were denoised together say: known mixtures of noise and particles."""

import numpy as np
import pytest
import torch

from polardenoise.engine.denoise.noise.chance import (
    FEWEST,
    NOISE_TAIL,
    find_falling_density,
    find_noise_chance,
    find_noise_tail,
    judge_together,
)


def draw_noise(count, seed, strength=1.0):
    """Draw energies as noise has them: the tail is turned around."""
    energy, share = np.array(NOISE_TAIL).T
    drawn = np.log(np.random.default_rng(seed).uniform(share[-1], 1, count))
    return torch.from_numpy(strength * np.interp(-drawn, -np.log(share), energy)).float()


def draw_particles(count, seed, median, spread=0.6):
    drawn = np.random.default_rng([seed, 1]).lognormal(np.log(median), spread, count)
    return torch.from_numpy(drawn).float()


def test_p_values_of_noise_are_spread_evenly():
    p_values = find_noise_tail(draw_noise(4000, 1).numpy().astype(float))
    shares = np.sort(p_values)
    assert np.abs(shares - np.linspace(0, 1, 4000)).max() < 0.03


@pytest.mark.parametrize("strength", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("count", [200, 1024])
def test_noise_alone_is_never_taken_for_particles(strength, count):
    """Nor is noise with half as much energy again as the network was measured to make of it."""
    for seed in range(20):
        assert judge_together(draw_noise(count, seed, strength)).mean() < 0.03


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_noise_among_particles_is_found(share):
    noise = round(1000 * share)
    energies = torch.cat([draw_noise(noise, 3), draw_particles(1000 - noise, 3, median=4.0)])
    kept = judge_together(energies)
    assert kept[:noise].mean() < 0.1
    assert kept[noise:].mean() > 0.9


def test_faint_particles_are_kept_where_next_to_none_is_as_faint_as_noise():
    """Single frames: most have less than one noise image in a hundred exceeds, hardly any as little as most noise."""
    energies = draw_particles(1000, 4, median=0.98, spread=0.3)
    assert (energies < 1).double().mean() > 0.5
    assert judge_together(energies).mean() > 0.9


def test_a_few_images_say_nothing_of_one_another():
    energies = draw_particles(FEWEST, 5, median=4.0)
    assert judge_together(energies).mean() > 0.9
    assert not judge_together(energies[:-1]).any()


def test_the_chance_is_the_share_of_noise_where_both_are_found():
    """Of images with a chance about 0.5, half are noise at most, and not much less: to doubt is on the safe side."""
    noise = []
    for seed in range(30):
        p_values = np.random.default_rng(seed).uniform(size=500)
        p_values[:300] = p_values[:300] ** 4  # of density 1/4 p^-3/4: particles
        found = find_noise_chance(p_values)
        about = np.abs(found - 0.5) < 0.1
        noise.append((np.arange(500) >= 300)[about])
    assert len(np.concatenate(noise)) > 500
    assert 0.3 < np.concatenate(noise).mean() < 0.5


def test_the_density_falls_and_holds_all_images():
    p_values = np.random.default_rng(6).uniform(size=20_000) ** 2  # of density 1/2 p^-1/2
    place, density = find_falling_density(p_values)
    assert (np.diff(place) > 0).all()
    assert (np.diff(density) <= 0).all()
    inside = (place > 0.01) & (place < 0.9)
    np.testing.assert_allclose(density[inside], 0.5 * place[inside] ** -0.5, rtol=0.1)
