"""The tables of README, docs and cards: two digits for people, and beside each the command that makes it again."""

import functools
import re

import pytest
from docutils import nodes
from docutils.core import publish_doctree

from tests.places import PACKAGE, REPOSITORY
from tests.repository.documentation import PAGES

CARDS = sorted((PACKAGE / "pretrained").glob("*/CARD.rst"))
#: A number with decimals that is no part of a version, a name or a date.
DECIMAL = re.compile(r"(?<![\w./-])\d+\.\d+(?![\w./])")
#: What makes a table, in the text of its section; or the word that nothing of the repository does.
MAKERS = re.compile(r"python -m benchmarks |make demo|[Bb]y hand")
#: Written from the forms: what their figures are is no result.
FORMS = REPOSITORY / "docs" / "protocols.rst"
#: From so many figures on, a table is one of results.
FIGURES = 4


@functools.cache
def read_tables(path):
    """Read the tables of a page with the section that each stands in; what its includes hold is in it."""
    settings = {"report_level": 5, "file_insertion_enabled": True, "input_encoding": "utf-8"}
    page = publish_doctree(
        path.read_text(encoding="utf-8"), source_path=str(path), settings_overrides=settings
    )
    found = []
    for table in page.findall(nodes.table):
        section = table.parent
        while not isinstance(section, (nodes.section, nodes.document)):
            section = section.parent
        found.append((table, section))
    return found


def find_figures(table):
    """Find the decimal numbers in the cells of a table; those of its head are names."""
    for body in table.findall(nodes.tbody):
        for entry in body.findall(nodes.entry):
            yield from DECIMAL.findall(entry.astext())


def has_too_many_digits(figure):
    """Tell whether a figure has more than two significant digits below 1, two decimals, or one from ten on."""
    whole, decimals = figure.split(".")
    if whole == "0":
        return len(decimals.lstrip("0")) > 2
    return len(decimals) > (2 if len(whole) == 1 else 1)


def name_page(page):
    """Name a page in the title of its test: cards have their model's name."""
    return f"{page.parent.name}/{page.name}" if page in CARDS else page.name


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        *(("0.048", False), ("0.0482", True), ("0.40", False), ("0.0", False), ("1.26", False)),
        *(("7.685", True), ("25.7", False), ("25.74", True), ("14.6597", True)),
    ],
)
def test_digits_are_counted(figure, expected):
    assert has_too_many_digits(figure) is expected


def test_figures_and_their_sections_are_found(tmp_path):
    page = tmp_path / "page.rst"
    (tmp_path / "part.rst").write_text(".. list-table::\n\n   * - 0.123\n     - v0.14.3, 1.5 A\n")
    page.write_text("Page\n====\n\nBy hand.\n\nInner\n-----\n\nText.\n\n.. include:: part.rst\n")
    ((table, section),) = read_tables(page)
    assert list(find_figures(table)) == ["0.123", "1.5"]
    assert not MAKERS.search(section.astext())


@pytest.mark.parametrize("page", [*PAGES, *CARDS], ids=name_page)
def test_figures_in_tables_have_two_digits(page):
    for table, _ in read_tables(page):
        long = [figure for figure in find_figures(table) if has_too_many_digits(figure)]
        assert not long, f"{page.name}: {', '.join(long)}: two digits, and all in a CSV"


@pytest.mark.parametrize("page", [*PAGES, *CARDS], ids=name_page)
def test_no_table_of_results_stands_without_its_command(page):
    for table, section in read_tables(page):
        if page != FORMS and len(list(find_figures(table))) >= FIGURES:
            title = section.next_node(nodes.title).astext()
            assert MAKERS.search(section.astext()), (
                f"{page.name}, {title}: say which command makes the table, or that it was made by hand"
            )
