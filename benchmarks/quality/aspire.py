"""ASPIRE's class averaging and covariance Wiener filter on the images of the quality benchmark.

Both run in an environment of their own, by the scripts in `benchmarks/`, and both are then given what the radial filter
is given: a radial filter with spectra from the truth, which also sets their scale.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.common.timing import run_python
from benchmarks.quality.baselines import filter_radially
from benchmarks.quality.images import SimulatedImages
from benchmarks.quality.methods import Method
from benchmarks.quality.points import BASE_SET_SIZE, NEIGHBOURS, Point
from benchmarks.speed.aspire import ASPIRE_SCRIPT

COVARIANCE_SCRIPT = ASPIRE_SCRIPT.with_name("covariance.py")

CLASS_AVERAGES, COVARIANCE = "ASPIRE class averages", "ASPIRE covariance filter"

#: The principal components of ASPIRE's invariants need more images than this.
FEWEST_IMAGES = 300


def list_aspire(python: str | None) -> list[Method]:
    """Give ASPIRE's methods, where there is an interpreter that imports it.

    Class averages take as many images as our sets, and are measured at the base K on sets that are large enough for
    ASPIRE's classification; the covariance filter sees a set of images as a whole and is measured without CTF, along
    the axes SNR and sets.
    """
    if python is None:
        return []

    def average(data: SimulatedImages, point: Point) -> Tensor:
        words = ["--neighbours", str(point.set_size)]
        images = run_script(ASPIRE_SCRIPT, words, python, data, point.judged)
        return filter_radially(images, data, point.judged)

    def filter_covariance(data: SimulatedImages, point: Point) -> Tensor:
        images = run_script(COVARIANCE_SCRIPT, [], python, data, point.judged)
        return filter_radially(images, data, point.judged)

    return [
        Method(
            CLASS_AVERAGES,
            average,
            lambda point: {"script": ASPIRE_SCRIPT.name, "set_size": point.set_size},
            is_large_enough,
        ),
        Method(
            COVARIANCE,
            filter_covariance,
            lambda point: {"script": COVARIANCE_SCRIPT.name},
            lambda point: point.axis in ("SNR", "sets"),
        ),
    ]


def is_large_enough(point: Point) -> bool:
    """Tell whether ASPIRE can classify the images of a point."""
    many = point.images.particles > FEWEST_IMAGES and point.set_size == BASE_SET_SIZE
    return many and (point.group_by == NEIGHBOURS or point.axis == "K")


def run_script(
    script: Path, options: list[str], python: str, data: SimulatedImages, judged: int
) -> Tensor:
    """Run one of the scripts on the images given: the first of what it gives, `(judged, N, N)`."""
    with tempfile.TemporaryDirectory(dir=data.given.parent) as name:
        folder = Path(name).absolute()
        estimates = folder / "estimates.npy"
        stack = data.given.with_suffix(".mrcs").absolute()
        run_python([str(script), str(stack), str(estimates), *options], python, folder)
        return torch.from_numpy(np.load(estimates))[:judged]
