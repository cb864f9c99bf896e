"""The history of a training: its table, history.csv, and its curves as a picture."""

import csv
from pathlib import Path

from polardenoise.engine.runtime.files import replace_when_complete

HISTORY_COLUMNS = (
    "step",
    "seconds",
    "images",
    "learning_rate",
    "training_loss",
    "validation_relative_mse",
)


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


def truncate_history(history: Path, step: int) -> None:
    """Drop the rows of steps that the checkpoint does not know: they are going to be computed again."""
    if not history.exists():
        return
    with history.open(newline="") as stream:
        rows = list(csv.reader(stream))
    kept = [row for row in rows[1:] if row and row[0].isdigit() and int(row[0]) <= step]
    if step == 0:
        history.unlink()
        return
    with replace_when_complete(history) as temporary, temporary.open("w", newline="") as stream:
        csv.writer(stream).writerows([list(HISTORY_COLUMNS), *kept])


def read_last_error(history: Path) -> float | None:
    """Read the validation error in the last row of a history.csv."""
    if not history.exists():
        return None
    with history.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return float(rows[-1]["validation_relative_mse"]) if rows else None
