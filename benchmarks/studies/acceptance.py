"""What is asked of the model that `denoise` uses: its error beside a single-image network's, a filter's and the limit.

    python -m benchmarks acceptance -o benchmarks/results [--aspire-python PYTHON] [SOURCE ...]

Test molecules at 64 px, B-factor 150, filling 0.7 of the box, with the defaults of `denoise` but for what a row says:

one view
    64 images a view, SNR 0.02, no CTF, in sets of one view: at most half of the baseline's relative MSE, and at least
    80 % of the gap between the radial filter and the oracle closed.
views mixed
    128 images of 4 views, SNR 0.02, no CTF, nobody knows which is which: at most 0.6 of the baseline's.
random views
    2,000 particles of uniformly random views in two halves, CTF, off the centre by up to 2 px along x and y, SNR 0.05:
    at most 0.75 of the DnCNN's, and below ASPIRE's class averages of phase-flipped images, which see both halves (on
    the first molecule).

The baseline is the better of the DnCNN, which was trained on the same images for the same time, and of the best radial
filter. *One pass* is the same network after its first pass, without evidence. Writes
`base_bars.csv` and `.rst`, with a mean row for each case, and these alone as `base_bars_means`.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.common.command import run
from benchmarks.common.places import list_molecules
from benchmarks.common.tables import Row, write_table
from benchmarks.quality.aspire import run_script
from benchmarks.quality.baselines import ask_oracle, filter_radially
from benchmarks.quality.images import (
    STRUCTURES,
    SimulatedImages,
    check_unseen,
    give_images,
    simulate_images,
)
from benchmarks.quality.points import MIXED, NEIGHBOURS, ONE_VIEW, Images, Point
from benchmarks.speed.aspire import ASPIRE_SCRIPT
from polardenoise.engine.evaluate.against_truth import relative_mse
from polardenoise.engine.imaging.ctf import phase_flip
from polardenoise.engine.networks.checkpoint import find_model, load_model, read_card, save_model
from polardenoise.engine.networks.registry import start_model_from
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles

PHANTOMS = ("phantom:10001", "phantom:10005")
ASPIRE_NEIGHBOURS = "20"
DENOISE_SEED = 0
FIGURES = ("radial filter", "DnCNN", "one pass", "polar transformer", "oracle", "ASPIRE")


@dataclass(frozen=True)
class Case:
    """Images, how they are denoised, and the most error, over the baseline's, that is asked for.

    Of the first `molecules` where that is given.
    """

    point: Point
    options: tuple[str, ...]
    most: float
    least_gap: float | None = None
    molecules: int | None = None

    @property
    def is_of_random_views(self) -> bool:
        """Whether the DnCNN alone is the baseline, and ASPIRE the other."""
        return self.point.group_by == NEIGHBOURS


CASES = (
    Case(
        Point("bars", "one view", Images(256, 4), ONE_VIEW, 64, 256),
        ("--ignore-halves", "--group-by", ONE_VIEW, "--set-size", "64"),
        0.5,
        0.8,
    ),
    Case(
        Point("bars", "views mixed", Images(128, 4), MIXED, 128, 128),
        ("--ignore-halves", "--set-size", "64"),
        0.6,
    ),
    Case(
        Point("bars", "random views", Images(2000, 0, 0.05, True, 2.0), NEIGHBOURS, 32, 2000),
        (),
        0.75,
        molecules=3,
    ),
)


def measure_molecule(
    source: str,
    case: Case,
    models: dict[str, str],
    aspire_python: str | None,
    folder: Path,
) -> dict[str, float]:
    """Measure every relative MSE of one molecule."""
    data = simulate_images(source, case.point.images, folder)
    ways: dict[str, Callable[[], Tensor]] = {
        "radial filter": lambda: filter_radially(data.noisy, data, case.point.judged),
        **{name: partial(denoise, data, model, case.options) for name, model in models.items()},
    }
    if case.least_gap is not None:
        ways["oracle"] = lambda: ask_oracle(data, case.point, DENOISE_SEED)
    if case.is_of_random_views and aspire_python is not None:
        ways["ASPIRE"] = lambda: average_classes(data, case.point, aspire_python)
    return {name: relative_mse(estimate(), data.truth) for name, estimate in ways.items()}


def denoise(data: SimulatedImages, model: str, options: tuple[str, ...]) -> Tensor:
    """Denoise what a denoiser is given, by the command line that users have."""
    output = data.given.with_name("denoised.star")
    run(
        "denoise", str(data.given), "-o", str(output), "--model", model, "--seed", str(DENOISE_SEED), *options,
    )  # fmt: skip
    return torch.from_numpy(read_images(read_particles(output), slice(None)))


def average_classes(data: SimulatedImages, point: Point, python: str) -> Tensor:
    """Average classes of the phase-flipped images, as ASPIRE does, and filter the averages by the truth's spectra."""
    transfer = data.compute_transfer()
    assert transfer is not None  # random views have CTFs here
    give_images(data, phase_flip(data.noisy, transfer), data.given)
    words = ["--neighbours", ASPIRE_NEIGHBOURS]
    averages = run_script(ASPIRE_SCRIPT, words, python, data, point.judged)
    # Back to the CTFs' signs, as all that is filtered and compared has them.
    return filter_radially(phase_flip(averages, transfer), data, point.judged)


