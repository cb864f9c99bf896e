"""The documentation site: it builds without a warning, and every link inside it leads somewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

from tests.places import PACKAGE, REPOSITORY

DOCS = REPOSITORY / "docs"
#: Rooms of the engine whose functions are no API: the command line is described by its page.
WITHOUT_API = {"commands"}


class Links(HTMLParser):
    """Links and anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], {""}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given["id"]} if "id" in given else set()
        self.links += [given[name] for name in ("href", "src") if given.get(name)]


def build(source, output, builder="html"):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", builder, source, output],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site as `make docs` does, elsewhere; a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    finished = build(DOCS, folder)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return folder


def find_broken_links(site):
    pages = {
        path: Links(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
        if path.parent.name != "_static"
    }
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists() or (
                target in pages and unquote(parts.fragment) not in pages[target].anchors
            ):
                yield f"{path.relative_to(site)}: {link}"


def test_links_inside_the_site_resolve(site):
    assert len(list(site.rglob("*.html"))) > 100
    assert list(find_broken_links(site)) == []


def test_no_link_leads_to_a_source_of_a_page(site):
    """What is `files.rst` on GitHub is `files.html` here, and cards and tables lie in the repository."""
    pages = [path for path in site.glob("*.html") if path.stem not in ("genindex", "search")]
    links = {link for path in pages for link in Links(path.read_text(encoding="utf-8")).links}
    assert {"files.html", "workflows.html", "conventions.html"} <= links
    for link in links:
        if link.endswith(".rst"):
            inside = link.partition("/blob/main/")[2]
            assert inside, link
            assert (REPOSITORY / inside).is_file(), link


def test_every_page_stands_in_the_table_of_contents():
    listed = set(re.findall(r"^   (\w+)$", (DOCS / "index.rst").read_text(), re.MULTILINE))
    assert listed == {path.stem for path in DOCS.glob("*.rst")} - {"index"}


def test_every_module_of_the_engine_has_its_api(site):
    for path in (PACKAGE / "engine").rglob("*.py"):
        words = path.relative_to(REPOSITORY).with_suffix("").parts
        if len(words) < 4 or words[2] in WITHOUT_API:
            continue
        name = ".".join(words).removesuffix(".__init__")
        assert (site / "generated" / f"{name}.html").is_file(), name


def test_a_warning_fails_the_build(tmp_path):
    (tmp_path / "conf.py").write_text((DOCS / "conf.py").read_text())
    (tmp_path / "index.rst").write_text("Page\n====\n\n`nothing <nothing.rst>`_\n")
    finished = build(tmp_path, tmp_path / "site", "dummy")
    assert finished.returncode != 0
    assert "no file of this name: nothing.rst" in finished.stderr


def test_links_that_lead_nowhere_are_found(tmp_path):
    (tmp_path / "one.html").write_text(
        '<p id="here"><a href="two.html#no">a</a><a href="#here">b</a>'
    )
    (tmp_path / "two.html").write_text('<a href="three.html">c</a><a href="one.html#here">d</a>')
    assert sorted(find_broken_links(tmp_path)) == ["one.html: two.html#no", "two.html: three.html"]
