"""Figures of images: rows of kinds over columns of particles, each panel with its own stated grey range."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pwem.viewers import EmPlotter

from polardenoise.viewers.images import get_grey_range

# Of a panel with its range, and of a line of text, inches.
PANEL_WIDTH, PANEL_HEIGHT, LINE_HEIGHT = 1.5, 1.7, 0.17
ESTIMATE_LABEL = "denoised (estimate,\nnot data)"
# What a learned estimate is taken for too easily.
ESTIMATE_NOTE = (
    "Denoised images are an estimate by a trained network, not data: look, sort and align with them,\n"
    "reconstruct from the raw particles."
)


@dataclass(frozen=True)
class Panel:
    """One image of a figure.

    Attributes
    ----------
    image : ndarray
        `(N, N)`, rows growing with y.
    title : str
        Written above it.
    grey_range : (float, float), optional
        Black and white; without it the image's own 1st and 99th percentiles.
    """

    image: Any
    title: str = ""
    grey_range: Any = None


def draw_rows(rows, title, note=""):
    """Draw rows of images.

    Parameters
    ----------
    rows : list of (str, list of Panel)
        Label of the row, and its images from left to right; rows may differ in length.
    title : str
        Of the figure and its window.
    note : str
        Written below.

    Returns
    -------
    EmPlotter
        With an axis for each image, row by row; under each its grey range.
    """
    columns = max(len(panels) for _, panels in rows)
    width = max(PANEL_WIDTH * columns + 0.4, 5.0)
    lines = [max(panel.title.count("\n") + bool(panel.title) for panel in row) for _, row in rows]
    height = PANEL_HEIGHT * len(rows) + LINE_HEIGHT * (sum(lines) + note.count("\n")) + 0.8
    plotter = EmPlotter(x=len(rows), y=columns, figsize=(width, height), windowTitle=title)
    plotter.figure.suptitle(title, fontsize=10)
    for place, (label, panels) in enumerate(rows):
        for column, panel in enumerate(panels):
            plotter.plot_count = place * columns + column
            axis = plotter.createSubPlot("", "", "")
            draw_panel(axis, panel)
            if column == 0:
                axis.set_ylabel(label, fontsize=9)
    if note:
        plotter.figure.supxlabel(note, fontsize=8)
    return plotter


def draw_panel(axis, panel):
    """Draw one image with its title and the range of its greys."""
    black, white = panel.grey_range or get_grey_range(panel.image)
    axis.imshow(panel.image, cmap="gray", vmin=black, vmax=white, origin="lower")
    axis.set_title(panel.title, fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_xlabel(f"{black:.3g} … {white:.3g}", fontsize=6, labelpad=2)


def cut_slices(volume):
    """Return the three central slices of a `(N, N, N)` volume with axes z, y, x: xy, xz, yz."""
    middle = len(volume) // 2
    return volume[middle], volume[:, middle], volume[:, :, middle]


def draw_volumes(volumes, title, note=""):
    """Draw the central slices of volumes, a volume a row.

    Parameters
    ----------
    volumes : list of (str, ndarray)
        Name and `(N, N, N)`, axes z, y, x.
    title, note : str
        As for `draw_rows`.
    """
    names = ("xy (z = 0)", "xz (y = 0)", "yz (x = 0)")
    rows = []
    for label, volume in volumes:
        # One range for the slices of one map: they are parts of one thing.
        grey_range = get_grey_range(np.stack(cut_slices(volume)))
        panels = [Panel(image, name, grey_range) for image, name in zip(cut_slices(volume), names)]
        rows.append((label, panels))
    return draw_rows(rows, title, note)
