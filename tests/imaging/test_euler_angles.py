"""RELION's Euler angles against scipy, and the statistics of random orientations."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from polardenoise.engine.imaging.euler_angles import (
    angles_from_matrices,
    draw_orientations,
    draw_views,
    matrices_from_angles,
)


def test_matrices_are_scipys_intrinsic_zyz():
    angles = draw_orientations(50, np.random.default_rng(0))
    expected = Rotation.from_euler("ZYZ", angles.numpy(), degrees=True).as_matrix()
    np.testing.assert_allclose(matrices_from_angles(angles).numpy(), expected, atol=1e-12)


def test_psi_turns_in_the_image_plane_only():
    view = matrices_from_angles(torch.tensor([[40.0, 70.0, 0.0], [40.0, 70.0, 55.0]]).double())
    torch.testing.assert_close(view[0, :, 2], view[1, :, 2])


def test_angles_come_back_from_matrices():
    angles = draw_orientations(200, np.random.default_rng(1))
    difference = angles_from_matrices(matrices_from_angles(angles)) - angles
    assert ((difference + 180) % 360 - 180).abs().max() < 1e-9


@pytest.mark.parametrize("tilt", [0.0, 180.0])
def test_poles_give_a_matrix_back_whatever_the_angles(tilt):
    matrices = matrices_from_angles(torch.tensor([[35.0, tilt, -80.0]]).double())
    again = angles_from_matrices(matrices)
    assert again[0, 0] == 0
    torch.testing.assert_close(matrices_from_angles(again), matrices, atol=1e-12, rtol=0)


def test_random_orientations_are_uniform():
    matrices = matrices_from_angles(draw_orientations(20_000, np.random.default_rng(2)))
    # Every entry of a uniform rotation has mean 0 and variance 1/3.
    assert matrices.mean(dim=0).abs().max() < 0.02
    assert (matrices.square().mean(dim=0) - 1 / 3).abs().max() < 0.02


def test_same_seed_same_orientations():
    first, second = (draw_orientations(5, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(first, second)


def test_views_share_directions_and_differ_in_plane():
    angles, view = draw_views(8, 100, np.random.default_rng(4))
    counts = torch.bincount(view)
    assert len(counts) == 8
    assert counts.max() - counts.min() <= 1
    for number in range(8):
        of_view = angles[view == number]
        assert (of_view[:, :2] == of_view[0, :2]).all()
        assert len(of_view[:, 2].unique()) == len(of_view)
