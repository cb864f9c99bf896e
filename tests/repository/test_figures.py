"""The figures of the documentation: what they show is so, they are what their programs draw, each has its command."""

import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from tests.places import REPOSITORY
from tests.repository.documentation import PAGES

DOCS = REPOSITORY / "docs"
#: How a picture is made again, by where it lies; the first that fits counts.
COMMANDS = [
    (r"docs/screenshots/", "make screenshots"),
    (
        r"docs/pictures/(polar_grid|rotation_as_shift|attention|error_by_images)",
        "docs/draw_figures.py",
    ),
    (r"docs/pictures/", "python -m benchmarks real"),
    (r"benchmarks/results/quality/", "python -m benchmarks quality"),
    (r"benchmarks/results/honesty/", "python -m benchmarks pure_noise"),
    (r"benchmarks/results/reconstruction/", "python -m benchmarks reconstruction"),
]


@pytest.fixture(scope="module")
def figures():
    sys.path.insert(0, str(DOCS))
    import draw_figures

    yield draw_figures
    sys.path.remove(str(DOCS))
    del sys.modules["draw_figures"]


def test_a_rotation_is_a_shift_along_the_angle(figures):
    image, turned, polar, polar_turned = figures.compute_shift()
    assert (image - turned).norm() > 0.3 * image.norm()
    assert (polar - polar_turned).norm() > 0.3 * polar.norm()
    rolled = polar.roll(figures.STEPS, -1)
    assert (rolled - polar_turned).norm() < 0.005 * polar.norm()


def test_attention_clusters_by_views_that_nobody_has_told(figures):
    """Of what an image takes, most is from its own view, by chance a quarter; and not from itself alone."""
    _, weights = figures.compute_attention()
    count = figures.VIEWS * figures.IMAGES_OF_A_VIEW
    assert weights.shape == (count, count)
    torch.testing.assert_close(weights.sum(1), torch.ones(count))
    view = torch.arange(count) // figures.IMAGES_OF_A_VIEW
    within = (weights * (view[:, None] == view)).sum(1)
    assert within.mean() > 0.7
    assert within.min() > 0.5
    assert weights.diagonal().mean() < 0.5


@pytest.mark.parametrize(
    "name", ["polar_grid", "rotation_as_shift", "attention", "error_by_images"]
)
def test_the_committed_figures_are_those_that_are_drawn(figures, tmp_path, name):
    path = tmp_path / "drawn.png"
    figures.FIGURES[name](path)
    with Image.open(path) as drawn, Image.open(DOCS / "pictures" / f"{name}.png") as committed:
        assert drawn.size == committed.size
        one, other = (np.asarray(each.convert("L"), dtype=float) for each in (drawn, committed))
        assert abs(one - other).mean() < 1
        assert one.std() > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_figure_stands_without_its_command(page):
    text = page.read_text()
    for name in re.findall(r"^ *\.\. image:: (\S+)", text, re.MULTILINE):
        path = (page.parent / name).resolve()
        assert path.is_file(), name
        place = str(path.relative_to(REPOSITORY))
        command = next((command for pattern, command in COMMANDS if re.match(pattern, place)), None)
        assert command is not None, f"{place}: nobody knows how it is made: see COMMANDS"
        assert command in text, f"{page.name} shows {place} and does not say `{command}`"
