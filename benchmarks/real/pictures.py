"""Galleries: rows of the same particles, a row a method, as PNG."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from polardenoise.engine.report.figures import choose_grey_range, draw_picture
from polardenoise.engine.runtime.files import replace_when_complete

#: Screen pixels: of an image's pixel, between images, left of them for the label, and of a line of text.
MAGNIFICATION, GAP, MARGIN, LINE = 2, 4, 136, 15
DPI = 100


def draw_gallery(path: Path, rows: Mapping[str, Tensor], note: str) -> None:
    """Draw images row by row, pixel by pixel, 8 bits of grey.

    Parameters
    ----------
    path : Path
        The PNG.
    rows : mapping of Tensor
        `(k, N, N)` by label; the first row of an image is the lowest of the picture. Each row has a black and white of
        its own, the 1st and 99th percentiles of its pixels: denoised images have other units than raw ones.
    note : str
        A line below.
    """
    count, box = (int(size) for size in next(iter(rows.values())).shape[:2])
    tile = MAGNIFICATION * box + GAP
    width, height = MARGIN + count * tile, len(rows) * tile + 2 * LINE
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    for place, label in enumerate(rows):
        middle = 2 * LINE + (len(rows) - place - 0.5) * tile
        figure.text(8 / width, middle / height, label, va="center", fontsize=9)
    figure.text(8 / width, LINE / height, note, va="center", fontsize=8, color="0.3")
    canvas.draw()
    # From the top: the picture's own rows are turned over by `draw_picture`.
    page = np.asarray(canvas.buffer_rgba())[..., 0].astype(np.float32)
    for place, images in enumerate(rows.values()):
        for column, image in enumerate(show_images(images)):
            top, left = place * tile, MARGIN + column * tile
            page[top : top + tile - GAP, left : left + tile - GAP] = image
    with replace_when_complete(path) as temporary:
        temporary.write_bytes(draw_picture(page[::-1], (0.0, 255.0)))


def show_images(images: Tensor) -> np.ndarray:
    """Turn images into screen pixels from 0 to 255, magnified, the last row on top."""
    pixels = images.numpy().astype(np.float32)
    black, white = choose_grey_range(pixels)
    grey = 255 * np.clip((pixels - black) / (white - black), 0, 1)[:, ::-1]
    return grey.repeat(MAGNIFICATION, 1).repeat(MAGNIFICATION, 2)


def choose_one_of_each(names: list[str], most: int) -> list[int]:
    """Choose the middle particle of each micrograph, or evenly spaced ones of a set of one: not the best ones."""
    groups = sorted(set(names))
    if len(groups) == 1:
        return [round((place + 0.5) * len(names) / most) for place in range(most)]
    places = [[row for row, name in enumerate(names) if name == group] for group in groups[:most]]
    return [rows[len(rows) // 2] for rows in places]
