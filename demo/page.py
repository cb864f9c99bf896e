"""The page that `make demo` leaves is made like the engine's reports; its pictures lie beside it."""

import functools
import html
from collections.abc import Sequence

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


def make_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Make an HTML table; every cell but the first of a row is a figure."""
    lines = ["<table><tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
    for first, *others in rows:
        cells = "".join(f'<td class="figure">{html.escape(cell)}</td>' for cell in others)
        lines.append(f"<tr><td>{html.escape(first)}</td>{cells}</tr>")
    return "\n".join([*lines, "</table>"])


def make_picture(name: str, description: str) -> str:
    """Make an image element; `name` is a file beside the page."""
    words = html.escape(description)
    return f'<p><img class="plot" src="{html.escape(name)}" alt="{words}"></p>'
