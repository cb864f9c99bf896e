"""Fourier cropping, padding and shifting: what must stay, stays."""

import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.fourier import fourier_crop, fourier_pad, shift_images


@pytest.fixture
def noise():
    return torch.randn(3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def band_limited(box, highest, seed=0):
    """Draw images with nothing above `highest` cycles a box, `(2, box, box)`."""
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.fft.rfft2(torch.randn(2, box, box, dtype=torch.float64, generator=generator))
    ky, kx = torch.fft.fftfreq(box) * box, torch.fft.rfftfreq(box) * box
    inside = torch.hypot(ky[:, None], kx[None, :]) <= highest
    return torch.fft.irfft2(spectrum * inside, s=(box, box))


@pytest.mark.parametrize("size", [15, 16])
@pytest.mark.parametrize("box", [16, 17, 18, 24, 31, 32, 50])
def test_cropping_undoes_padding(noise, size, box):
    noise = noise[..., :size, :size]
    again = fourier_crop(fourier_pad(noise, box), size)
    torch.testing.assert_close(again, noise, atol=1e-12, rtol=0)


def test_cropping_undoes_padding_in_float32(noise):
    images = noise.float()
    assert (fourier_crop(fourier_pad(images, 40), 16) - images).abs().max() < 1e-6


def test_padding_passes_through_the_samples(noise):
    torch.testing.assert_close(fourier_pad(noise, 48)[..., ::3, ::3], noise)


def test_padding_undoes_cropping_of_band_limited_images():
    images = band_limited(32, highest=7)
    torch.testing.assert_close(fourier_pad(fourier_crop(images, 16), 32), images)


def test_grey_values_are_kept(noise):
    constant = torch.full((32, 32), 2.5)
    torch.testing.assert_close(fourier_crop(constant, 20), torch.full((20, 20), 2.5))
    torch.testing.assert_close(fourier_pad(constant, 44), torch.full((44, 44), 2.5))
    torch.testing.assert_close(fourier_pad(noise, 20).mean((-2, -1)), noise.mean((-2, -1)))


def test_energy_goes_with_the_area():
    images = band_limited(32, highest=7)
    smaller = fourier_crop(images, 16)
    torch.testing.assert_close(smaller.square().sum() * 4, images.square().sum())


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize("box", [24, 25, 40, 41])
def test_the_centre_stays_the_centre(size, box):
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    blob = torch.exp(-(x**2 + y**2) / 18)
    resized = fourier_crop(blob, box) if box < size else fourier_pad(blob, box)
    assert divmod(int(resized.argmax()), box) == (box // 2, box // 2)
    # The very values of a blob that is smaller or larger by the pixel sizes, at this centre.
    axis = (torch.arange(box, dtype=torch.float64) - box // 2) * size / box
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    torch.testing.assert_close(resized, torch.exp(-(x**2 + y**2) / 18), atol=2e-4, rtol=0)


@pytest.mark.parametrize(("shape", "box"), [((16, 12), 8), ((16, 16), 18)])
def test_rectangular_and_larger_boxes_are_refused(shape, box):
    with pytest.raises(ValueError, match="box"):
        fourier_crop(torch.zeros(shape), box)


def test_padding_to_a_smaller_box_is_refused():
    with pytest.raises(ValueError, match="pad"):
        fourier_pad(torch.zeros(16, 16), 8)


def test_whole_shifts_roll_the_image(noise):
    moved = shift_images(noise, torch.tensor([3.0, -2.0], dtype=torch.float64))
    torch.testing.assert_close(moved, noise.roll((-2, 3), dims=(-2, -1)), atol=1e-5, rtol=0)


def test_shifts_may_differ_between_images_and_undo_each_other():
    images = band_limited(16, highest=7)
    shifts = torch.tensor([[0.3, -1.7], [2.5, 0.1]])
    moved = shift_images(images, shifts)
    torch.testing.assert_close(shift_images(moved, -shifts), images)
    torch.testing.assert_close(moved[1], shift_images(images[1], shifts[1]))


def test_resizing_moves_shifts_with_the_pixel_size():
    images = band_limited(32, highest=6)
    shifts = torch.tensor([[2.6, 1.0], [-3.0, 0.4]])
    before = fourier_crop(shift_images(images, shifts), 16)
    after = shift_images(fourier_crop(images, 16), shifts / 2)
    np.testing.assert_allclose(before, after, atol=1e-9)
