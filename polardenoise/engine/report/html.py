"""Plain HTML of the report and its small pictures, nothing fetched from anywhere."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polardenoise.engine.report.figures import GreyRange, choose_grey_range, write_picture

STYLE = """
body { font-family: sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; line-height: 1.45; }
img { max-width: 100%; }
table { border-collapse: collapse; margin: 1em 0; }
td, th { border-bottom: 1px solid #ccc; padding: 0.25em 1em 0.25em 0; text-align: left; vertical-align: top; }
td.figure { text-align: right; font-variant-numeric: tabular-nums; }
pre { background: #f4f4f4; padding: 0.8em; overflow-x: auto; font-size: 85%; }
figure { display: inline-block; margin: 0.2em; vertical-align: top; text-align: center; font-size: 75%; }
figure img { width: 9em; image-rendering: pixelated; display: block; }
p.caution { border-left: 4px solid #c60; padding-left: 0.8em; }
"""


@dataclass(frozen=True)
class Section:
    """A heading, sentences, and what stands below them (ready HTML)."""

    heading: str
    sentences: str
    body: str = ""


def make_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Make an HTML table; every cell but the first of a row is a figure."""
    lines = ["<table><tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
    for first, *others in rows:
        cells = "".join(f'<td class="figure">{html.escape(cell)}</td>' for cell in others)
        lines.append(f"<tr><td>{html.escape(first)}</td>{cells}</tr>")
    return "\n".join([*lines, "</table>"])


def make_facts(rows: Sequence[tuple[str, str]]) -> str:
    """Make an HTML table of names and what is said of them."""
    cells = (f"<td>{html.escape(name)}</td><td>{html.escape(text)}</td>" for name, text in rows)
    return "\n".join(["<table>", *(f"<tr>{pair}</tr>" for pair in cells), "</table>"])


def make_picture(name: str, description: str) -> str:
    """Make an image element; `name` is a file beside the page."""
    return f'<p><img src="{html.escape(name)}" alt="{html.escape(description)}"></p>'


def make_panel(name: str, caption: str) -> str:
    """Make a small picture with lines below it; `name` is a file beside the page."""
    lines = "<br>".join(html.escape(line) for line in caption.split("\n"))
    return f'<figure><img src="{html.escape(name)}" alt="{html.escape(caption)}">{lines}</figure>'


def make_listing(text: str) -> str:
    """Make a block of commands or of a file, as they are."""
    return f"<pre>{html.escape(text)}</pre>"


def make_caution(text: str) -> str:
    """Make a paragraph that a reader should not miss."""
    return f'<p class="caution">{html.escape(text)}</p>'


def write_page(path: Path, title: str, sections: Sequence[Section], generator: str = "") -> None:
    """Write the page; `generator` says in its head, for programs, what made it."""
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta name="generator" content="{html.escape(generator)}">',
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
        f"<h1>{html.escape(title)}</h1>",
    ]
    for section in sections:
        parts.append(f"<h2>{html.escape(section.heading)}</h2>")
        parts.append(f"<p>{html.escape(section.sentences)}</p>")
        parts.append(section.body)
    page = "\n".join([*parts, "</body>\n</html>\n"])
    # Names of files that are no UTF-8 have their bytes spelt out.
    path.write_text(page, encoding="utf-8", errors="backslashreplace")


@dataclass(frozen=True)
class Pictures:
    """Writes small pictures into a folder and gives their HTML."""

    folder: Path

    def add(
        self, name: str, image: np.ndarray, caption: str, grey_range: GreyRange | None = None
    ) -> str:
        """Write `NAME.png` of an image `(N, N)`; the caption ends with its black and white values."""
        black, white = grey_range or choose_grey_range(image)
        write_picture(self.folder / f"{name}.png", image, (black, white))
        return make_panel(f"{name}.png", f"{caption}\nblack {black:.3g}, white {white:.3g}")
