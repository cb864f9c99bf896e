"""Noise and background are measured in the corners and undone on the way out."""

import torch

from polardenoise.engine.imaging.background import measure_background, normalise


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_noise_is_measured_whatever_the_particle():
    images = 3 * noise(20, 64, 64) + 5
    images[:, 16:48, 16:48] += 40
    background = measure_background(images)
    assert torch.allclose(background.mean.mean(), torch.tensor(5.0), atol=0.1)
    assert torch.allclose(background.deviation.mean(), torch.tensor(3.0), rtol=0.02)


def test_scale_and_offset_of_the_input_scale_the_output():
    images = noise(4, 32, 32)
    changed = -2.5 * 7 + 7 * images
    before, after = measure_background(images), measure_background(changed)
    assert torch.allclose(normalise(images, before), normalise(changed, after), atol=1e-5)
    assert torch.allclose(after.deviation, 7 * before.deviation, rtol=1e-5)


def test_images_without_noise_in_the_corners_are_no_division_by_zero():
    masked = torch.zeros(2, 32, 32)
    masked[0, 12:20, 12:20] = 2.0
    normalised = normalise(masked, measure_background(masked))
    assert normalised.isfinite().all()
    assert abs(float(normalised[0].std()) - 1) < 1e-5
