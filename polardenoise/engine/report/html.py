"""The report as one page that holds its pictures itself: nothing lies beside it, nothing is fetched from anywhere."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polardenoise.engine.report.figures import GreyRange, choose_grey_range, draw_picture

#: Pixels of a picture, at most: it is shown 200 wide, twice that on fine screens.
LARGEST_PICTURE = 400

STYLE = """
body { font-family: sans-serif; max-width: 1240px; margin: 0 auto; padding: 12px; line-height: 1.45; }
p, table, pre, summary, ul { max-width: 60em; }
h1 { font-size: 1.5em; overflow-wrap: anywhere; }
h2 { font-size: 1.2em; margin: 1.6em 0 0.4em; }
p { margin: 0.4em 0; }
p.verdict { font-size: 1.15em; border-left: 6px solid #282; padding: 0.4em 0.8em; background: #f2f8f2; }
p.verdict.bad { border-color: #b20; background: #fdf1ee; }
p.caution { border-left: 4px solid #c60; padding-left: 0.8em; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, 195px); gap: 6px; margin: 0.6em 0; }
.three { display: inline-grid; grid-template-columns: repeat(3, 195px); gap: 6px; margin: 3px 16px 3px 0;
  vertical-align: top; }
figure { margin: 0; min-width: 0; }
figure img { width: 100%; aspect-ratio: 1; image-rendering: pixelated; display: block; background: #888; }
figcaption { padding: 2px 2px 4px; font-size: 12px; line-height: 1.3; color: #333; overflow-wrap: anywhere; }
figure.plot { margin: 0.6em 0; width: fit-content; max-width: 100%; }
figure.plot img { width: auto; max-width: 100%; height: auto; aspect-ratio: auto; background: none;
  image-rendering: auto; }
table { border-collapse: collapse; margin: 0.6em 0; width: 100%; }
th { text-align: left; padding-right: 1em; }
td.figure { font-variant-numeric: tabular-nums; }
td { border-bottom: 1px solid #ccc; padding: 0.25em 1em 0.25em 0; text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
td:first-child { width: 11em; }
pre { background: #f4f4f4; padding: 0.8em; overflow-x: auto; font-size: 85%; }
details { margin: 1.2em 0; }
details.how { margin: 0.4em 0; font-size: 90%; }
summary { cursor: pointer; font-weight: bold; }
@media (max-width: 480px) {
  .grid { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .three { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); margin-right: 0; }
  table, tbody, tr, td { display: block; }
  td:first-child { width: auto; border-bottom: 0; padding-bottom: 0; font-weight: bold; }
  figcaption { font-size: 11px; }
}
"""


@dataclass(frozen=True)
class Section:
    """A heading, what stands below it (ready HTML), and how it is to be read.

    Attributes
    ----------
    heading, body : str
        The heading may be empty.
    sentences : str
        How to read the section; folded away under its first sentence where there are several.
    folded : bool
        All of the section is folded away under its heading.
    whole : bool
        None of the sentences is folded away.
    """

    heading: str
    sentences: str
    body: str = ""
    folded: bool = False
    whole: bool = False


def make_facts(rows: Sequence[tuple[str, str]]) -> str:
    """Make an HTML table of names and what is said of them."""
    cells = (f"<td>{html.escape(name)}</td><td>{html.escape(text)}</td>" for name, text in rows)
    return "\n".join(["<table>", *(f"<tr>{pair}</tr>" for pair in cells), "</table>"])


def make_listing(text: str) -> str:
    """Make a block of commands or of a file, as they are."""
    return f"<pre>{html.escape(text)}</pre>"


def make_caution(text: str) -> str:
    """Make a paragraph that a reader should not miss."""
    return f'<p class="caution">{html.escape(text)}</p>'


def make_verdict(text: str, good: bool) -> str:
    """Make the paragraph that says in a line what a run has come to."""
    kind = "verdict" if good else "verdict bad"
    return f'<p class="{kind}">{html.escape(text)}</p>'


def make_grid(pictures: Sequence[str]) -> str:
    """Put pictures into columns of one width, as many as the screen has room for."""
    return '<div class="grid">' + "\n".join(pictures) + "</div>"


def make_threes(pictures: Sequence[str]) -> str:
    """Put pictures three a line, on narrow screens too: what belongs together stays side by side."""
    return '<div class="three">' + "\n".join(pictures) + "</div>"


def make_plot(name: str, png: bytes, description: str) -> str:
    """Make a curve or a histogram with its caption, as wide as it is drawn or as the screen."""
    name, words = html.escape(name), html.escape(description)
    return (
        f'<figure class="plot"><img data-name="{name}" src="{embed(png)}" alt="{words}">'
        f"<figcaption>{words}</figcaption></figure>"
    )


def make_picture(
    name: str, image: np.ndarray, caption: str, grey_range: GreyRange | None = None
) -> str:
    """Make a picture of an image `(N, N)` with its caption below it.

    Parameters
    ----------
    name : str
        What programs find it by.
    image : ndarray
        y up.
    caption : str
        A few words.
    grey_range : (float, float), optional
        Values that are black and white; they stand in the picture's tooltip.
    """
    black, white = grey_range or choose_grey_range(image)
    png = draw_picture(shrink(image, LARGEST_PICTURE), (black, white))
    words = html.escape(caption)
    return (
        f'<figure title="{words}: black {black:.3g}, white {white:.3g}">'
        f'<img data-name="{html.escape(name)}" src="{embed(png)}" alt="{words}">'
        f"<figcaption>{words}</figcaption></figure>"
    )


def embed(png: bytes) -> str:
    """Write a PNG as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def shrink(image: np.ndarray, largest: int) -> np.ndarray:
    """Average blocks of pixels until an image `(N, N)` is at most so wide; what does not fill a block is cut off."""
    factor = -(-image.shape[0] // largest)
    if factor == 1:
        return image
    size = image.shape[0] // factor
    image = image[: size * factor, : size * factor]
    averaged: np.ndarray = image.reshape(size, factor, size, factor).mean((1, 3))
    return averaged


def write_page(path: Path, title: str, sections: Sequence[Section], generator: str = "") -> None:
    """Write the page; `generator` says in its head, for programs, what made it."""
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta name="generator" content="{html.escape(generator)}">',
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
        f"<h1>{html.escape(title)}</h1>",
    ]
    parts += [make_section(section) for section in sections]
    page = "\n".join([*parts, "</body>\n</html>\n"])
    # Names of files that are no UTF-8 have their bytes spelt out.
    path.write_text(page, encoding="utf-8", errors="backslashreplace")


def make_section(section: Section) -> str:
    """Make a section: heading, its first sentence, pictures; further sentences folded away."""
    heading, text = html.escape(section.heading), section.sentences
    first, *others = [text] if section.whole else split_sentences(text)
    if section.folded:
        words = f"<p>{html.escape(section.sentences)}</p>" if section.sentences else ""
        return f"<details><summary>{heading}</summary>\n{words}{section.body}</details>"
    parts = [f"<h2>{heading}</h2>"] if heading else []
    parts += [f"<p>{html.escape(first)}</p>"] if first else []
    parts.append(section.body)
    if others:
        more = html.escape(" ".join(others))
        parts.append(
            f'<details class="how"><summary>How to read this</summary><p>{more}</p></details>'
        )
    return "\n".join(parts)


def split_sentences(text: str) -> list[str]:
    """Split a text at the full stops that a new sentence follows; at least one part."""
    return re.split(r"(?<=[.:]) (?=[A-Z])", text)
