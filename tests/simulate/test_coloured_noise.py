"""Coloured noise: its spectrum is the wanted one, and the spectrum of real images is measured right."""

import numpy as np
import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.simulate.noise import draw_coloured_noise, sample_noise_power
from polardenoise.engine.simulate.noise_spectrum import (
    MEASURED,
    TABLE,
    NoiseSpectrum,
    average_spectra,
    correlate_corners,
    measure_noise_spectrum,
    transform_autocorrelation,
)

STAR = """data_
loop_
_rlnImageName
_rlnImagePixelSize
"""


def radial_power(images):
    """Mean power on rings of whole cycles per box, and how many Fourier samples each ring has."""
    box = images.shape[-1]
    cycles = np.fft.fftfreq(box) * box
    ring = np.hypot(cycles[:, None], cycles).round().astype(int).ravel()
    power = (np.abs(np.fft.fft2(images)) ** 2).mean(0).ravel() / box**2
    counts = np.bincount(ring)
    return np.bincount(ring, power) / counts, counts


@pytest.mark.parametrize("pixel_size", [1.31, 4.0])
def test_noise_has_the_wanted_spectrum_and_variance_one(pixel_size):
    box, count = 48, 400
    power = sample_noise_power(MEASURED, box, pixel_size)
    noise = draw_coloured_noise(count, power, np.random.default_rng(1)).numpy()
    assert noise.dtype == np.float32
    assert noise.var() == pytest.approx(1, abs=0.01)
    found, counts = radial_power(noise)
    cycles = np.fft.fftfreq(box) / pixel_size
    wanted = MEASURED.at(np.hypot(cycles[:, None], cycles))
    wanted /= wanted.mean()
    ring = np.hypot(np.fft.fftfreq(box)[:, None], np.fft.fftfreq(box)) * box
    ring = ring.round().astype(int).ravel()
    expected = np.bincount(ring, wanted.ravel()) / counts
    # Two of each ring's samples are conjugates: |F|^2 / P is exponential, of mean and deviation 1.
    deviation = np.sqrt(2 / (counts * count))
    assert (np.abs(found / expected - 1) < 5 * deviation).all()
    if pixel_size == 4.0:
        assert expected[2] > 2 * expected[20]


def test_noise_is_the_same_however_many_are_drawn_at_once():
    power = sample_noise_power(MEASURED, 16, 3.0)
    whole, parts = np.random.default_rng(3), np.random.default_rng(3)
    together = draw_coloured_noise(10, power, whole)
    apart = torch.cat([draw_coloured_noise(4, power, parts), draw_coloured_noise(6, power, parts)])
    torch.testing.assert_close(together, apart)


def test_a_flat_spectrum_gives_white_noise_unchanged():
    flat = NoiseSpectrum(np.array([0.0, 1.0]), np.array([7.0, 7.0]))
    noise = draw_coloured_noise(3, sample_noise_power(flat, 16, 2.0), np.random.default_rng(5))
    white = np.random.default_rng(5).standard_normal((3, 16, 16), dtype=np.float32)
    np.testing.assert_allclose(noise.numpy(), white, atol=1e-5)


def test_the_spectrum_of_corners_is_that_of_the_noise():
    """A bright particle in the middle, any scale and offset of each image: neither is seen."""
    box, pixel_size = 64, 2.0
    generator = np.random.default_rng(7)
    images = draw_coloured_noise(600, sample_noise_power(MEASURED, box, pixel_size), generator)
    y, x = np.mgrid[:box, :box] - box // 2
    particle = 20 * np.exp(-(x**2 + y**2) / 50)
    seen = (images.numpy() + particle) * generator.uniform(1, 9, (600, 1, 1)) + 40
    found = transform_autocorrelation(correlate_corners(seen).mean(0), pixel_size)
    assert found.frequency[-1] == pytest.approx(0.25)
    middle = slice(2, -1)
    ratio = found.power[middle] / MEASURED.at(found.frequency[middle])
    # The taper blurs the steep rise below 0.05/A over two cycles per box, 0.016/A.
    assert np.abs(ratio / np.median(ratio) - 1).max() < 0.25
    flat = found.frequency[middle] > 0.06
    assert np.abs(ratio[flat] / np.median(ratio[flat]) - 1).max() < 0.1


def write_set(folder, images):
    write_stack(folder / "stack.mrcs", torch.from_numpy(images), 2.0)
    rows = [f"{row + 1}@{folder / 'stack.mrcs'} 2.0\n" for row in range(len(images))]
    (folder / "set.star").write_text(STAR + "".join(rows))
    return folder / "set.star"


def test_a_set_is_measured_in_pieces(tmp_path, monkeypatch):
    images = np.random.default_rng(0).standard_normal((30, 32, 32)).astype(np.float32)
    star = write_set(tmp_path, images)
    whole = measure_noise_spectrum(star)
    assert whole.power[1:].mean() == pytest.approx(1, abs=0.1)
    monkeypatch.setattr("polardenoise.engine.simulate.noise_spectrum.IMAGES_AT_ONCE", 7)
    np.testing.assert_allclose(measure_noise_spectrum(star).power, whole.power, rtol=1e-6)


def test_sets_without_noise_are_refused(tmp_path):
    images = np.random.default_rng(0).standard_normal((3, 32, 32)).astype(np.float32)
    y, x = np.mgrid[:32, :32] - 16
    images[2, np.hypot(x, y) > 15] = 0
    with pytest.raises(InputError, match=r"row 3: no noise in the corners"):
        measure_noise_spectrum(write_set(tmp_path, images))
    with pytest.raises(InputError, match=r"8 px show too little background"):
        measure_noise_spectrum(write_set(tmp_path, images[:, :8, :8].copy()))


def test_the_shipped_spectrum_is_measured_again(shared_data):
    """The table in the code, from the real images that it names."""
    real = shared_data / "particles" / "real"
    stars = ["empiar_10076/empiar_10076_7.star", "aspire_sample/sample_particles_relion31.star"]
    again = average_spectra([measure_noise_spectrum(real / star) for star in stars], TABLE)
    np.testing.assert_allclose(again.frequency, MEASURED.frequency, atol=1e-9)
    np.testing.assert_allclose(again.power, MEASURED.power, atol=6e-4)


def test_pixels_that_overflow_are_refused_in_one_line(tmp_path, capfd):
    images = np.random.default_rng(1).normal(size=(4, 32, 32)).astype(np.float32) * 1e30
    write_stack(tmp_path / "a.mrcs", images, 4.0)
    rows = "".join(f"{n}@{tmp_path / 'a.mrcs'} 4.0\n" for n in range(1, 5))
    (tmp_path / "a.star").write_text(STAR + rows)
    words = ["simulate", "phantom:1", "--box", "16", "--particles", "2", "-o", str(tmp_path / "o")]
    assert main([*words, "--noise-like", str(tmp_path / "a.star")]) == 2
    message = capfd.readouterr().err
    assert message.count("\n") == 1
    assert "a.star: row 1: " in message
