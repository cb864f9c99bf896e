"""Stacks of a set are read where they lie; formats that the engine does not read are converted."""

import os

import mrcfile
import numpy as np
import pytest
import tifffile

from polardenoise.tests import scipion_project  # noqa: F401  (sets the environment before pwem)

from pwem.constants import NO_INDEX  # isort: skip
from pwem.emlib.image import ImageHandler  # isort: skip

from polardenoise.convert.convert import write_particles_star
from polardenoise.convert.particle_columns import OBJECT_ID
from polardenoise.convert.stacks import DENOISED_LABEL, convert_stack, is_denoised_stack
from polardenoise.convert.star_loops import read_loop
from polardenoise.tests.convert.convert_sets import (
    BOX,
    LOCATIONS,
    PIXEL_SIZE,
    make_set,
    read_pixels,
)


def test_rows_point_into_the_stacks_where_they_lie(stacks):
    write_particles_star(make_set(), "particles.star", "converted")
    rows = {int(row[OBJECT_ID]): row for row in read_loop("particles.star", "particles")}
    for number, (index, name) in LOCATIONS.items():
        assert rows[number]["rlnImageName"] == f"{index:06d}@{name}"
        assert rows[number]["rlnRandomSubset"] == str(number % 2 + 1)
        assert rows[number]["rlnClassNumber"] == str(number % 3 + 1)
        assert rows[number]["rlnGroupName"] == f"group_{number}"
        assert float(rows[number]["rlnCoordinateX"]) == 10 * number
    assert not os.path.exists("converted")
    assert not os.path.exists("particles.star.rows")
    optics = list(read_loop("particles.star", "optics"))
    assert len(optics) == 1
    assert float(optics[0]["rlnVoltage"]) == 200
    assert float(optics[0]["rlnImagePixelSize"]) == PIXEL_SIZE


@pytest.mark.parametrize("extension", ["stk", "tif", "spi"])
def test_other_formats_are_converted(folder, extension):
    pixels = np.random.default_rng(5).normal(size=(3, BOX, BOX)).astype("f4")
    handler = ImageHandler()
    image = handler.createImage()
    name = f"images.{extension}"
    if extension == "tif":
        tifffile.imwrite(name, pixels, photometric="minisblack")
    else:
        for index in range(3):
            image.setData(pixels[index])
            image.write((index + 1, name))
    particles = make_set(locations={2: (3, name), 5: (1, name)})
    write_particles_star(particles, "particles.star", "converted")
    for row, index in zip(read_loop("particles.star", "particles"), (2, 0)):
        number, path = row["rlnImageName"].split("@")
        assert path.startswith("converted/")
        np.testing.assert_allclose(read_pixels((int(number), path)), pixels[index], rtol=1e-6)
    convert_stack(name, "again.mrcs", 2.5)
    with mrcfile.open("again.mrcs") as file:
        assert file.voxel_size.x == 2.5
        assert file.is_image_stack()


def test_single_images_and_names_with_spaces(folder):
    pixels = np.random.default_rng(6).normal(size=(BOX, BOX)).astype("f4")
    os.mkdir("my data")
    with mrcfile.new("my data/one.mrc") as file:
        file.set_data(pixels)
    particles = make_set(locations={1: (NO_INDEX, "my data/one.mrc")})
    write_particles_star(particles, "particles.star", "converted")
    (row,) = read_loop("particles.star", "particles")
    index, path = row["rlnImageName"].split("@")
    assert int(index) == 1
    assert os.path.samefile(path, "my data/one.mrc")


def test_a_stack_that_the_engine_has_denoised_says_so(folder):
    """The wing has its own word for the engine's label."""
    engine = pytest.importorskip("polardenoise.engine.runtime.file_kinds")
    assert engine.DENOISED_LABEL.startswith(DENOISED_LABEL)
    with mrcfile.new("images.mrcs") as file:
        file.set_data(np.zeros((2, BOX, BOX), "f4"))
    assert not is_denoised_stack("images.mrcs")
    with mrcfile.open("images.mrcs", "r+") as file:
        file.add_label(engine.DENOISED_LABEL.decode())
    assert is_denoised_stack("images.mrcs")
    assert is_denoised_stack("images.mrcs:mrcs")
    assert not is_denoised_stack("gone.mrcs")
