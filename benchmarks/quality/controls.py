"""Why a network can come closer to the truth than the oracle: controls at the points where it does, or nearly.

The oracle has the true rotations but knows nothing of molecules. A trained network does. Two ways to see that this, and
nothing else, is what it has over the oracle:

- One image of every set keeps its pixels and all others are replaced. If what the others give is their signal, then
  other noise on the same particles changes nothing, and pure noise in their place leaves what the network can do with
  one image.
- The oracle's averages, filtered not by spectra but by a network that sees one image at a time: perfect poses *and* a
  prior on molecules. Whoever has only these two does not get below it.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.quality.baselines import (
    ask_oracle,
    average_views,
    filter_radially,
    list_companions,
    put_into_frames,
)
from benchmarks.quality.images import SimulatedImages, choose_seed, give_images
from benchmarks.quality.journal import Figures
from benchmarks.quality.methods import DENOISE_SEED, ORACLE, RADIAL_FILTER, denoise_images
from benchmarks.quality.networks import TrainedNetwork
from benchmarks.quality.points import Point
from polardenoise.engine.evaluate.against_truth import relative_mse
from polardenoise.engine.imaging.disk import disk_mask

#: Above this K the network does not come near the oracle at the base SNR, and the oracle's averages are less noisy than
#: what networks are trained on.
LARGEST_SET = 16

#: Images that are denoised, the first of their set; one of each set of K is judged.
IMAGES = 128

#: How often the other images' noise is drawn anew.
DRAWS = 4

AS_IT_IS = "polar transformer"
OTHER_NOISE = "others: same particles, other noise"
PURE_NOISE = "others: pure noise"
SINGLE_IMAGE = "single image"
ORACLE_AND_PRIOR = "oracle's averages through the single-image network"

#: In the order of the table.
CONTROLS = (
    RADIAL_FILTER,
    SINGLE_IMAGE,
    AS_IT_IS,
    OTHER_NOISE,
    PURE_NOISE,
    ORACLE,
    ORACLE_AND_PRIOR,
)


def list_controlled(points: list[Point]) -> list[Point]:
    """List the points that controls are measured at: the smallest sets of the axis K, and the highest SNR."""
    small = [one for one in points if one.axis == "K" and one.set_size <= LARGEST_SET]
    clear = [one for one in points if one.axis == "SNR"]
    return [*small, *(one for one in clear if one.images.snr == max(p.images.snr for p in clear))]


def measure_controls(
    data: SimulatedImages,
    point: Point,
    joint: TrainedNetwork,
    single: TrainedNetwork,
    device: str,
) -> Figures:
    """Measure the relative MSE of one image of every set: as it is, and with the others replaced.

    Parameters
    ----------
    data : SimulatedImages
        White noise of variance 1, no CTF.
    point : Point
        Sets of one view.
    joint, single : TrainedNetwork
        The network in question, and one that sees one image at a time.
    device : str
        Where to compute.
    """
    count = min(IMAGES, len(data.noisy))
    everything = replace(point, judged=count)
    companions = list_companions(data, everything, DENOISE_SEED)
    rows = torch.tensor(sorted(int(wanted[0]) for _, wanted in companions))
    generator = torch.Generator().manual_seed(choose_seed(data.source))
    draws = [torch.randn(data.noisy.shape, generator=generator) for _ in range(DRAWS)]

    def denoise_one_of_each_set(others: Tensor) -> Tensor:
        images = others.clone()
        images[rows] = data.noisy[rows]
        return denoise_pixels(data, images, joint, device, everything)[rows]

    def denoise_alone(images: Tensor) -> Tensor:
        return denoise_pixels(data, images, single, device, None)

    averages, counts = average_for_prior(data, everything, draws[0][:count])
    estimates = {
        RADIAL_FILTER: filter_radially(data.noisy[:count], data, count)[rows],
        SINGLE_IMAGE: denoise_alone(data.noisy[rows]),
        AS_IT_IS: denoise_one_of_each_set(data.noisy),
        PURE_NOISE: denoise_one_of_each_set(draws[0]),
        ORACLE: ask_oracle(data, everything, DENOISE_SEED)[rows],
        ORACLE_AND_PRIOR: denoise_alone(averages[rows]) / counts[rows].sqrt(),
    }
    errors = {name: relative_mse(images, data.truth[rows]) for name, images in estimates.items()}
    redrawn = (denoise_one_of_each_set(data.clean + noise) for noise in draws)
    others = [relative_mse(images, data.truth[rows]) for images in redrawn]
    errors[OTHER_NOISE] = sum(others) / DRAWS
    return {name: errors[name] for name in CONTROLS}


def average_for_prior(data: SimulatedImages, point: Point, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Average at the true rotations, in each image's own frame, scaled to noise of variance 1 again.

    Parameters
    ----------
    data, point
        As for `measure_controls`.
    noise : Tensor
        `(n, N, N)` for the corners, which turning leaves empty: networks take the unit of the noise from there.

    Returns
    -------
    Tensor
        `(n, N, N)`.
    Tensor
        `(n, 1, 1)` the number of images in each average: its signal is the root of it times that of one image.
    """
    sums, weight = average_views(data, point, DENOISE_SEED)
    counts = weight[:, :1, :1]
    averages = put_into_frames(sums / counts.sqrt(), data, slice(0, point.judged))
    box = noise.shape[-1]
    return torch.where(disk_mask(box, box / 2 - 1) > 0, averages, noise), counts


def denoise_pixels(
    data: SimulatedImages,
    images: Tensor,
    network: TrainedNetwork,
    device: str,
    point: Point | None,
) -> Tensor:
    """Denoise other pixels `(n, N, N)` under the first rows, as far as `point` takes them; without one, alone."""
    with tempfile.TemporaryDirectory(dir=data.given.parent) as folder:
        star = Path(folder) / "particles.star"
        count = len(images) if point is None else point.denoised
        pixels = torch.zeros_like(data.noisy)
        pixels[: len(images)] = images
        give_images(data, pixels, star)
        return denoise_images(star, network, device, count, point=point)
