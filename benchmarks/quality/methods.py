"""The methods of the quality benchmark: each gives the judged images of a point as it sees them."""

import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.baselines import ask_oracle, filter_radially
from benchmarks.quality.images import SimulatedImages
from benchmarks.quality.journal import Figures
from benchmarks.quality.networks import TrainedNetwork
from benchmarks.quality.points import BASE_SET_SIZE, MIXED, Point
from polardenoise.engine.denoise.options import DenoisePlan
from polardenoise.engine.denoise.pipeline import denoise_particles
from polardenoise.engine.evaluate.against_truth import relative_mse
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles

RADIAL_FILTER, ORACLE = "radial filter", "oracle"

#: Of the runs of `denoise`: the sets that it forms, which the oracle averages in.
DENOISE_SEED = 0


@dataclass(frozen=True)
class Method:
    """A way from noisy images to estimates.

    Attributes
    ----------
    title : str
        Its column of the table.
    estimate : callable
        Gives the judged images `(judged, N, N)`, with their CTFs, of images at a point.
    facts : callable
        What the estimate depends on beside the images and which of them are judged.
    applies : callable
        Tells whether the method has anything to say at a point.
    """

    title: str
    estimate: Callable[[SimulatedImages, Point], Tensor]
    facts: Callable[[Point], dict[str, Any]]
    applies: Callable[[Point], bool] = lambda point: True

    def measure(self, data: SimulatedImages, point: Point) -> Figures:
        """Compare the estimates with the truth."""
        estimate = self.estimate(data, point)
        return {"relative_mse": relative_mse(estimate, data.truth[: point.judged])}


def list_limits() -> list[Method]:
    """Give the two that know the truth."""
    return [
        Method(
            RADIAL_FILTER,
            lambda data, point: filter_radially(data.noisy[: point.judged], data, point.judged),
            lambda point: {},
        ),
        Method(
            ORACLE,
            lambda data, point: ask_oracle(data, point, DENOISE_SEED),
            lambda point: {**describe_sets(point), "seed": DENOISE_SEED},
        ),
    ]


def make_network_method(network: TrainedNetwork, device: str) -> Method:
    """Give a network as a method; what sees one image at a time does not depend on the sets."""

    def estimate(data: SimulatedImages, point: Point) -> Tensor:
        ctf_state = "auto" if point.images.with_ctf else "none"
        if network.is_joint:
            images = denoise_images(
                data.given, network, device, point.denoised, ctf_state=ctf_state, point=point
            )
            return images[: point.judged]
        return denoise_images(data.given, network, device, point.judged, ctf_state=ctf_state)

    def facts(point: Point) -> dict[str, Any]:
        model = {"weights": network.card.weights_sha256, "device": device}
        sets = {**describe_sets(point), "seed": DENOISE_SEED} if network.is_joint else {}
        return {**model, **sets}

    return Method(network.network.title, estimate, facts)


def describe_sets(point: Point) -> dict[str, Any]:
    """State how the images of a point are grouped."""
    return {"group_by": point.group_by, "set_size": point.set_size, "denoised": point.denoised}


def denoise_images(
    star: Path,
    network: TrainedNetwork,
    device: str,
    count: int,
    ctf_state: str = "auto",
    point: Point | None = None,
) -> Tensor:
    """Denoise as `polardenoise denoise` does, and read the images back.

    Parameters
    ----------
    star : Path
        What the denoiser is given. All of it is one half.
    network : TrainedNetwork
        The model.
    device : str
        "cpu" or "cuda".
    count : int
        The first so many images are denoised.
    ctf_state : str
        As `--ctf-state`; "none" says that the images have no CTF.
    point : Point, optional
        How images are grouped, for a network that looks at more than one.

    Returns
    -------
    Tensor
        `(count, N, N)`.
    """
    with tempfile.TemporaryDirectory(dir=star.parent) as folder:
        output = Path(folder) / "denoised.star"
        with redirect_stdout(StringIO()):
            denoise_particles(
                DenoisePlan(
                    particles=star,
                    output=output,
                    model=str(network.folder),
                    set_size=BASE_SET_SIZE if point is None else point.set_size,
                    group_by=MIXED if point is None else point.group_by,
                    contrast="bright",
                    ctf_state=ctf_state,
                    ignore_halves=True,
                    rows=slice(0, count),
                    seed=DENOISE_SEED,
                    device=device,
                )
            )
        denoised = read_particles(output)
        return torch.from_numpy(read_images(denoised, np.arange(len(denoised))))
