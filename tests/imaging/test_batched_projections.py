"""Many molecules projected at once are each molecule projected by itself."""

import numpy as np
import pytest
import torch
from torch_fourier_slice import project_3d_to_2d

from polardenoise.engine.imaging.batched_projections import stack_transforms, take_spectra
from polardenoise.engine.imaging.euler_angles import draw_orientations, matrices_from_angles
from polardenoise.engine.imaging.projections import prepare_volume, take_projections
from polardenoise.engine.simulate.sources import read_density

BOX = 32


@pytest.fixture(scope="module")
def volumes():
    return [read_density(f"phantom:{seed}", BOX, None, 30.0).volume for seed in (1, 2, 3)]


def project(volumes, molecules, matrices):
    stack = stack_transforms(volumes, torch.device("cpu"))
    images = torch.fft.irfft2(take_spectra(stack, molecules, matrices), s=(BOX, BOX))
    return torch.fft.fftshift(images, dim=(-2, -1))


def test_images_of_mixed_molecules_are_those_of_each(volumes):
    angles = draw_orientations(40, np.random.default_rng(0))
    # Along the axes, where samples lie at the edge of the transform.
    angles[:3] = torch.tensor([[0.0, 0.0, 0.0], [90.0, 90.0, 0.0], [0.0, 90.0, 90.0]])
    molecules = torch.arange(40) % 3
    scale = torch.linspace(0.5, 1.0, 40, dtype=torch.float64)
    matrices = matrices_from_angles(angles)
    images = project(volumes, molecules, matrices * scale[:, None, None])
    for molecule, volume in enumerate(volumes):
        mine = molecules == molecule
        expected = take_projections(prepare_volume(volume), angles[mine], scale[mine])
        found = images[mine] * scale[mine, None, None].float() ** 3
        torch.testing.assert_close(found, expected, rtol=0, atol=3e-6 * float(expected.max()))


def test_projections_are_those_of_torch_fourier_slice(volumes):
    angles = draw_orientations(20, np.random.default_rng(1))
    images = project(volumes, torch.full((20,), 1), matrices_from_angles(angles))
    matrices = matrices_from_angles(angles).float()
    expected = project_3d_to_2d(volumes[1], matrices, fftfreq_max=0.5)
    assert (images - expected).norm() < 0.02 * expected.norm()
