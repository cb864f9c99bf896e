"""Direct Fourier inversion against the library's insertion, and against what a map must do."""

import numpy as np
import pytest
import torch
from torch_fourier_slice import insert_central_slices_rfft_3d

from polardenoise.engine.imaging.backprojection import (
    begin_backprojection,
    complete_sums,
    frequency_radius,
    insert_slices,
    mask_softly_outside_sphere,
    solve_backprojection,
)
from polardenoise.engine.imaging.euler_angles import draw_orientations, matrices_from_angles
from polardenoise.engine.imaging.fsc import fourier_shell_correlation
from tests.reference_projections import project_volume

BOX = 24


def lumps(box=BOX, count=12, seed=0):
    """Give a map of Gaussian blobs, without symmetry, inside the sphere."""
    generator = np.random.default_rng(seed)
    axis = torch.arange(box) - box // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    volume = torch.zeros(box, box, box)
    for _ in range(count):
        a, b, c = generator.uniform(-0.25 * box, 0.25 * box, 3)
        volume += torch.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * 1.2**2))
    return volume


def transform(images):
    return torch.fft.rfft2(torch.fft.ifftshift(images, dim=(-2, -1)))


def matrices(count, seed=0):
    return matrices_from_angles(draw_orientations(count, np.random.default_rng(seed))).float()


@pytest.fixture(scope="module")
def projected():
    """Give a map, orientations of 400 images, and their projections."""
    angles = draw_orientations(400, np.random.default_rng(1))
    volume = lumps()
    return volume, matrices_from_angles(angles).float(), project_volume(volume, angles)


def test_insertion_equals_the_librarys():
    """Slices known at every other frequency of a doubled grid, as the library inserts them."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(5, BOX, BOX, generator=generator)
    rotations = matrices(5)
    ours = begin_backprojection(BOX)
    slices = transform(images)
    insert_slices(ours, slices, torch.ones(slices.shape), rotations)

    # The library takes slices sampled as finely as the grid; those in between are left out by giving them 0,
    # which leaves the sum of values (and a sum of weights, inserted as values) the same.
    padded = 2 * BOX
    fine, marks = torch.zeros(2, 5, padded, padded // 2 + 1, dtype=torch.complex64)
    places = (2 * torch.fft.fftfreq(BOX, 1 / BOX)).long() % padded
    fine[:, places, ::2] = slices
    marks[:, places, ::2] = 1
    values, _ = insert_central_slices_rfft_3d(
        torch.fft.fftshift(fine, dim=-2), (padded,) * 3, rotations, fftfreq_max=0.5
    )
    weights, _ = insert_central_slices_rfft_3d(
        torch.fft.fftshift(marks, dim=-2), (padded,) * 3, rotations, fftfreq_max=0.5
    )
    numerator, weight = complete_sums(ours)
    # The library leaves out samples whose voxels reach past the last row, and counts the origin once.
    compared = (frequency_radius(padded, torch.device("cpu")) < padded / 2 - 2).clone()
    compared[0, 0, 0] = False
    expected = torch.fft.ifftshift(values, dim=(0, 1))
    torch.testing.assert_close(numerator[compared], expected[compared], rtol=1e-4, atol=1e-3)
    expected = torch.fft.ifftshift(weights.real, dim=(0, 1))
    torch.testing.assert_close(weight[compared], expected[compared], rtol=1e-4, atol=1e-4)


def test_reconstructing_projections_gives_the_map_back(projected):
    volume, rotations, images = projected
    backprojection = begin_backprojection(BOX)
    slices = transform(images)
    insert_slices(backprojection, slices, torch.ones(slices.shape), rotations)
    found = solve_backprojection(backprojection)
    curve = fourier_shell_correlation(found, volume)
    assert curve[: BOX // 2 - 1].min() > 0.99
    scale = float((found * volume).sum() / (volume * volume).sum())
    assert scale == pytest.approx(1.0, abs=0.02)
    assert float((found - volume).square().sum() / volume.square().sum()) < 0.01


def test_squared_transfer_weights_undo_the_transfer(projected):
    volume, rotations, images = projected
    generator = torch.Generator().manual_seed(3)
    phases = 6.28 * torch.rand(len(images), 1, 1, generator=generator)
    radius = torch.fft.fftfreq(BOX)[:, None] ** 2 + torch.fft.rfftfreq(BOX) ** 2
    transfer = torch.sin(40 * radius + phases)  # zeros at other frequencies in each image
    slices = transform(images) * transfer**2
    backprojection = begin_backprojection(BOX)
    insert_slices(backprojection, slices, transfer**2, rotations)
    found = solve_backprojection(backprojection)
    assert fourier_shell_correlation(found, volume)[: BOX // 2 - 1].min() > 0.99


def test_the_order_and_the_chunks_of_images_do_not_matter(projected):
    _, rotations, images = projected
    slices = transform(images[:60])
    weights = torch.ones(slices.shape)
    together, apart = begin_backprojection(BOX), begin_backprojection(BOX)
    insert_slices(together, slices, weights, rotations[:60])
    for rows in (slice(40, 60), slice(0, 1), slice(1, 40)):
        insert_slices(apart, slices[rows], weights[rows], rotations[:60][rows])
    torch.testing.assert_close(together.sums, apart.sums, rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(
        solve_backprojection(together), solve_backprojection(apart), rtol=1e-3, atol=1e-4
    )


def test_few_views_leave_no_infinities(projected):
    _, rotations, images = projected
    backprojection = begin_backprojection(BOX)
    slices = transform(images[:1])
    insert_slices(backprojection, slices, torch.ones(slices.shape), rotations[:1])
    assert torch.isfinite(solve_backprojection(backprojection)).all()
    assert torch.isfinite(solve_backprojection(begin_backprojection(BOX))).all()


def test_the_mask_keeps_the_inside_and_flattens_the_corners():
    volume = lumps() + 3.0
    masked = mask_softly_outside_sphere(volume, BOX / 2, 3.0)
    axis = torch.arange(BOX) - BOX // 2
    distance = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt()
    torch.testing.assert_close(masked[distance <= BOX / 2], volume[distance <= BOX / 2])
    corners = masked[distance >= BOX / 2 + 3]
    torch.testing.assert_close(corners, corners[:1].expand_as(corners))
    assert corners[0] == pytest.approx(3.0, abs=0.05)
