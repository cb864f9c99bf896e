"""Classes of a half: the views that are there, and no others, with each image's rotation."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from polardenoise.engine.classes import formation
from polardenoise.engine.classes.formation import choose_whole_folds, form_classes
from polardenoise.engine.classes.refinement import keep_from_swapping, match_each
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotation import rotate_images, turn_images
from polardenoise.engine.imaging.rotational_matching import (
    ROTATIONS,
    compute_image_harmonics,
    match_images,
    select_ctf_rings,
)
from tests.imaging.test_ring_harmonics import turn_quarters
from tests.imaging.test_rotational_matching import draw_ctf_rings
from tests.smooth_images import draw_smooth_images, relative_norm

BOX = 32


@pytest.fixture(scope="module")
def rings():
    return build_fourier_rings(BOX)


@pytest.fixture(scope="module")
def grid():
    return PolarGrid(BOX, 16, 64)


def draw_views(view, grid, snr=0.3, seed=0):
    """Draw images of the views `(n,)`, each at a random rotation.

    Returns
    -------
    tuple of Tensor
        The noisy images, clean ones with a little error left, and the steps they are turned by.
    """
    generator = torch.Generator().manual_seed(seed)
    views = draw_smooth_images(3, 0, BOX)[0].float()
    views *= math.sqrt(snr) / views.square().mean((1, 2), keepdim=True).sqrt()
    steps = torch.randint(0, ROTATIONS, view.shape, generator=generator)
    clean = turn_steps(views[view], steps, grid)
    noise, error = torch.randn(2, *clean.shape, generator=generator)
    return clean + noise, clean + 0.1 * math.sqrt(snr) * error, steps


def turn_steps(images, steps, grid):
    return turn_images(images, steps * (360.0 / ROTATIONS), grid)


class Formed:
    """The classes of some images, and the averages of the denoised ones."""

    def __init__(self, noisy, estimates, rings, grid, count=None):
        ctf_rings = torch.ones(len(noisy), BOX // 2)
        observed = compute_image_harmonics(noisy, ctf_rings, rings)
        described = rings.to_harmonics(estimates)
        folds = np.arange(len(noisy))
        formed = form_classes(described, observed, ctf_rings, rings, folds, count=count)
        self.number, self.rotation = formed.number, formed.rotation
        turned = turn_steps(estimates, -self.rotation, grid)
        sums = torch.zeros(int(self.number.max()) + 1, BOX, BOX)
        sums.index_add_(0, self.number, turned)
        self.averages = sums / self.number.bincount()[:, None, None]


def form(noisy, estimates, rings, grid, count=None):
    return Formed(noisy, estimates, rings, grid, count)


def test_turning_on_the_polar_grid_is_turning_by_splines_the_other_way_round(grid):
    """Counter-clockwise degrees are RELION's psi with the sign turned."""
    images = draw_smooth_images(3, 0, BOX)[0].float()
    axis = (torch.arange(BOX) - BOX // 2).float()
    inner = torch.hypot(axis[:, None], axis) < BOX / 2 - 3
    degrees = torch.tensor([10.0, -75.3, 160.2])
    turned, splines = turn_images(images, degrees, grid), rotate_images(images, -degrees)
    assert relative_norm((turned - splines) * inner, splines * inner) < 0.02


def test_turning_images_is_counter_clockwise_and_exact_in_quarters(grid):
    images = draw_smooth_images(3, 0, BOX)[0].float()
    steps = ROTATIONS // 4 * torch.tensor([1, 2, 3])
    turned = turn_steps(images, steps, grid)
    for image, quarters in enumerate([1, 2, 3]):
        expected = turn_quarters(grid.to_images(grid.to_polar(images[image])), quarters)
        assert relative_norm(turned[image] - expected, expected) < 1e-3


@pytest.mark.parametrize(
    ("sizes", "snr"), [((30, 30, 30), 0.1), ((40, 15, 5), 0.3), ((12, 12), 0.3), ((60,), 0.1)]
)
def test_views_come_out_as_the_classes(rings, grid, sizes, snr):
    view = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    order = torch.randperm(len(view), generator=torch.Generator().manual_seed(1))
    view = view[order]
    noisy, estimates, steps = draw_views(view, grid, snr)
    classes = form(noisy, estimates, rings, grid)
    assert classes.number.bincount().tolist() == sorted(sizes, reverse=True)  # the largest first
    assert len(classes.averages) == len(sizes)
    # Every class one view, and its rotations those that were drawn, but for one that the class chooses.
    for number in range(len(sizes)):
        members = classes.number == number
        assert len(view[members].unique()) == 1
        turns = (steps - classes.rotation)[members] * 2 * math.pi / ROTATIONS
        common = torch.polar(torch.ones_like(turns), turns).mean()
        assert common.abs() > 0.98  # within some 10 degrees of one another
    # The average of the class, turned by the image's rotation, is the image.
    shown = turn_steps(classes.averages[classes.number], classes.rotation, grid)
    cosine = torch.cosine_similarity(shown.flatten(1), estimates.flatten(1))
    assert cosine.min() > 0.85
    backwards = turn_steps(classes.averages[classes.number], -classes.rotation, grid)
    assert torch.cosine_similarity(backwards.flatten(1), estimates.flatten(1)).mean() < 0.8


@pytest.mark.parametrize(("count", "found"), [(1, 1), (2, 2), (3, 3), (6, 3)])
def test_as_many_classes_as_are_asked_for(rings, grid, count, found):
    """Fewer than the views, as many, and more: images of one view do not stay divided."""
    view = torch.arange(90) % 3
    noisy, estimates, _ = draw_views(view, grid)
    classes = form(noisy, estimates, rings, grid, count)
    sizes = classes.number.bincount()
    assert len(sizes) == found
    assert sizes.min() >= 2
    if count >= 3:
        for number in range(found):
            assert len(view[classes.number == number].unique()) == 1


def test_images_beyond_the_sample_go_to_its_classes(rings, grid, monkeypatch):
    monkeypatch.setattr(formation, "SAMPLE", 40)
    monkeypatch.setattr(formation, "SAMPLE_OF_CLASS", 1)
    view = torch.arange(200) % 3
    noisy, estimates, _ = draw_views(view, grid)
    classes = form(noisy, estimates, rings, grid)
    assert sorted(classes.number.bincount().tolist()) == [66, 67, 67]
    for number in range(3):
        assert len(view[classes.number == number].unique()) == 1


def test_further_images_are_assigned_as_those_that_made_the_classes(rings, grid):
    noisy, estimates, _ = draw_views(torch.arange(40) % 2, grid)
    estimates[-4:] *= 0.01  # empty
    ctf_rings = torch.ones(40, BOX // 2)
    described = rings.to_harmonics(estimates)
    observed = compute_image_harmonics(noisy, ctf_rings, rings)
    formed = form_classes(described, observed, ctf_rings, rings, np.arange(40))
    number, rotation = formed.assign(described, rings)
    assert torch.equal(number, formed.number)
    apart = (rotation - formed.rotation + ROTATIONS // 2) % ROTATIONS - ROTATIONS // 2
    assert apart.abs().max() <= 1  # each was left out of its class before, and is in it now


def test_whole_micrographs_are_chosen():
    folds = np.repeat(np.arange(20), 5)
    chosen = choose_whole_folds(folds, 23, 0)
    assert 23 <= len(chosen) < 23 + 5
    assert not np.isin(folds[chosen], np.delete(folds, chosen)).any()
    assert choose_whole_folds(folds, 100, 0).tolist() == list(range(100))


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_empty_images_are_the_last_class(rings, grid, share):
    """Most of them, too: then the class is not the last by its size."""
    view = torch.arange(80) % 2
    noisy, estimates, _ = draw_views(view, grid)
    empty = torch.rand(80, generator=torch.Generator().manual_seed(2)) < share
    estimates[empty] *= 0.05
    noisy[empty] = torch.randn(noisy[empty].shape, generator=torch.Generator().manual_seed(3))
    empties_last = form(noisy, estimates, rings, grid)
    assert (empties_last.number[empty] == 2).all()
    assert (empties_last.number[~empty] < 2).all()
    assert (empties_last.rotation[empty] == 0).all()
    assert len(empties_last.averages) == 3
    assert empties_last.averages[2].std() < 0.2 * empties_last.averages[:2].std()


def test_an_image_like_no_other_makes_no_class_of_its_own(rings, grid):
    noisy, estimates, _ = draw_views(torch.arange(31) % 2, grid, snr=1.0)
    axis = torch.arange(BOX) - BOX // 2
    radius = torch.hypot(axis[:, None].float(), axis[None].float())
    estimates[30] = (radius.square() / -50).exp() * (1.6 * radius).cos() * 3  # rings
    noisy[30] = estimates[30] + torch.randn(BOX, BOX, generator=torch.Generator().manual_seed(5))
    assert sorted(form(noisy, estimates, rings, grid).number.bincount().tolist()) == [15, 16]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_two_and_three_images_of_a_view_are_one_class(rings, grid, count):
    noisy, estimates, _ = draw_views(torch.zeros(count, dtype=torch.int64), grid)
    classes = form(noisy, estimates, rings, grid)
    assert classes.number.tolist() == [0] * count
    shown = turn_steps(classes.averages[classes.number], classes.rotation, grid)
    assert torch.cosine_similarity(shown.flatten(1), estimates.flatten(1)).min() > 0.85


@pytest.mark.parametrize("count", [1, 2, 9])
def test_nothing_but_empty_images(rings, grid, count):
    noise = torch.randn(count, BOX, BOX, generator=torch.Generator().manual_seed(0))
    classes = form(noise, torch.zeros(count, BOX, BOX), rings, grid)
    assert classes.number.min() == 0
    assert classes.number.bincount().min() > 0  # no number left out
    assert (classes.averages == 0).all()


@pytest.mark.parametrize("modes", [21, 61])
def test_matching_pair_by_pair_is_the_diagonal_of_matching_all(rings, modes):
    """Boxes of 80 px and more have more modes than half the rotations."""
    rings = dataclasses.replace(rings, modes=modes)
    generator = torch.Generator().manual_seed(0)
    observed, others = torch.randn(2, 2, modes, 3, rings.rings, generator=generator)
    ctf_rings = draw_ctf_rings(3)
    expected = match_images(observed, ctf_rings, others, rings)
    found, steps = match_each(
        torch.complex(*observed).permute(1, 2, 0),
        torch.complex(*others).permute(1, 2, 0),
        select_ctf_rings(ctf_rings, rings).square(),
        rings,
    )
    assert torch.allclose(found, expected.likelihood.diagonal(), rtol=1e-4, atol=1e-2)
    assert torch.equal(steps, expected.rotation.diagonal())


def test_images_do_not_change_places():
    """Two classes of two that want one another's images, and a larger one that images of both want to leave."""
    number = torch.tensor([0, 0, 1, 1, 2, 2, 2])
    best = torch.tensor([1, 1, 0, 0, 0, 2, 2])
    found = keep_from_swapping(number, best).tolist()
    assert found in ([1, 1, 1, 1, 2, 2, 2], [0, 0, 0, 0, 2, 2, 2])
