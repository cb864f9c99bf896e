"""The documentation site: `make docs` builds it into docs/_build/html, and a warning fails the build.

The pages are written to be read on GitHub, too: they link to one another by the names of their files. Here such names
become links of the site, and links to files that are no page lead to the repository.
"""

import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
sys.path.insert(0, str(REPOSITORY))

from polardenoise import __version__  # noqa: E402

#: Where the repository is read.
GITHUB = "https://github.com/scipion-em/scipion-em-polardenoise"

project = "polardenoise"
author = "polardenoise developers"
version = release = __version__
language = "en"

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "code"
smartquotes = False

# Docstrings give types and shapes; signatures repeat the types as the code has them.
autosummary_generate = True
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_use_type_comments = False
add_module_names = False
python_use_unqualified_type_names = True
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "pydata_sphinx_theme"
html_title = "polardenoise"
html_logo = "../polardenoise/polardenoise_logo.png"
html_favicon = html_logo
html_show_copyright = False
html_show_sourcelink = False
# One tree of all pages on the left, whichever page is open.
html_sidebars = {"**": ["navigation.html"]}
html_theme_options = {
    "github_url": GITHUB,
    "navbar_center": [],
    "show_prev_next": True,
    "footer_start": ["sphinx-version"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}

#: Where files of the repository are shown that are no pages.
FILES = f"{GITHUB}/blob/main"
#: Pages under another name outside this folder.
ALIASES = {
    "README.rst": "index",
    "CONTRIBUTING.rst": "contributing",
    "CHANGES.rst": "changes",
    "polardenoise/pretrained/NAME/CARD.rst": "models",
}

#: Tables in all their digits, as the short ones of the pages name them.
TABLE = re.compile(r"benchmarks/results/[\w./-]+\.csv")

LOGGER = logging.getLogger(__name__)


class FileLinks(SphinxTransform):
    """Names of files become links: to pages of the site, or to the repository."""

    default_priority = 400

    def apply(self, **options: object) -> None:
        """Change the links, then the literals that name a page or a table."""
        for node in list(self.document.findall(nodes.reference)):
            target, _, anchor = node.get("refuri", "").partition("#")
            if not target or ":" in target:
                continue
            path = self.find_file(target)
            page = None if anchor else self.find_page(path)
            if page is not None:
                node.replace_self(self.make_link(page, *node.children))
            elif path is not None:
                node["refuri"] = f"{FILES}/{path}" + (f"#{anchor}" if anchor else "")
            else:
                LOGGER.warning("no file of this name: %s", target, location=node)
        for node in list(self.document.findall(nodes.literal)):
            name = node.astext()
            if not re.fullmatch(r"[\w./]+\.rst", name) or isinstance(node.parent, nodes.reference):
                continue
            page = self.find_page(name) or self.find_page(f"docs/{name}")
            if page is not None and page != self.env.docname:
                node.replace_self(self.make_link(page, node.deepcopy(), titled=True))
        for node in list(self.document.findall(nodes.literal)):
            name = node.astext()
            if TABLE.fullmatch(name) and not isinstance(node.parent, nodes.reference):
                if not (REPOSITORY / name).is_file():
                    LOGGER.warning("no table of this name: %s", name, location=node)
                link = nodes.reference("", "", node.deepcopy(), refuri=f"{FILES}/{name}")
                node.replace_self(link)

    def find_file(self, target: str) -> str | None:
        """Find the file of the repository that a link of this document names."""
        folder = Path(self.env.doc2path(self.env.docname)).parent
        path = (folder / target).resolve()
        return str(path.relative_to(REPOSITORY)) if path.exists() else None

    def find_page(self, path: str | None) -> str | None:
        """Find the page that shows a file of the repository."""
        if path in ALIASES:
            return ALIASES[path]
        if path is None or not re.fullmatch(r"docs/[\w/]+\.rst", path):
            return None
        page = path.removeprefix("docs/").removesuffix(".rst")
        return page if page in self.env.found_docs else None

    def make_link(
        self, page: str, *children: nodes.Node, titled: bool = False
    ) -> addnodes.pending_xref:
        """Make a link to a page, which Sphinx resolves and checks; its text is the page's title, or what it was."""
        return addnodes.pending_xref(
            "",
            *children,
            refdoc=self.env.docname,
            refdomain="std",
            refexplicit=not titled,
            reftype="doc",
            reftarget=f"/{page}",
            refwarn=True,
        )


def remove_stale_pages(app: Sphinx) -> None:
    """Remove generated pages of modules that are no longer there, and those of packages, which list modules."""
    for page in (HERE / "generated").glob("*.rst"):
        module = REPOSITORY.joinpath(*page.stem.split("."))
        if not module.with_suffix(".py").is_file():
            page.unlink()


def keep_colons(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Keep napoleon from taking what stands before a constant's first colon for its type."""
    if what in ("attribute", "data", "property"):
        lines.insert(0, "")


def keep_bars(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Keep bars of docstrings, such as those of |CTF|, which are magnitudes and no substitutions of rst."""
    for number, line in enumerate(lines):
        spans = re.split(r"(`+[^`]*`+)", line)
        lines[number] = "".join(
            span if span.startswith("`") else re.sub(r"(?<!\\)\|", r"\|", span) for span in spans
        )


def setup(app: Sphinx) -> None:
    """Tell Sphinx of the above."""
    # Before autosummary, which generates them at the same event with the usual priority.
    app.connect("builder-inited", remove_stale_pages, priority=100)
    app.connect("autodoc-process-docstring", keep_colons, priority=100)
    app.connect("autodoc-process-docstring", keep_bars)
    app.add_transform(FileLinks)
