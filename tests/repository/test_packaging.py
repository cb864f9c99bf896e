"""What is published beside the wheel: its metadata, the source distribution, how to cite, forms for issues."""

import email
import importlib.metadata
import re
import subprocess
import sys
import tarfile

import pytest
import yaml
from docutils.core import publish_doctree

import polardenoise
from tests.places import REPOSITORY


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """Build the source distribution; nothing is left in the tree."""
    folder = tmp_path_factory.mktemp("sdist")
    words = ["-q", "egg_info", "--egg-base", folder, "sdist", "--dist-dir", folder]
    subprocess.run(
        [sys.executable, "-W", "ignore", "setup.py", *words],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as held:
        held.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def metadata(sdist):
    return email.message_from_string((sdist / "PKG-INFO").read_text(encoding="utf-8"))


def test_the_sdist_holds_what_is_built_and_no_benchmarks(sdist):
    names = {str(path.relative_to(sdist)) for path in sdist.rglob("*") if path.is_file()}
    needed = [
        REPOSITORY / "polardenoise" / name for name in ("protocols.conf", "polardenoise_logo.png")
    ]
    needed += (REPOSITORY / "polardenoise").rglob("*.py")
    needed += (REPOSITORY / "polardenoise" / "engine" / "report").glob("*.j2")
    needed += (REPOSITORY / "polardenoise" / "pretrained").glob("*/*.*")
    needed += (REPOSITORY / "polardenoise" / "templates").glob("*.json.template")
    needed += [REPOSITORY / name for name in ("setup.py", "README.rst", "LICENSE", "CITATION.cff")]
    assert {str(path.relative_to(REPOSITORY)) for path in needed} <= names
    weights = {name for name in names if name.endswith((".safetensors", ".pt", ".ckpt"))}
    assert weights, "the shipped models"
    assert all(name.startswith("polardenoise/pretrained/") for name in weights)
    for folder in ("benchmarks", "training", "docs/_build"):
        assert not any(name.startswith(f"{folder}/") for name in names), folder
    assert not any("__pycache__" in name for name in names)


def test_the_installer_of_scipion_finds_the_plugin(sdist, tmp_path, monkeypatch):
    """In an editable install it takes the package of the first `__init__.py` of SOURCES.txt for the plugin."""
    pytest.importorskip("scipion")
    from scipion.install.plugin_funcs import PluginInfo

    # As pip leaves a clone: what is listed lies beside the list.
    for one in (*sdist.iterdir(), *sdist.parent.glob("*.egg-info")):
        (tmp_path / one.name).symlink_to(one)
    (found,) = importlib.metadata.distributions(path=[str(tmp_path)])
    monkeypatch.setattr(PluginInfo, "setLocalPluginInfo", lambda plugin: None)
    plugin = PluginInfo("scipion-em-polardenoise", pluginSourceUrl=str(REPOSITORY), remote=False)
    plugin._dist = found
    assert plugin.getDirName() == "polardenoise"


def test_the_sdist_is_small(sdist):
    """A megabyte more than models and pictures of the documentation is something that slipped in."""
    sizes = {path: path.stat().st_size for path in sdist.rglob("*") if path.is_file()}
    known = ("polardenoise/pretrained/", "docs/pictures/", "docs/screenshots/")
    rest = [
        size for path, size in sizes.items() if not str(path.relative_to(sdist)).startswith(known)
    ]
    assert sum(rest) < 5e6


def test_metadata_is_complete(metadata):
    assert metadata["Name"] == "scipion-em-polardenoise"
    assert metadata["Version"] == polardenoise.__version__
    assert metadata["Author"] == "polardenoise developers"
    assert (metadata["License-Expression"] or metadata["License"]) == "GPL-3.0-or-later"
    urls = dict(value.split(", ", 1) for value in metadata.get_all("Project-URL"))
    assert {"Source", "Issues", "Changes", "Paper"} <= set(urls)
    assert all(url.startswith("https://") for url in urls.values())
    classifiers = metadata.get_all("Classifier")
    assert "Programming Language :: Python :: 3.12" in classifiers
    assert {"engine", "docs", "dev"} <= set(metadata.get_all("Provides-Extra"))


def test_the_description_is_rst_without_links_into_the_repository(metadata):
    """What the package index shows has no files beside it."""
    text = metadata.get_payload()
    tree = publish_doctree(text, settings_overrides={"report_level": 2, "halt_level": 2})
    links = [
        node["refuri"]
        for node in tree.findall(lambda node: "refuri" in getattr(node, "attributes", {}))
    ]
    pictures = [node["uri"] for node in tree.findall(lambda node: node.tagname == "image")]
    assert len(links) > 10
    assert pictures
    assert all(link.startswith("https://") for link in links + pictures)
    for link in links + pictures:
        inside = re.search(r"scipion-em-polardenoise(?:/blob)?/main/(.*)", link)
        assert inside is None or (REPOSITORY / inside.group(1)).is_file(), link


def test_the_citation_is_that_of_the_protocols():
    """One paper, told to GitHub and to Scipion."""
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == polardenoise.__version__
    paper = citation["preferred-citation"]
    bibtex = (REPOSITORY / "polardenoise" / "bibtex.py").read_text(encoding="utf-8")
    entry = bibtex.split("@article{anden2025", 1)[1].split("@article", 1)[0]
    plain = entry.replace("{", "").replace("}", "")
    for author in paper["authors"]:
        assert f"{author['family-names']}, {author['given-names']}" in plain
    for name in ("title", "journal", "url", "year"):
        assert str(paper[name]) in plain


@pytest.mark.parametrize("name", ["bug", "result", "wish"])
def test_forms_for_issues_have_what_github_asks_for(name):
    path = REPOSITORY / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml"
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    kinds = {part["type"] for part in form["body"]}
    assert kinds <= {"markdown", "textarea", "input", "dropdown", "checkboxes"}
    named = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(set(named)) == len(named) > 0
    assert all(part["attributes"].get("label") for part in form["body"] if "id" in part)


def test_the_environments_that_the_pages_make_are_not_committed():
    """By `python3 -m venv NAME` of the README and the documentation."""
    pages = [REPOSITORY / "README.rst", *(REPOSITORY / "docs").glob("*.rst")]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    names = {name for text in texts for name in re.findall(r"-m venv ([\w.-]+)", text)}
    ignored = (REPOSITORY / ".gitignore").read_text(encoding="utf-8").split()
    assert "env" in names
    assert {f"{name}/" for name in names} <= set(ignored)
