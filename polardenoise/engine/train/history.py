"""The history of a training: its table, history.csv, and its curves as a picture."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import replace_when_complete
from polardenoise.engine.runtime.input_files import read_description
from polardenoise.engine.runtime.pictures import make_figure, save_figure

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
    rows = read_history(history)
    minutes = [float(row["seconds"]) / 60 for row in rows]
    figure = make_figure(6, 4)
    axes = figure.add_subplot()
    for column, label in (
        ("training_loss", "training sets (all SNRs and CTFs)"),
        ("validation_relative_mse", "validation (one view, K = 32, SNR 0.05, no CTF)"),
    ):
        axes.plot(minutes, [float(row[column]) for row in rows], marker=".", label=label)
    axes.set(xlabel="training time (minutes)", ylabel="relative MSE", yscale="log")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    save_figure(figure, picture)


def truncate_history(history: Path, step: int) -> None:
    """Drop the rows of steps that the checkpoint does not know: they are going to be computed again."""
    if not history.exists():
        return
    if step == 0:
        history.unlink()
        return
    kept = [row for row in read_history(history) if int(row["step"]) <= step]
    with replace_when_complete(history) as temporary:
        write_history(temporary, kept)


def write_history(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write the rows of a history.csv, as `read_history` gives them."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, HISTORY_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def read_last_error(history: Path) -> float | None:
    """Read the validation error in the last row of a history.csv."""
    rows = read_history(history) if history.exists() else []
    return float(rows[-1]["validation_relative_mse"]) if rows else None


def read_history(history: Path) -> list[dict[str, str]]:
    """Read the rows of a history.csv, as text; what a kill has cut short is passed over.

    Raises
    ------
    InputError
        If it is no table of a training.
    """
    cure = "remove it"
    try:
        lines = read_description(history, cure).decode("utf-8").splitlines()
        head, *rows = csv.reader(lines)
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise InputError(f"{history}: is no history of a training ({error}); {cure}") from error
    if tuple(head) != HISTORY_COLUMNS:
        raise InputError(f"{history}: is no history of a training; {cure}")
    return [dict(zip(HISTORY_COLUMNS, row, strict=True)) for row in rows if is_whole(row)]


def is_whole(row: list[str]) -> bool:
    """Tell whether a row has all its numbers."""
    try:
        numbers = [float(value) for value in row]
        return len(numbers) == len(HISTORY_COLUMNS) and int(row[0]) >= 0
    except ValueError:
        return False
