"""The training curves as a picture."""

import csv
from pathlib import Path

from polardenoise.engine.outputs import replace_when_complete


def plot_history(history: Path, picture: Path) -> None:
    """Draw training loss and validation error of a history.csv against training minutes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with history.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    minutes = [float(row["seconds"]) / 60 for row in rows]
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for column, label in (
        ("training_loss", "training sets (all SNRs and CTFs)"),
        ("validation_relative_mse", "validation (one view, K = 32, SNR 0.05, no CTF)"),
    ):
        axes.plot(minutes, [float(row[column]) for row in rows], marker=".", label=label)
    axes.set(xlabel="training time (minutes)", ylabel="relative MSE", yscale="log")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    with replace_when_complete(picture) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
