"""The report as one page that holds its pictures itself: nothing lies beside it, nothing is fetched from anywhere.

`page.html.j2` is the page, `pieces.html.j2` what its sections are made of. Every `make_...` gives HTML in which all it
was given is escaped.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from polardenoise.engine.report.figures import GreyRange, choose_grey_range, draw_picture

#: Pixels of a picture, at most: it is shown 200 wide, twice that on fine screens.
LARGEST_PICTURE = 400

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)
PIECES = TEMPLATES.get_template("pieces.html.j2").module
NOTHING = Markup()
#: What a verdict comes to.
Tone = Literal["good", "mixed", "bad"]


@dataclass(frozen=True)
class Section:
    """A heading, what stands below it (ready HTML), and how it is to be read.

    Attributes
    ----------
    heading : str
        May be empty.
    body : Markup
        Made by the functions of this module.
    sentences : str
        How to read the section; folded away under its first sentence where there are several.
    folded : bool
        All of the section is folded away under its heading.
    whole : bool
        None of the sentences is folded away.
    """

    heading: str
    sentences: str
    body: Markup = NOTHING
    folded: bool = False
    whole: bool = False

    def split_sentences(self) -> tuple[str, str]:
        """Give the first of the sentences, and those that are folded away under it."""
        if self.whole:
            return self.sentences, ""
        first, *others = re.split(r"(?<=[.:]) (?=[A-Z])", self.sentences)
        return first, " ".join(others)


def fill(macro: str, *values: object) -> Markup:
    """Fill in a macro of `pieces.html.j2`."""
    filled: Markup = getattr(PIECES, macro)(*values)
    return filled


def make_facts(rows: Sequence[tuple[str, str]]) -> Markup:
    """Make an HTML table of names and what is said of them."""
    return fill("facts", rows)


def make_listing(text: str) -> Markup:
    """Make a block of commands or of a file, as they are."""
    return fill("listing", text)


def make_paragraph(text: str) -> Markup:
    """Make a paragraph."""
    return fill("paragraph", text)


def make_caution(text: str) -> Markup:
    """Make a paragraph that a reader should not miss."""
    return fill("caution", text)


def make_verdict(text: str, tone: Tone) -> Markup:
    """Make the paragraph that says in a line what a run has come to: green, orange or red."""
    return fill("verdict", text, tone)


def make_grid(pictures: Sequence[Markup]) -> Markup:
    """Put pictures into columns of one width, as many as the screen has room for."""
    return fill("columns", "grid", pictures)


def make_pair(pictures: Sequence[Markup]) -> Markup:
    """Put a picture, or two that belong together, where they stay side by side."""
    return fill("columns", "pair", pictures)


def make_threes(pictures: Sequence[Markup]) -> Markup:
    """Put pictures three a line, on narrow screens too: what belongs together stays side by side."""
    return fill("columns", "three", pictures)


def stack_parts(parts: Sequence[Markup]) -> Markup:
    """Put parts of a section below one another."""
    return Markup("\n").join(parts)


def make_plot(name: str, png: bytes, description: str) -> Markup:
    """Make a curve or a histogram with its caption, as wide as it is drawn or as the screen."""
    return fill("plot", name, embed(png), description)


def make_picture(
    name: str, image: np.ndarray, caption: str, grey_range: GreyRange | None = None
) -> Markup:
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
    return fill("picture", name, embed(png), caption, f"{black:.3g}", f"{white:.3g}")


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
    template = TEMPLATES.get_template("page.html.j2")
    page = template.render(title=title, sections=sections, generator=generator)
    # Names of files that are no UTF-8 have their bytes spelt out.
    path.write_text(page, encoding="utf-8", errors="backslashreplace")