def judge(case: Case, figures: dict[str, float]) -> Row:
    """Make a row: the figures, what they come to, and whether that is what was asked for."""
    baseline = figures["DnCNN"]
    if not case.is_of_random_views:
        baseline = min(baseline, figures["radial filter"])
    ratio = figures["polar transformer"] / baseline
    met = ratio <= case.most
    row: Row = {name: f"{figures[name]:.4f}" if name in figures else "" for name in FIGURES}
    row["over baseline"] = f"{ratio:.3f}"
    row["asked for"] = f"{case.most:g}"
    row["gap closed"] = ""
    if case.least_gap is not None:
        gap = figures["radial filter"] - figures["oracle"]
        closed = (figures["radial filter"] - figures["polar transformer"]) / gap
        row["gap closed"] = f"{100 * closed:.0f} %"
        met = met and closed >= case.least_gap
    if "ASPIRE" in figures:
        met = met and figures["polar transformer"] < figures["ASPIRE"]
    row["met"] = "yes" if met else "no"
    return row


def cut_to_one_pass(model: str, folder: Path) -> str:
    """Save a polar transformer's weights as those of one that makes a single pass."""
    network, card = load_model(model)
    save_model(folder, start_model_from(network, card.architecture, {"passes": 1}), card)
    return str(folder)


def main(words: Sequence[str]) -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks acceptance", description=__doc__.splitlines()[0]
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="base", help="name or folder of a polar transformer")
    parser.add_argument("--baseline", default="base-dncnn", help="name or folder of a DnCNN")
    parser.add_argument("--aspire-python", help="an interpreter that imports aspire")
    arguments = parser.parse_args(words)
    sources = arguments.sources or list_molecules(PHANTOMS, STRUCTURES)
    for model in (arguments.model, arguments.baseline):
        check_unseen(read_card(find_model(model)), sources)
    rows: list[Row] = []
    one_pass = tempfile.TemporaryDirectory()
    models = {
        "DnCNN": arguments.baseline,
        "one pass": cut_to_one_pass(arguments.model, Path(one_pass.name)),
        "polar transformer": arguments.model,
    }
    for case in CASES:
        measured = []
        for number, source in enumerate(sources[: case.molecules]):
            # ASPIRE takes a quarter of an hour: the first molecule tells enough.
            aspire_python = arguments.aspire_python if number == 0 else None
            with tempfile.TemporaryDirectory() as scratch:
                figures = measure_molecule(source, case, models, aspire_python, Path(scratch))
            measured.append(figures)
            name = Path(source).name.split(".")[0]
            rows.append({"case": case.point.at, "molecule": name, **judge(case, figures)})
            print(rows[-1], flush=True)
        common = set.intersection(*(set(one) for one in measured))
        mean = {name: float(np.mean([one[name] for one in measured])) for name in common}
        rows.append({"case": case.point.at, "molecule": "mean", **judge(case, mean)})
        print(rows[-1], flush=True)
        write_table(rows, arguments.output, "base_bars")
        means = [row for row in rows if row["molecule"] == "mean"]
        write_table(means, arguments.output, "base_bars_means")
