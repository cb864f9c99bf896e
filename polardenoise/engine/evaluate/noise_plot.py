"""The picture of a null test: half-map correlations of pure noise, spectra of what is left, and slices of the maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polardenoise.engine.evaluate.noise_bars import ALIKE
from polardenoise.engine.evaluate.noise_measures import NullTest
from polardenoise.engine.imaging.fsc import shell_frequencies
from polardenoise.engine.runtime.pictures import make_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = {"random": "random poses", "aligned": "aligned to a reference"}
COLOURS = {"raw": "grey", "denoised": "C0", ALIKE: "C1"}
#: Maps that are shown, in the greys of the reference.
SLICES = (
    "reference",
    "aligned/raw",
    "aligned/denoised",
    "aligned on denoised/raw",
    "true/noisy particles",
    "true/denoised particles",
    "true/residual of particles",
    "random/residual",
)


def plot_null(path: Path | str, test: NullTest) -> None:
    """Draw a null test.

    Parameters
    ----------
    path : Path | str
        The picture; its ending chooses the format. It appears complete or not at all.
    test : NullTest
        Curves: full lines without the halves' mean images, dotted with them. Slices: in the units of the reference,
        which is white at its highest.
    """
    figure = make_figure(13, 6.5)
    figure.suptitle(
        f"pure noise, {Path(test.summary['model']).name}: {test.summary['checks']}",
        fontsize=11,
        wrap=True,
    )
    above, below = figure.subfigures(2, 1, height_ratios=(1.6, 1))
    panels = above.subplots(1, len(PANELS) + 1)
    frequencies = shell_frequencies(test.summary["box"], test.summary["pixel_size"])
    for axes, poses in zip(panels, PANELS, strict=False):
        draw_correlations(axes, test, poses, frequencies)
    panels[1].legend(fontsize=8, title="dotted: with the mean image")
    draw_power(panels[-1], test, frequencies)
    white = float(test.slices["reference"].max())
    for axes, name in zip(below.subplots(1, len(SLICES)), SLICES, strict=True):
        axes.imshow(test.slices[name], cmap="gray", origin="lower", vmin=-white, vmax=white)
        amplitude = test.summary["amplitude"].get(name, 1.0)
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"{name.replace('/', chr(10))}\n{amplitude:.3f}", fontsize=8)
    below.supxlabel(
        "central slices of the maps in common greys, and how much of the reference is in each",
        fontsize=8,
    )
    save_figure(figure, path)


def draw_correlations(axes: Axes, test: NullTest, poses: str, frequencies: np.ndarray) -> None:
    """Draw the half-map correlations at one kind of poses over spatial frequency `(shells,)`, 1/Angstrom."""
    for images, colour in COLOURS.items():
        name = f"{poses}/{images}"
        if name not in test.summary["curves"]:
            continue
        axes.plot(frequencies, test.summary["curves"][name], color=colour, label=images)
        with_mean = test.summary["curves_with_mean"][name]
        axes.plot(frequencies, with_mean, color=colour, linestyle=":", linewidth=1)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.axhline(0.143, color="grey", linewidth=0.6, linestyle="--")
    axes.set(
        title=PANELS[poses],
        xlabel="spatial frequency (1/Å)",
        ylabel="correlation of half maps (consistency)",
        xlim=(0, frequencies[-1]),
        ylim=(-0.3, 1.05),
        xticks=np.linspace(0, frequencies[-1], 5).round(3),
    )


def draw_power(axes: Axes, test: NullTest, frequencies: np.ndarray) -> None:
    """Draw the power of what comes out and of what is taken away, relative to the noise."""
    for name, power in test.summary["power_to_noise"].items():
        axes.plot(frequencies[1 : len(power)], power[1:], label=name)
    axes.axhline(1, color="black", linewidth=0.6, linestyle="--")
    axes.set(
        title="power relative to raw noise",
        xlabel="spatial frequency (1/Å)",
        yscale="log",
        xlim=(0, frequencies[-1]),
        xticks=np.linspace(0, frequencies[-1], 5).round(3),
    )
    axes.legend(fontsize=8)
