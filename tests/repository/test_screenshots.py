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
    assert {path.name for path in (DOCS / "screenshots").glob("*.png")} == {
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


def test_pictures_are_saved_small(screen, tmp_path, monkeypatch):
    """Noise hardly compresses: colours go first, then size."""
    monkeypatch.setattr(screen, "MOST_BYTES", screen.MOST_BYTES // 4)
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    size = screen.save_small(Image.fromarray(noise), tmp_path / "noise.png")
    assert size <= screen.MOST_BYTES
    with Image.open(tmp_path / "noise.png") as picture:
        assert picture.width >= 200
    plain = Image.new("RGB", (800, 600), (0, 90, 0))
    screen.save_small(plain, tmp_path / "plain.png")
    with Image.open(tmp_path / "plain.png") as picture:
        assert picture.size == (800, 600)
        assert picture.convert("RGB").getpixel((5, 5)) == (0, 90, 0)


def test_thin_lines_keep_their_colours(screen, tmp_path):
    """Two curves beside pictures of noise, so large that few colours are left."""
    grey = np.random.default_rng(0).integers(0, 256, (700, 900, 1)).astype(np.uint8)
    pixels = np.repeat(grey, 3, axis=2)
    pixels[:, :300] = 255
    pixels[100:102, :300], pixels[200:202, :300] = (31, 119, 180), (255, 127, 14)
    screen.save_small(Image.fromarray(pixels), tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        seen = np.asarray(picture.convert("RGB").resize((900, 700))).astype(int)
    blue, orange = seen[101, 150], seen[201, 150]
    assert blue[2] - blue[0] > 80
    assert orange[0] - orange[2] > 80


def test_what_never_comes_is_an_error(screen):
    with pytest.raises(TimeoutError, match="the window did not come within 0 s"):
        screen.wait_for(lambda: None, "the window", 0.3)
    assert screen.wait_for(lambda: 7, "a number", 1) == 7


# --------------------------- the forms that the pictures show ------------------------------
@pytest.fixture
def shown(monkeypatch):
    """The module that tells which form a picture shows; Scipion gets a folder of the tests' own."""
    from polardenoise.tests import scipion_project  # noqa: F401

    monkeypatch.syspath_prepend(str(REPOSITORY / "screenshots"))
    monkeypatch.syspath_prepend(str(REPOSITORY / "docs"))
    import forms_shown

    yield forms_shown
    for name in ("forms_shown", "forms"):
        del sys.modules[name]


def test_no_picture_is_older_than_its_form(shown):
    old = shown.find_old_pictures(DOCS / "screenshots")
    assert not old, f"older than the form they show: {', '.join(old)}: `make screenshots`"


def test_every_form_has_its_picture(shown):
    pictures = {shown.find_form(path.stem) for path in (DOCS / "screenshots").glob("*.png")}
    assert pictures - {None} == set(shown.hash_forms())


def define(**changes):
    """Define a form of two fields, as a protocol's is, with something changed in the second."""
    from pyworkflow.protocol import Protocol, params

    form = params.Form(Protocol())
    form.addSection(label=changes.pop("section", "Input"))
    first = {"label": "First", "help": "What comes first."}
    second = {"label": "Second", "help": "The rest.", "default": 3, **changes}
    names = second.pop("order", ("first", "second"))
    for name in names:
        form.addParam(name, params.IntParam, **(first if name == "first" else second))
    return form


@pytest.mark.parametrize(
    "change",
    [
        {"label": "Another"},
        {"help": "The rest of it."},
        {"default": 4},
        {"expertLevel": 1},
        {"condition": "first==1"},
        {"important": True},
        {"section": "Output"},
        {"order": ("second", "first")},
        {"order": ("first",)},
    ],
    ids=str,
)
def test_what_changes_a_form_changes_its_hash(shown, change):
    from forms import list_fields

    def hash_one(**changes):
        return shown.hash_fields(list_fields(define(**changes)))

    assert hash_one() == hash_one()
    assert hash_one(**change) != hash_one()


def test_a_picture_is_old_until_it_is_taken_again(shown, tmp_path, monkeypatch):
    """Only pictures that were taken are noted; figures, which show no form, never grow old."""
    for name in ("form_denoise", "form_denoise_2", "viewer_train", "figure_maps", "project"):
        (tmp_path / f"{name}.png").touch()
    shown.record_forms(tmp_path, ["form_denoise", "viewer_train", "figure_maps", "gone"])
    assert shown.find_old_pictures(tmp_path) == ["form_denoise_2", "project"]
    shown.record_forms(tmp_path, ["form_denoise_2", "project"])
    assert shown.find_old_pictures(tmp_path) == []
    as_they_are = shown.hash_forms()
    monkeypatch.setattr(
        shown, "hash_forms", lambda: {**as_they_are, "form_denoise": "another form"}
    )
    assert shown.find_old_pictures(tmp_path) == ["form_denoise", "form_denoise_2"]
