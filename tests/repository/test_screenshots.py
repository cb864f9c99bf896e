"""The pictures of the guide are there and show something; what checks them when they are taken works."""

import re
import sys

import numpy as np
import pytest
from PIL import Image

from tests.places import REPOSITORY

DOCS = REPOSITORY / "docs"
NAMES = re.findall(r"^\.\. image:: (\S+)", (DOCS / "scipion.rst").read_text(), re.MULTILINE)


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "screenshots"))
    import screen

    yield screen
    del sys.modules["screen"]


@pytest.mark.parametrize("name", NAMES)
def test_picture_of_the_guide(name, screen):
    path = DOCS / name
    assert path.stat().st_size <= screen.MOST_BYTES
    with Image.open(path) as picture:
        assert not screen.is_blank(picture)
        assert min(picture.size) > 200


def test_every_picture_is_used():
    assert {path.name for path in (DOCS / "screenshots").iterdir()} == {
        name.rsplit("/", 1)[1] for name in NAMES
    }


def test_blank_pictures_are_noticed(screen):
    """A plain window, and one whose frame is there and whose contents are not drawn yet."""
    grey = Image.new("RGB", (300, 200), (217, 217, 217))
    assert screen.is_blank(grey)
    undrawn = np.asarray(grey).copy()
    undrawn[:160] = 255
    assert screen.is_blank(Image.fromarray(undrawn))
    drawn = undrawn.copy()
    drawn[20:120:10, 20:280:4] = 0
    assert not screen.is_blank(Image.fromarray(drawn))


def test_pictures_are_saved_small(screen, tmp_path):
    """Noise hardly compresses: colours go first, then size."""
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3)).astype(np.uint8)
    size = screen.save_small(Image.fromarray(noise), tmp_path / "noise.png")
    assert size <= screen.MOST_BYTES
    with Image.open(tmp_path / "noise.png") as picture:
        assert picture.width >= 400
    plain = Image.new("RGB", (800, 600), (0, 90, 0))
    screen.save_small(plain, tmp_path / "plain.png")
    with Image.open(tmp_path / "plain.png") as picture:
        assert picture.size == (800, 600)
        assert picture.convert("RGB").getpixel((5, 5)) == (0, 90, 0)


def test_what_never_comes_is_an_error(screen):
    with pytest.raises(TimeoutError, match="the window did not come within 0 s"):
        screen.wait_for(lambda: None, "the window", 0.3)
    assert screen.wait_for(lambda: 7, "a number", 1) == 7
