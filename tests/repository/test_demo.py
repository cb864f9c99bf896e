"""The parts of the demo that need no project: its page, its pictures, the commands it finds in logs."""

import re
import sys

import numpy as np
import pytest

from tests.places import REPOSITORY

DEMO = REPOSITORY / "demo"

LOG = """\
Protocol starts
** Running command: **
\x1b[32m /opt/python -m polardenoise.engine denoise a.star -o b.star\x1b[0m
denoise: 8/8 images, 3 images/s, took 2.7 s
** Running command: **
\x1b[32m relion_reconstruct --i a.star\x1b[0m
"""


@pytest.fixture(autouse=True)
def demo_modules(monkeypatch):
    monkeypatch.syspath_prepend(str(DEMO))
    yield
    for name in ("figures", "page", "workflow", "report", "headless"):
        sys.modules.pop(name, None)


def test_page_needs_nothing_from_elsewhere(tmp_path):
    from page import Section, make_caution, make_listing, make_picture, make_table, write_page

    body = make_picture("a.png", "a <picture>") + make_listing("a < b && c")
    body += make_table(("x", "y"), [("<noisy>", "1.0")]) + make_caution("mind > this")
    write_page(tmp_path / "index.html", "A & B", [Section("Head", "words < words", body)])
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "A &amp; B" in page
    assert "words &lt; words" in page
    assert "&lt;noisy&gt;" in page
    assert "a &lt; b &amp;&amp; c" in page
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["a.png"]
    assert "http" not in page


def test_commands_are_found_in_a_log(tmp_path):
    from workflow import find_commands

    (tmp_path / "run.stdout").write_text(LOG)
    assert find_commands(tmp_path / "run.stdout") == [
        "/opt/python -m polardenoise.engine denoise a.star -o b.star",
        "relion_reconstruct --i a.star",
    ]


def test_pictures_are_drawn(tmp_path):
    from figures import draw_fsc_curves, draw_gallery, draw_slices

    images = np.random.default_rng(0).normal(size=(3, 16, 16))
    draw_gallery({"noisy": images, "truth": images}, tmp_path / "gallery.png")
    draw_slices({"truth": images[[0] * 16]}, tmp_path / "slices.png")
    curve, frequencies = np.linspace(1, 0, 9), np.arange(9) / 32
    curves = [("raw", "raw", "-", curve), ("denoised", "denoised", "--", curve)]
    draw_fsc_curves(curves, frequencies, 0.143, "halves", tmp_path / "fsc.png")
    for name in ("gallery", "slices", "fsc"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_resolutions_of_maps_are_read_off_their_curves():
    import torch
    from report import Maps

    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(16, 16, 16, generator=generator)
    same = Maps("embedded", "raw", truth, truth, truth, pixel_size=2.0)
    assert same.resolution_of_halves() == pytest.approx(4.0)
    assert same.resolution_to(truth) == pytest.approx(4.0)
    other = torch.randn(16, 16, 16, generator=generator)
    assert same.resolution_to(other) > 8.0
