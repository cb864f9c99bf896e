"""Ice, and sets whose coloured noise was made white: what the images show and what the network is told."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.rings import average_rings
from polardenoise.engine.train.recipe import TINY
from polardenoise.engine.train.simulated_sets import (
    draw_batch,
    draw_sets_of,
    load_molecule,
    stack_molecules,
)
from polardenoise.engine.train.whitening import (
    draw_whitening_errors,
    measure_whitening,
    whiten_sets,
)

BOX = 32
PLAIN = replace(
    TINY,
    ctf_share=0.0,
    shift_share=0.0,
    noise_only_share=0.0,
    snr=(0.05, 0.05),
    fill=(0.6, 0.6),
    noise_spectrum=((0.0, 100.0), (0.015, 100.0), (0.03, 1.0), (1.0, 1.0)),
)


@pytest.fixture(scope="module")
def molecules():
    densities = [load_molecule(f"phantom:{seed}", BOX, PLAIN.fill[1]) for seed in (5, 6)]
    return stack_molecules(densities, torch.device("cpu"))


def draw(molecules, recipe, images=64, sets=4):
    shown = np.arange(sets) % len(molecules)
    return draw_sets_of(molecules, shown, images, recipe, np.random.default_rng(1))


def measure_evenness(images):
    """Power of the strongest ring over that of the weakest, of each set, `(sets,)`."""
    power = average_rings(torch.fft.rfft2(images).abs().square().mean(1))[:, 1:]
    return power.amax(1) / power.amin(1)


def test_noise_that_was_whitened_is_white(molecules):
    recipe = replace(PLAIN, coloured_share=1.0, noise_only_share=1.0)
    coloured, white = (
        measure_evenness(draw(molecules, replace(recipe, whitened_share=share)).noisy)
        for share in (0.0, 1.0)
    )
    assert coloured.max() > 4
    assert white.max() < 1.2


def test_the_network_is_told_what_the_molecule_is_seen_through(molecules):
    """Without noise to speak of, the image is the molecule times |CTF| and whitening, which the rings are."""
    recipe = replace(PLAIN, coloured_share=1.0, snr=(1e6, 1e6))
    plain, whitened = (
        draw(molecules, replace(recipe, whitened_share=share)) for share in (0.0, 1.0)
    )
    assert torch.equal(plain.clean, whitened.clean)
    assert plain.whitening is None
    rings = whitened.average_ctf_rings()
    assert rings.shape == (4, 64, BOX // 2)
    # Coarse frequencies become fainter, fine ones stronger, the most in the most coloured set.
    assert (rings[..., 1] / rings[..., -1]).min() < 0.5
    seen = filter_by_rings(plain.noisy.flatten(0, 1), rings.flatten(0, 1))
    assert (seen - whitened.noisy.flatten(0, 1)).norm() < 1e-4 * seen.norm()


def test_with_a_ctf_the_rings_are_both(molecules):
    recipe = replace(PLAIN, coloured_share=1.0, whitened_share=1.0, ctf_share=1.0)
    batch = draw(molecules, recipe)
    expected = average_rings(batch.abs_ctf) * batch.whitening
    assert torch.equal(batch.average_ctf_rings(), expected)
    assert (batch.abs_ctf <= 1).all()  # the loss is of what the microscope would have seen


def test_white_sets_are_left_alone(molecules):
    recipe = replace(PLAIN, coloured_share=0.0, whitened_share=1.0)
    batch, plain = draw(molecules, recipe), draw(molecules, replace(recipe, whitened_share=0.0))
    assert torch.equal(batch.noisy, plain.noisy)
    assert (batch.whitening == 1).all()


def test_only_the_sets_asked_for_are_whitened():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 16, BOX, BOX, generator=generator)
    noisy, factors = whiten_sets(2 * noise, noise, np.array([False, True, False]))
    assert torch.equal(noisy[[0, 2]], 2 * noise[[0, 2]])
    assert (factors[[0, 2]] == 1).all()
    assert not (factors[1] == 1).any()


def test_whitening_keeps_the_strength_of_noise():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 256, BOX, BOX, generator=generator)
    slope = torch.linspace(2.0, 0.5, BOX // 2).expand(256, -1)
    coloured = filter_by_rings(noise[0], slope)
    coloured = coloured / coloured.std()
    factors = measure_whitening(coloured[None]).expand(256, -1)
    assert float(filter_by_rings(coloured, factors).std()) == pytest.approx(1.0, abs=0.05)


def test_ice_is_seen_through_the_ctf_and_not_in_the_target(molecules):
    recipe = replace(PLAIN, ctf_share=1.0, noise_spectrum=())
    plain, icy = (draw(molecules, replace(recipe, ice=strength)) for strength in (0.0, 4.0))
    cosine = torch.cosine_similarity(plain.clean.flatten(2), icy.clean.flatten(2), dim=-1)
    assert cosine.min() > 0.9999
    # What was added, in the units of the images: their noise is measured anew, and so is smaller.
    scale = icy.clean.flatten(2).norm(dim=-1) / plain.clean.flatten(2).norm(dim=-1)
    added = torch.fft.rfft2(icy.noisy / scale[..., None, None] - plain.noisy).abs().square()
    for one, ctf in zip(added, icy.abs_ctf, strict=True):
        bright, dark = ctf > 0.9, ctf < 0.2
        assert float(one[bright].mean()) > 8 * float(one[dark].mean())


def test_asking_for_ice_or_whitening_changes_nothing_else(molecules):
    recipe = replace(PLAIN, ctf_share=0.5, coloured_share=0.5, slope=0.1)
    plain = draw_batch(molecules, recipe, 0, 3)
    again = draw_batch(molecules, replace(recipe, ice=1e-9, whitened_share=1e-12), 0, 3)
    for name in ("noisy", "clean", "abs_ctf"):
        assert torch.allclose(getattr(plain, name), getattr(again, name), atol=1e-6)


def test_whitening_that_takes_coarse_noise_for_too_much_leaves_too_little_of_it(molecules):
    recipe = replace(PLAIN, coloured_share=1.0, noise_only_share=1.0, whitened_share=1.0)
    right, wrong = (
        draw(molecules, replace(recipe, whitening_error=error), sets=40) for error in (0.0, 1.5)
    )
    generator = np.random.default_rng(3)
    errors = draw_whitening_errors(200, BOX, replace(recipe, whitening_error=1.5), generator)
    assert 1.3 < errors[:, 0].max() <= 1.5
    assert -0.45 <= errors[:, 0].min() < -0.3
    assert abs(errors[:, -1]).max() < 0.05
    assert draw_whitening_errors(3, BOX, recipe, generator) is None
    power = average_rings(torch.fft.rfft2(wrong.noisy).abs().square().mean(1))
    lost = torch.log(power[:, -1] / power[:, 1])
    assert float(lost.max()) > 1.0
    assert -0.7 < float(lost.min()) < 0.0
    # What the network is told is what was done to the image.
    told = torch.log(wrong.whitening[:, 0, 1] / right.whitening[:, 0, 1])
    assert torch.corrcoef(torch.stack([told, -lost]))[0, 1] > 0.9
