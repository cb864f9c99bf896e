"""A small set of two stacks and two optics groups."""

import numpy as np
import pytest

from polardenoise.engine.particles.mrc import write_stack
from tests.particles.set_texts import OPTICS, PARTICLES


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(5, 8, 8)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, images):
    """Make a folder with a.mrcs (3 images), b.mrcs (2 images) and a STAR file of four particles."""
    write_stack(tmp_path / "a.mrcs", images[:3], 1.25)
    write_stack(tmp_path / "b.mrcs", images[3:], 1.25)
    (tmp_path / "set.star").write_text(OPTICS + PARTICLES)
    return tmp_path
