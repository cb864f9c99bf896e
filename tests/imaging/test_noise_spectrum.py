"""The spectrum of the noise in the corners of images is measured right, with other particles in them or without."""

import numpy as np
import pytest

from polardenoise.engine.imaging.noise_spectrum import measure_ring_powers, typical_ring_power
from polardenoise.engine.imaging.rings import average_rings
from polardenoise.engine.simulate.noise import draw_coloured_noise, sample_noise_power
from polardenoise.engine.simulate.noise_spectrum import MEASURED

BOX, COUNT = 64, 200
#: Rings that the measure resolves; at finer pixels the rise at low frequencies is narrower than its two cycles per box.
MEASURABLE = slice(1, 30)


def draw_noise(pixel_size=3.0, seed=0):
    """Coloured noise and its power by ring."""
    power = sample_noise_power(MEASURED, BOX, pixel_size)
    images = draw_coloured_noise(COUNT, power, np.random.default_rng(seed)).numpy()
    return images, average_rings(power).numpy()


def typical(images):
    return typical_ring_power(measure_ring_powers(images))


@pytest.mark.parametrize("pixel_size", [3.0, 4.5])
def test_the_spectrum_of_the_corners_is_that_of_the_noise(pixel_size):
    images, power = draw_noise(pixel_size)
    found = typical(images)
    np.testing.assert_allclose(found[MEASURABLE], power[MEASURABLE], rtol=0.15)


def test_white_noise_is_flat():
    noise = np.random.default_rng(1).standard_normal((COUNT, BOX, BOX)).astype(np.float32)
    np.testing.assert_allclose(typical(noise), 1.0, rtol=0.1)


def test_units_and_background_have_no_part_in_it():
    images, _ = draw_noise()
    np.testing.assert_allclose(typical(7 - 3 * images), typical(images), rtol=1e-3)


def test_what_lies_in_the_middle_has_no_part_in_it():
    images, _ = draw_noise()
    known = typical(images)
    images[:, 10:54, 10:54] += 5.0
    np.testing.assert_array_equal(typical(images), known)


def test_a_neighbour_in_one_corner_of_most_boxes_hardly_changes_it():
    """The median over images would take the neighbours for noise: they lie in 7 boxes of 10."""
    images, _ = draw_noise()
    known = typical(images)
    pixel = np.arange(BOX)
    for number in range(0, int(0.7 * COUNT)):
        y, x = (60 * (number // 2 % 2) + 2, 60 * (number % 2) + 2)
        distance = (pixel[:, None] - y) ** 2 + (pixel - x) ** 2
        images[number] += 3.0 * np.exp(-distance / (2 * 5.0**2))
    crowded = typical(images)
    np.testing.assert_allclose(crowded, known, rtol=0.15)
    corners = measure_ring_powers(images)
    assert corners.mean((0, 1))[1] > 2 * known[1]  # what a mean would make of them
