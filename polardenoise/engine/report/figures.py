"""The pictures of a report: images pixel by pixel, and curves."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from polardenoise.engine.runtime.pictures import make_figure, state_maker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Of the pixels of an image, per cent: what lies beyond is black or white.
DARKEST, BRIGHTEST = 1, 99
SCORE_BINS = 50

GreyRange = tuple[float, float]


def choose_grey_range(images: np.ndarray) -> GreyRange:
    """Choose black and white: the 1st and 99th percentiles of the pixels."""
    black, white = (float(value) for value in np.percentile(images, (DARKEST, BRIGHTEST)))
    # An empty image is grey, not a failure of the drawing.
    return (black, white) if white > black else (black - 1.0, black + 1.0)


def draw_picture(image: np.ndarray, grey_range: GreyRange) -> bytes:
    """Draw an image as a PNG of 8 bits, one pixel for each of its own.

    Parameters
    ----------
    image : ndarray
        `(N, N)`, rows growing with y: the first row is the lowest of the picture, as everywhere here.
    grey_range : (float, float)
        Values shown black (0) and white (255), linear between.
    """
    black, white = grey_range
    grey = np.round(255 * np.clip((image - black) / (white - black), 0, 1)).astype(np.uint8)[::-1]
    png = io.BytesIO()
    facts = PngInfo()
    for key, value in state_maker("png").items():
        facts.add_text(key, str(value))
    Image.fromarray(grey).save(png, "PNG", pnginfo=facts)
    return png.getvalue()


def plot_residual_power(frequencies: np.ndarray, of_mean: np.ndarray, of_each: np.ndarray) -> bytes:
    """Draw the power of residuals relative to the noise over spatial frequency, as a PNG.

    Parameters
    ----------
    frequencies : ndarray
        `(rings,)`, 1/Angstrom.
    of_mean, of_each : ndarray
        `(rings,)` of the mean residual times the number of images, and of single residuals.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    def draw(axes: Axes) -> None:
        axes.plot(frequencies, of_mean, ".-", label="mean residual × number of images")
        axes.plot(frequencies, of_each, ".-", color="grey", label="single residuals")
        axes.axhline(1, color="black", linewidth=0.8, linestyle="--", label="noise alone")
        axes.set(
            xlabel="spatial frequency (1/Å)",
            ylabel="power relative to noise",
            yscale="log",
            xlim=(0, frequencies[-1]),
        )
        # Powers are near 1: the powers of ten would leave one number on the axis.
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())

    return _draw_plot(draw)


def plot_scores(score: np.ndarray, half: np.ndarray, proposed: float | None) -> bytes:
    """Draw how the scores `(n,)` of each half are distributed, and the least one if one is proposed, as a PNG."""

    def draw(axes: Axes) -> None:
        halves = np.unique(half)
        axes.hist(
            [score[half == one] for one in halves],
            bins=np.linspace(0, 1, SCORE_BINS + 1).tolist(),
            stacked=True,
            label=[f"half {one}" for one in halves],
        )
        if proposed is not None:
            axes.axvline(proposed, color="black", linestyle="--", label=f"proposed: {proposed:g}")
        axes.set(xlabel="score", ylabel="particles", xlim=(0, 1))

    return _draw_plot(draw)


def _draw_plot(draw: Callable[[Axes], None]) -> bytes:
    figure = make_figure(7, 3.5)
    axes = figure.add_subplot()
    draw(axes)
    axes.legend(fontsize=8)
    png = io.BytesIO()
    figure.savefig(png, dpi=100, format="png", metadata=state_maker("png"))
    return png.getvalue()
