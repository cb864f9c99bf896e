"""The course of a training, drawn while it runs."""

import csv
import os

import numpy as np
from pwem.viewers import EmPlotter

# How often a window looks whether the training wrote another line, milliseconds.
REFRESH_INTERVAL = 3000
# Column of history.csv, title, label of the axis.
PANELS = (
    ("training_loss", "Training loss", "loss"),
    ("validation_relative_mse", "Error on molecules that are not trained on", "relative MSE"),
    ("learning_rate", "Learning rate", "learning rate"),
)


def read_history(path):
    """Read the engine's `history.csv`, also while it is being written.

    Parameters
    ----------
    path : str
        The file; it may not be there yet.

    Returns
    -------
    dict of str to ndarray
        Column to its `(rows,)` numbers, NaN where a cell is empty; no columns without the file.
    """
    if not os.path.exists(path):
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        # A line that is being written has fewer cells: it is whole at the next look.
        rows = [row for row in reader if None not in row.values()]
        names = reader.fieldnames or []
    return {name: np.array([read_number(row[name]) for row in rows]) for name in names}


def read_number(text):
    """Return the number in a cell, NaN for an empty one or one cut short."""
    try:
        return float(text)
    except ValueError:
        return np.nan


class TrainingCurves(EmPlotter):
    """Loss, error on molecules not trained on, and learning rate over the steps; keeps up with the file.

    Parameters
    ----------
    path : str
        `history.csv`; the window may be opened before there is one.
    title : str
        Written above.
    """

    def __init__(self, path, title):
        EmPlotter.__init__(
            self, x=len(PANELS), y=1, figsize=(6.5, 7.5), mainTitle=title, windowTitle=title
        )
        # The project may be left for another while the window stays open.
        self.path = os.path.abspath(path)
        self.seen = None
        self.timer = None
        self.lines = {}
        for column, name, label in PANELS:
            axis = self.createSubPlot(name, "step", label)
            (self.lines[column],) = axis.plot([], [], ".-", linewidth=1, markersize=4)
            axis.grid(True, alpha=0.3)
        self.status = self.figure.supxlabel("", fontsize=9)
        self.refresh()

    def refresh(self):
        """Draw what the file has by now.

        Returns
        -------
        bool
            Whether to look again: True until the window is closed.
        """
        if self.isClosed():
            return False
        seen = os.path.getmtime(self.path) if os.path.exists(self.path) else None
        if seen is None or seen != self.seen:
            self.seen = seen
            history = read_history(self.path)
            for column, line in self.lines.items():
                if column in history:
                    drawn = np.isfinite(history[column])
                    line.set_data(history["step"][drawn], history[column][drawn])
                    line.axes.relim()
                    line.axes.autoscale_view()
            self.status.set_text(describe_history(history))
            self.figure.canvas.draw_idle()
        return True

    def show(self, interactive=True, block=False):
        """Open the window and keep it up to date."""
        self.timer = self.figure.canvas.new_timer(interval=REFRESH_INTERVAL)
        self.timer.add_callback(self.refresh)
        self.timer.start()
        EmPlotter.show(self, interactive, block)


def describe_history(history):
    """Say in a line how far a training is."""
    if not len(history.get("step", ())):
        return "Nothing yet: the first point comes within a minute or two of the start."
    parts = [f"step {history['step'][-1]:.0f}"]
    if "seconds" in history:
        parts.append(f"{history['seconds'][-1] / 60:.1f} minutes")
    errors = history.get("validation_relative_mse", np.array([]))
    errors = errors[np.isfinite(errors)]
    if len(errors):
        parts.append(f"relative MSE {errors[-1]:.3f} (0 is perfect, 1 is an empty image)")
    return ", ".join(parts)
