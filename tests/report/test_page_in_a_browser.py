"""The report as a browser shows it, on a desk and on a phone: nothing sticks out, every picture has its caption."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.denoise_files import denoise, write_set
from tests.report.browser import find_browser, opened

#: CSS pixels of a desk's window, and of a phone.
SIZES = {"desk": (1280, 900), "phone": (390, 844)}
#: A name that no line of a phone can hold.
LONG = "a" * 90

MEASURE = """
(() => {
  const box = one => { const r = one.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  const root = document.documentElement;
  return {
    content: root.scrollWidth, window: root.clientWidth, inner: window.innerWidth,
    verdict: box(document.querySelector(".verdict")),
    folded: [...document.querySelectorAll("details")].every(one => !one.open),
    images: [...document.images].map(one => {
      const caption = one.closest("figure")?.querySelector("figcaption");
      return {
        name: one.dataset.name, loaded: one.complete && one.naturalWidth > 0, box: box(one),
        caption: caption?.textContent ?? "", below: caption ? box(caption) : null,
        cut: caption ? caption.scrollWidth > caption.clientWidth : true,
      };
    }),
    sticking: [...document.querySelectorAll("body *")].filter(one =>
      !one.closest("pre") && one.getBoundingClientRect().right > root.clientWidth + 1).map(one => one.tagName),
  };
})()
"""
OPEN_ALL = "document.querySelectorAll('details').forEach(one => { one.open = true; })"


@pytest.fixture(scope="module")
def report(model, tmp_path_factory):
    """A report with every section that there is: classes, scores, neighbours, residual and its map, long names."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_set(folder, 48)
        assert denoise(model, "--report", "r", output=f"{LONG}.star") == 0
    return folder / "r" / "index.html"


@pytest.fixture(scope="module", params=SIZES)
def shown(request, report, tmp_path_factory):
    """Show the report at a size: as it opens, its photograph, and with all that is folded opened."""
    browser = find_browser()
    if browser is None:
        pytest.skip("no browser: neither chromium nor google-chrome is on PATH")
    size = SIZES[request.param]
    with opened(browser, report, *size, tmp_path_factory.mktemp("profile")) as page:
        first, png = page.evaluate(MEASURE), page.photograph()
        page.evaluate(OPEN_ALL)
        return request.param, size, first, png, page.evaluate(MEASURE)


def test_nothing_sticks_out(shown):
    _, size, first, _, unfolded = shown
    for measured in (first, unfolded):
        assert measured["inner"] == size[0]
        assert measured["content"] <= measured["window"]
        assert not measured["sticking"]


def test_every_picture_is_loaded_and_has_its_caption_below(shown):
    images = shown[-1]["images"]
    assert len(images) > 24
    for one in images:
        left, top, right, bottom = one["box"]
        assert one["loaded"], one["name"]
        assert min(right - left, bottom - top) > 80, one["name"]
        assert one["caption"].strip(), one["name"]
        assert not one["cut"], one["name"]
        under = one["below"]
        assert bottom - 1 <= under[1] <= bottom + 8, one["name"]
        assert left - 1 <= under[0] < under[2] <= right + 1, one["name"]


def test_particles_stand_side_by_side_at_one_size(shown):
    """Raw, denoised and residual of a particle: 180 to 200 px each on a desk, three in a line on a phone too."""
    images = {one["name"]: one["box"] for one in shown[2]["images"]}
    kinds = ("noisy", "denoised", "residual")
    lines = [
        [images[name.replace("noisy", kind)] for kind in kinds]
        for name in images
        if name.endswith("_noisy") and name.replace("noisy", "residual") in images
    ]
    assert len(lines) == 9  # eight, and the slices of their maps
    for boxes in lines:
        widths = [box[2] - box[0] for box in boxes]
        assert len({box[1] for box in boxes}) == 1
        assert max(widths) - min(widths) < 1
        assert shown[0] == "phone" or 180 <= widths[0] <= 200


def test_what_comes_first_is_the_verdict_then_pictures(shown):
    _, size, first, _, _ = shown
    verdict, picture = first["verdict"][3], first["images"][0]["box"][1]
    assert verdict < size[1]  # of the first screen
    assert verdict < picture < 2 * size[1]
    assert first["folded"]


def test_the_photograph_shows_the_whole_page(shown):
    _, size, _, png, _ = shown
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.width == size[0]
        assert picture.height > 2 * size[1]
        greys = np.asarray(picture.convert("L"))
    assert greys.std() > 20
