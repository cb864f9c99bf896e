"""The picture of a null test: half-map correlations of pure noise, raw and denoised."""

from pathlib import Path
from typing import Any

import numpy as np

from polardenoise.engine.fsc import shell_frequencies
from polardenoise.engine.outputs import replace_when_complete

PANELS = {"random": "random poses", "aligned": "aligned to a reference"}
COLOURS = {"raw": "grey", "denoised": "C0"}


def plot_null(path: Path | str, summary: dict[str, Any]) -> None:
    """Draw the curves of `null_test.measure_null`: full lines without the halves' mean images, dotted with them.

    Parameters
    ----------
    path : Path | str
        The picture; its ending chooses the format. It appears complete or not at all.
    summary : dict
        Of the test.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    frequencies = shell_frequencies(summary["box"], summary["pixel_size"])
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(1, len(PANELS), number + 1) for number in range(len(PANELS))]
    for axes, (poses, title) in zip(panels, PANELS.items(), strict=True):
        for images, colour in COLOURS.items():
            name = f"{poses}/{images}"
            axes.plot(frequencies, summary["curves"][name], color=colour, label=images)
            with_mean = summary["curves_with_mean"][name]
            axes.plot(frequencies, with_mean, color=colour, linestyle=":", linewidth=1)
        axes.axhline(0, color="black", linewidth=0.6)
        axes.axhline(0.143, color="grey", linewidth=0.6, linestyle="--")
        axes.set(
            title=f"pure noise, {title}",
            xlabel="spatial frequency (1/Å)",
            xlim=(0, frequencies[-1]),
            ylim=(-0.3, 1.05),
            xticks=np.linspace(0, frequencies[-1], 5).round(3),
        )
    panels[0].set_ylabel("correlation of half maps (consistency)")
    panels[0].legend(fontsize=8, title="dotted: with the mean image")
    with replace_when_complete(path) as temporary:
        figure.savefig(temporary, dpi=120)
