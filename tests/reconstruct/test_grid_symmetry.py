"""Sums that are turned on their grid are those of images that are inserted at every rotation of the group."""

import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.backprojection import (
    begin_backprojection,
    insert_slices,
    solve_backprojection,
)
from polardenoise.engine.imaging.euler_angles import draw_orientations, matrices_from_angles
from polardenoise.engine.imaging.fsc import fourier_shell_correlation
from polardenoise.engine.imaging.symmetry import symmetry_matrices
from polardenoise.engine.reconstruct.grid_symmetry import split_group, turn_sums

BOX, COUNT = 24, 7
#: How often an image is inserted.
INSERTIONS = {
    "c1": 1, "c2": 1, "c3": 3, "c4": 1, "c7": 7, "d2": 1, "d4": 1, "d7": 7, "t": 12, "o": 1, "i1": 5, "i2": 5,
}  # fmt: skip


@pytest.fixture(scope="module")
def noisy_slices():
    """Give transforms of images of noise, times and with the squares of CTFs that have zeros, and their rotations."""
    generator = torch.Generator().manual_seed(1)
    slices = torch.fft.rfft2(torch.randn(COUNT, BOX, BOX, generator=generator))
    radius = torch.fft.fftfreq(BOX)[:, None] ** 2 + torch.fft.rfftfreq(BOX) ** 2
    transfer = torch.sin(20 * radius + 6 * torch.rand(COUNT, 1, 1, generator=generator))
    angles = draw_orientations(COUNT, np.random.default_rng(2))
    return slices * transfer, transfer**2, matrices_from_angles(angles).float()


def reconstruct_at_every_rotation(slices, weights, matrices, symmetry):
    """Insert each image at every rotation of the group: the definition, and slow."""
    sums = begin_backprojection(BOX)
    for rotation in symmetry.float():
        insert_slices(sums, slices, weights, rotation @ matrices)
    return solve_backprojection(sums)


@pytest.mark.parametrize(("group", "insertions"), INSERTIONS.items())
def test_turned_sums_give_the_map_of_images_at_every_rotation(noisy_slices, group, insertions):
    slices, weights, matrices = noisy_slices
    symmetry = symmetry_matrices(group)
    turns, others = split_group(symmetry)
    assert (len(others), len(turns) * len(others)) == (insertions, len(symmetry))
    sums = begin_backprojection(BOX)
    for rotation in others.float():
        insert_slices(sums, slices, weights, rotation @ matrices)
    turn_sums(sums, turns)
    found = solve_backprojection(sums)
    expected = reconstruct_at_every_rotation(slices, weights, matrices, symmetry)
    assert float((found - expected).norm() / expected.norm()) < 2e-3
    assert fourier_shell_correlation(found, expected).min() > 0.9999


@pytest.mark.parametrize("group", ["c4", "d7", "t", "o", "i1", "i2"])
def test_turns_and_the_others_make_up_the_group(group):
    symmetry = symmetry_matrices(group)
    turns, others = split_group(symmetry)
    products = (turns[:, None] @ others).reshape(-1, 3, 3)
    distances = (products[:, None] - symmetry).abs().amax((2, 3))
    assert (distances.argmin(1).sort().values == torch.arange(len(symmetry))).all()
    assert distances.amin(1).max() < 1e-6
