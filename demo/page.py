"""The page that `make demo` leaves is made like the engine's reports; its pictures lie beside it."""

import functools
from collections.abc import Sequence

from markupsafe import Markup

from polardenoise.engine.report import html as report_html
from polardenoise.engine.report.html import make_caution, make_listing, write_page

__all__ = [
    "Section",
    "make_caution",
    "make_listing",
    "make_picture",
    "make_table",
    "write_page",
]

#: A section whose sentences are all to be read.
Section = functools.partial(report_html.Section, whole=True)


def make_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """Make an HTML table; every cell but the first of a row is a figure."""
    heads, cell = Markup("<th>{}</th>"), Markup('<td class="figure">{}</td>')
    lines = [Markup("<table><tr>") + Markup().join(map(heads.format, head)) + Markup("</tr>")]
    for first, *others in rows:
        cells = Markup().join(map(cell.format, others))
        lines.append(Markup("<tr><td>{}</td>{}</tr>").format(first, cells))
    return Markup("\n").join([*lines, Markup("</table>")])


def make_picture(name: str, description: str) -> Markup:
    """Make an image element; `name` is a file beside the page."""
    return Markup('<p><img class="plot" src="{}" alt="{}"></p>').format(name, description)
