"""A folder with the stacks of a set."""

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stacks(folder):
    """The pixels of a.mrcs and b.mrcs, which lie in the folder."""
    import mrcfile
    import numpy as np

    from polardenoise.tests.convert.convert_sets import BOX, PIXEL_SIZE

    pixels = {}
    for name in ("a.mrcs", "b.mrcs"):
        pixels[name] = np.random.default_rng(len(pixels)).normal(size=(6, BOX, BOX)).astype("f4")
        with mrcfile.new(name, overwrite=True) as file:
            file.set_data(pixels[name])
            file.set_image_stack()
            file.voxel_size = PIXEL_SIZE
    return pixels
