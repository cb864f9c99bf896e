"""The table of the quality benchmark, its figures, and whether errors fall where they should."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.common.tables import Row
from benchmarks.quality.methods import ORACLE, RADIAL_FILTER
from benchmarks.quality.points import Point
from polardenoise.engine.runtime.files import replace_when_complete
from polardenoise.engine.runtime.pictures import make_figure

GAP = "gap closed: "

#: Axes on which errors should fall from each point to the next.
FALLING_AXES = ("SNR", "K")

LINES = {RADIAL_FILTER: ("black", "--"), ORACLE: ("black", "-")}


def make_row(
    point: Point, errors: dict[str, float | None], molecules: int, seconds: float
) -> dict[str, Any]:
    """Make the row of a point: the error of every method, and the share of the gap that each closes.

    Parameters
    ----------
    point : Point
        Which.
    errors : dict
        Method -> relative MSE, mean over the molecules; None where it does not apply. The radial filter and the oracle
        are among them.
    molecules : int
        How many.
    seconds : float
        That measuring the row took.
    """
    first, last = errors[RADIAL_FILTER], errors[ORACLE]
    assert first is not None
    assert last is not None
    between = {name: one for name, one in errors.items() if name not in LINES}
    closed = {
        f"{GAP}{name}": None if one is None else (first - one) / (first - last)
        for name, one in between.items()
    }
    images = point.images
    return {
        "axis": point.axis,
        "at": point.at,
        "SNR": f"{images.snr:g}",
        "K": point.set_size,
        RADIAL_FILTER: first,
        **between,
        ORACLE: last,
        **closed,
        "images judged": molecules * point.judged,
        "seconds": seconds,
    }


def list_methods(row: Row) -> list[str]:
    """List the methods of a table by its first row: those that close a share of the gap."""
    return [name.removeprefix(GAP) for name in row if name.startswith(GAP)]


def find_rises(rows: Sequence[Row], method: str, axis: str, tolerance: float = 0.0) -> list[str]:
    """Find where a method's error does not fall along an axis.

    Parameters
    ----------
    rows : sequence of mappings
        Of the table, or of its CSV file as `csv.DictReader` reads it.
    method : str
        A column.
    axis : str
        "SNR" or "K": its points are numbers.
    tolerance : float
        Share of the error that it may rise by.

    Returns
    -------
    list of str
        A line for every step at which the error is not below that of the point before.
    """
    points = [row for row in rows if row["axis"] == axis and row[method] not in (None, "")]
    points.sort(key=lambda row: float(row["at"] or 0))
    return [
        f"{method}: {axis} {before['at']} to {after['at']}: {before[method]} to {after[method]}"
        for before, after in pairwise(points)
        if not float(after[method] or 0) < (1 + tolerance) * float(before[method] or 0)
    ]


def list_rises(rows: Sequence[Row], joint: Sequence[str]) -> list[str]:
    """List where errors do not fall: of every method as the SNR grows, of joint ones and the oracle as K grows."""
    everything = [RADIAL_FILTER, *list_methods(rows[0]), ORACLE]
    falling = {"SNR": everything, "K": [*joint, ORACLE]}
    return [
        line
        for axis in FALLING_AXES
        for name in falling[axis]
        for line in find_rises(rows, name, axis)
    ]


def plot_axis(rows: Sequence[Row], axis: str, picture: Path) -> None:
    """Draw the errors along an axis, the radial filter and the oracle as black lines."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    points = [row for row in rows if row["axis"] == axis]
    is_number = axis in FALLING_AXES
    places = [float(row["at"] or 0) if is_number else n for n, row in enumerate(points)]
    figure = make_figure(7, 4.5)
    axes = figure.add_subplot()
    for name in [RADIAL_FILTER, *list_methods(points[0]), ORACLE]:
        known = [
            (place, float(value))
            for place, row in zip(places, points, strict=True)
            if (value := row[name]) is not None
        ]
        if not known:
            continue
        colour, style = LINES.get(name, (None, "-"))
        # Between kinds of images, lines would say more than is known: they only lead the eye.
        axes.plot(*zip(*known, strict=True), marker=".", color=colour, linestyle=style, label=name)
    axes.set(yscale="log", ylabel="relative MSE", xlabel=axis)
    if is_number:
        axes.set(xscale="log")
        axes.minorticks_off()
    axes.set_xticks(places, [str(row["at"]).replace(", ", ",\n") for row in points])
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(True, axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    with replace_when_complete(picture) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
