"""Tables of the real sets: the one of the README, what is left to be told, the spread, the micrographs, the shells."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from benchmarks.common.tables import write_table
from benchmarks.real.limits import LIMITS
from benchmarks.real.score import Score

#: Scores by the name of the set, and by the method.
Scores = Mapping[str, Mapping[str, Score]]

#: Angstrom: shells lie between these; the first begins at the first ring.
SHELLS = (float("inf"), 40.0, 24.0, 16.0, 12.0, 9.0, 7.5)


def write_score_tables(scores: Scores, box: int, pixel_size: float, folder: Path) -> None:
    """Write `real`, `real_limits`, `real_spread`, `real_micrographs` and `real_shells` as CSV and rst."""
    rows = tabulate_methods(scores)
    write_table([row for row in rows if row["method"] not in LIMITS], folder, "real")
    write_table([row for row in rows if row["method"] in LIMITS], folder, "real_limits")
    write_table(tabulate_spread(scores), folder, "real_spread")
    write_table(tabulate_micrographs(scores), folder, "real_micrographs")
    write_table(tabulate_shells(scores, box, pixel_size), folder, "real_shells")


def tabulate_methods(scores: Scores) -> list[dict[str, str]]:
    """Give a row a method, a column a set: the error and its standard deviation among micrographs, two digits."""
    methods = next(iter(scores.values()))
    return [
        {"method": method}
        | {
            name: f"{of_set[method].relative_mse:.2f} ± {of_set[method].measure_spread():.2f}"
            for name, of_set in scores.items()
        }
        for method in methods
    ]


def tabulate_spread(scores: Scores) -> list[dict[str, str]]:
    """Give a row a set and method: its error, and how it differs from micrograph to micrograph."""
    rows = []
    for name, of_set in scores.items():
        for method, score in of_set.items():
            errors = score.by_micrograph.values()
            numbers = {
                "relative MSE": score.relative_mse,
                "spread": score.measure_spread(),
                "least": min(errors),
                "most": max(errors),
            }
            rows.append(
                {"set": name, "method": method}
                | {column: f"{value:.4f}" for column, value in numbers.items()}
            )
    return rows


def tabulate_micrographs(scores: Scores) -> list[dict[str, str]]:
    """Give a row a set and micrograph, a column a method."""
    rows = []
    for name, of_set in scores.items():
        for micrograph in next(iter(of_set.values())).by_micrograph:
            errors = {method: score.by_micrograph[micrograph] for method, score in of_set.items()}
            rows.append(
                {"set": name, "micrograph": micrograph}
                | {method: f"{error:.3f}" for method, error in errors.items()}
            )
    return rows


def tabulate_shells(scores: Scores, box: int, pixel_size: float) -> list[dict[str, str]]:
    """Give a row a set and shell, a column a method: the correlation with the truth."""
    rows = []
    for name, of_set in scores.items():
        for label, first, last in list_shells(box, pixel_size):
            cells = {
                method: f"{score.correlate_rings(first, last):.3f}"
                for method, score in of_set.items()
            }
            rows.append({"set": name, "shell": label} | cells)
    return rows


def list_shells(box: int, pixel_size: float) -> list[tuple[str, int, int]]:
    """Name the shells that have rings, with their first ring and the one after their last.

    Parameters
    ----------
    box : int
        Pixels.
    pixel_size : float
        Angstrom.
    """
    field = box * pixel_size
    edges = [max(1, min(round(field / angstrom), box // 2)) for angstrom in SHELLS]
    return [
        (f"{field / first:.0f} to {field / (last - 1):.1f} A", first, last)
        for first, last in pairwise(edges)
        if last > first
    ]
