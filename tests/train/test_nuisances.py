"""Nuisances of training sets: in the images and not in the target, and not a bit changes where a recipe has none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.ctf import compute_ctf
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.simulate.noise import sample_powers
from polardenoise.engine.train.optics import draw_ctf, see_misjudged
from polardenoise.engine.train.recipe import TINY, Recipe, lay_file_over
from polardenoise.engine.train.simulated_sets import (
    draw_batch,
    draw_sets_of,
    load_molecule,
    stack_molecules,
)

PLAIN = replace(
    TINY, ctf_share=0.0, shift_share=0.0, noise_only_share=0.0, snr=(0.05, 0.05), fill=(0.6, 0.6)
)
BOX = 32


@pytest.fixture(scope="module")
def molecules():
    densities = [load_molecule(f"phantom:{seed}", BOX, PLAIN.fill[1]) for seed in (5, 6)]
    return stack_molecules(densities, torch.device("cpu"))


def draw(molecules, recipe, images=60, seed=0, sets=4):
    shown = np.arange(sets) % len(molecules)
    return draw_sets_of(molecules, shown, images, recipe, np.random.default_rng(seed))


def test_neighbours_are_in_the_images_at_the_side_and_not_in_the_target(molecules):
    strong = replace(
        PLAIN, snr=(1e4, 1e4)
    )  # hardly any noise, so that little but the neighbours differs
    plain, crowded = (
        draw(molecules, replace(strong, neighbour_share=share)) for share in (0.0, 1.0)
    )
    # Up to the units, which are measured in the corners, where neighbours lie, the target is the same.
    cosine = torch.cosine_similarity(plain.clean.flatten(2), crowded.clean.flatten(2), dim=-1)
    assert cosine.min() > 0.9999
    scale = crowded.clean.square().sum((-2, -1)).sqrt() / plain.clean.square().sum((-2, -1)).sqrt()
    added = crowded.noisy / scale[..., None, None] - plain.noisy
    added = added - added.mean((-2, -1), keepdim=True)
    middle, corners = disk_mask(BOX, BOX / 4), ~disk_mask(BOX, BOX / 2)
    assert added[..., corners].square().mean() > 4 * added[..., middle].square().mean()


def test_some_sets_show_all_that_real_boxes_have_and_the_others_none_of_it(molecules):
    recipe = replace(PLAIN, neighbour_share=0.5, contrast_spread=0.4, slope=2.0, ice=0.7)
    plain = draw(molecules, PLAIN, images=12, sets=40)
    mixed = draw(molecules, replace(recipe, real_share=0.4), images=12, sets=40)
    everywhere = draw(molecules, recipe, images=12, sets=40)
    same = (mixed.noisy == plain.noisy).flatten(1).all(1)
    assert 14 <= int(same.sum()) <= 34  # three fifths of 40, give or take three deviations
    assert torch.equal(mixed.clean[same], plain.clean[same])
    assert torch.equal(mixed.noisy[~same], everywhere.noisy[~same])


def test_slopes_are_in_the_images_and_not_in_the_target(molecules):
    plain, sloping = (draw(molecules, replace(PLAIN, slope=strength)) for strength in (0.0, 2.0))
    cosine = torch.cosine_similarity(plain.clean.flatten(2), sloping.clean.flatten(2), dim=-1)
    assert cosine.min() > 0.9999
    left, right = (sloping.noisy[..., columns].mean((-2, -1)) for columns in ([0, 1], [-2, -1]))
    plain_left, plain_right = (
        plain.noisy[..., columns].mean((-2, -1)) for columns in ([0, 1], [-2, -1])
    )
    assert (left - right).std() > 4 * (plain_left - plain_right).std()


def test_contrast_varies_in_image_and_target(molecules):
    plain, spread = (draw(molecules, replace(PLAIN, contrast_spread=s)) for s in (0.0, 0.4))
    factors = (spread.clean * plain.clean).sum((-2, -1)) / plain.clean.square().sum((-2, -1))
    assert 0.3 < float(factors.log().std()) < 0.5
    added = spread.noisy - plain.noisy
    explained = (added * plain.clean).sum((-2, -1)) / plain.clean.square().sum((-2, -1))
    assert torch.corrcoef(torch.stack([explained.flatten(), factors.flatten()]))[0, 1] > 0.95


def test_a_wrong_defocus_is_seen_and_not_told():
    recipe = replace(Recipe(), ctf_share=1.0)
    parameters = draw_ctf(1, 40, recipe, np.random.default_rng(0))
    pixel_sizes = torch.full((40,), 3.0, dtype=torch.float64)
    ctf = compute_ctf(parameters, pixel_sizes, 64)
    right = see_misjudged(parameters, ctf, pixel_sizes, 0.0, np.random.default_rng(1))
    torch.testing.assert_close(right, ctf.abs())
    wrong = see_misjudged(parameters, ctf, pixel_sizes, 500.0, np.random.default_rng(1))
    assert (
        wrong.min() < -0.1
    )  # beyond a zero that was taken to lie elsewhere the phases are flipped the wrong way
    coarse = slice(1, 4)
    assert (wrong - ctf.abs())[:, coarse, coarse].abs().max() < 0.1


def test_a_wrong_defocus_reaches_the_images(molecules):
    recipe = replace(PLAIN, ctf_share=1.0, snr=(1e6, 1e6))
    right, wrong = (draw(molecules, replace(recipe, defocus_error=e), 10) for e in (0.0, 800.0))
    for batch, least, most in ((right, 0.0, 0.01), (wrong, 0.02, 2.0)):
        seen = torch.fft.irfft2(torch.fft.rfft2(batch.clean) * batch.abs_ctf, s=(BOX, BOX))
        noisy = batch.noisy - batch.noisy.mean((-2, -1), keepdim=True)
        seen = seen - seen.mean((-2, -1), keepdim=True)
        assert least <= float((noisy - seen).norm() / seen.norm()) < most


def test_a_spectrum_of_its_own_colours_the_noise(molecules):
    recipe = replace(PLAIN, coloured_share=1.0, noise_only_share=1.0)
    falling = ((0.0, 100.0), (0.015, 100.0), (0.03, 1.0), (1.0, 1.0))
    squares = [
        torch.fft.rfft2(draw(molecules, replace(recipe, noise_spectrum=spectrum)).noisy)
        .abs()
        .square()
        .mean((0, 1))
        for spectrum in ((), falling)
    ]
    measured, own = (float(s[1:3, 1:3].mean() / s[10:20, 10:].mean()) for s in squares)
    assert own > 1.5 * measured
    assert sample_powers(BOX, np.array([3.0]), np.array([0.0])).std() < 1e-6


def test_asking_for_nothing_changes_no_bit(molecules):
    """What is drawn for neighbours is drawn after all else: a share too small to show one shows the same."""
    plain = draw_batch(molecules, replace(PLAIN, ctf_share=0.5), 0, 3)
    tiny = replace(PLAIN, ctf_share=0.5, neighbour_share=1e-12)
    again = draw_batch(molecules, tiny, 0, 3)
    for name in ("noisy", "clean", "abs_ctf"):
        assert torch.equal(getattr(plain, name), getattr(again, name))


@pytest.mark.parametrize("pairs", ["[[0.01, 1]]", "[[0, 1], [0.1, 2], [0.1, 3]]", "[[0, 0]]"])
def test_a_spectrum_that_is_none_is_refused(tmp_path, pairs):
    path = tmp_path / "recipe.json"
    path.write_text(f'{{"noise_spectrum": {pairs}}}')
    with pytest.raises(InputError, match="noise_spectrum"):
        lay_file_over(Recipe(), "polar-transformer", path)


def test_ice_varies_from_image_to_image_where_it_is_to(molecules):
    recipe = replace(PLAIN, ice=2.0, noise_only_share=1.0, ctf_share=1.0)
    even, spread = (
        draw(molecules, replace(recipe, ice_spread=one), images=40, sets=12) for one in (0.0, 0.6)
    )

    def vary(batch):
        rings = torch.fft.rfft2(batch.noisy).abs().square()[..., 1:5, 1:5].mean((-2, -1))
        return rings.log().std(1).mean()

    assert vary(spread) > 1.3 * vary(even)
