"""What denoising a large set takes, by count: operations and bytes of each stage, and the least time of a processor.

    python -m benchmarks work_counts -o benchmarks/results [--images 1000000]

Each stage runs once, on a cluster of pure noise of the size that large halves are cut into, while every operation of
torch is counted: those of matrix products and convolutions by their sizes (a complex product as four real ones), those
of a real FFT of N numbers as 2.5 N log2 N, and the bytes of all tensors that an operation reads and writes, as if no
two operations were fused. Noise has no views: gathering of templates is counted at its most. What follows the sample is
multiplied by the number of images, the rest by the size of the sample.

The least time is that of an H100 SXM by its data sheet (989 TFLOP/s in bfloat16, 67 in float32, 3.35 TB/s): for each
stage the larger of arithmetic and memory. No launch, no transfer and no disk is in it; bytes of the disk stand beside.
"""

import argparse
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.common.tables import Row, write_table
from polardenoise.architectures import DEFAULT_MODEL
from polardenoise.engine.denoise.whole_halves.weight_learning import LEARNING_IMAGES
from polardenoise.engine.imaging.projections import prepare_volume
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import compute_image_harmonics, match_images
from polardenoise.engine.neighbours.centred_denoising import denoise_centred_cluster
from polardenoise.engine.neighbours.clusters import LANDMARKS, LARGEST_CLUSTER
from polardenoise.engine.neighbours.folds import FOLDS
from polardenoise.engine.neighbours.set_sizes import MOST_TOGETHER
from polardenoise.engine.neighbours.template_denoising import denoise_by_guess, see_images
from polardenoise.engine.neighbours.templates import MOST_TEMPLATES, Templates, prepare_templates
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.networks.polar_transformer import PolarTransformer
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.runtime.devices import mixed_precision
from polardenoise.engine.views.ab_initio import MOST_IMAGES, find_frames
from polardenoise.engine.views.alternation import FIRST_IMAGES, VIEWS
from polardenoise.engine.views.frames import spread_frames
from polardenoise.engine.views.poses import Views, draw_poses
from polardenoise.engine.views.volume_sums import begin_sums

#: Of an H100 SXM: operations a second by kind of number, bytes a second.
OPERATIONS_PER_SECOND = {"bfloat16": 989e12, "float32": 67e12}
BYTES_PER_SECOND = 3.35e12
HALVES, IMAGES_PER_SET = 2, 32
#: Passes over the disk: the particles are read, their working copies written and read, the result written.
DISK_PASSES = 4


class Count(TorchDispatchMode):
    """Counts what is computed inside: operations by kind of number, and bytes read and written.

    torch's own `FlopCounterMode` counts no FFT and no bytes, and complex products as real ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it."""
        found = func(*args, **(kwargs or {}))
        given, made = (
            [one for one in tree_leaves(part) if isinstance(one, Tensor)]
            for part in ((args, kwargs), found)
        )
        if not func.is_view:
            self.bytes += sum(one.numel() * one.element_size() for one in (*given, *made))
        kind = "bfloat16" if any(one.dtype == torch.bfloat16 for one in given) else "float32"
        self.operations[kind] += count_operations(func.overloadpacket.__name__, given, made)
        return found


def count_operations(name: str, given: list[Tensor], made: list[Tensor]) -> int:
    """Count the operations of a matrix product, a convolution or an FFT; others count as none."""
    if name in ("mm", "bmm", "addmm"):
        left, right = given[-2:]
        complex_factor = 4 if left.is_complex() else 1
        return 2 * complex_factor * left.numel() * right.shape[-1]
    if name in ("convolution", "mkldnn_convolution"):
        return 2 * made[0].numel() * given[1][0].numel()
    if name in ("_fft_r2c", "_fft_c2r"):
        real = given[0] if name == "_fft_r2c" else made[0]
        return round(2.5 * real.numel() * math.log2(real.shape[-1]))
    return 0


@dataclass(frozen=True)
class Stage:
    """What one stage takes.

    Attributes
    ----------
    name : str
        As the progress of `denoise` calls it.
    images : int
        That pass through it, of the whole set.
    count : Count
        Of `counted` images.
    counted : int
    """

    name: str
    images: int
    count: Count = field(repr=False)
    counted: int

    def tell(self) -> Row:
        """Give a row of the table."""
        share = self.images / self.counted
        operations = {kind: share * self.count.operations[kind] for kind in OPERATIONS_PER_SECOND}
        arithmetic = sum(
            number / OPERATIONS_PER_SECOND[kind] for kind, number in operations.items()
        )
        memory = share * self.count.bytes / BYTES_PER_SECOND
        return {
            "stage": self.name,
            "images": self.images,
            **{
                f"{kind}, GFLOP an image": number / self.images / 1e9
                for kind, number in operations.items()
            },
            "bytes an image, MB": share * self.count.bytes / self.images / 1e6,
            "arithmetic, s": arithmetic,
            "memory, s": memory,
            "least, s": max(arithmetic, memory),
        }


@dataclass(frozen=True)
class NoiseCluster:
    """A cluster of pure noise, and templates and views that it is seen through."""

    model: PolarTransformer
    images: Tensor
    ctf_rings: Tensor
    templates: Templates
    views: Views

    def estimate(self, precision: torch.dtype) -> None:
        """See the images through templates and views, then have the network denoise them."""
        templates = [self.templates, self.views.templates]
        seen = see_images(templates, self.images, self.ctf_rings, off_centre=False)
        guess = seen.guess(seen.expected.new_ones(len(seen.expected), self.images.shape[-1] // 2))
        with mixed_precision(self.images.device, precision):
            denoise_by_guess(self.model, seen, guess, IMAGES_PER_SET, most=MOST_TOGETHER)

    def find_first_poses(self) -> None:
        """Find the poses of the images that a volume begins with."""
        find_frames(self.images[:MOST_IMAGES], torch.Generator().manual_seed(0))

    def place(self) -> None:
        """Place the images in a volume and add them to it."""
        source = torch.Generator().manual_seed(0)
        frames = draw_poses(self.views, self.images, self.ctf_rings, source)
        sums = begin_sums(self.images.shape[-1], self.images.device)
        sums.add_images(self.images, self.ctf_rings, frames)

    def make_first_estimates(self, precision: torch.dtype) -> None:
        """Denoise the images among their neighbours, and through the estimates of all others."""
        with mixed_precision(self.images.device, precision):
            denoise_centred_cluster(
                self.model,
                self.images,
                self.ctf_rings,
                IMAGES_PER_SET,
                seed=0,
                most=MOST_TOGETHER,
            )

    def match_landmarks(self) -> None:
        """Compare the images with landmarks, by which clusters are formed."""
        rings = build_fourier_rings(self.images.shape[-1])
        harmonics = compute_image_harmonics(self.images, self.ctf_rings, rings)
        landmarks = rings.to_harmonics(self.images[:LANDMARKS])
        match_images(harmonics, self.ctf_rings, landmarks, rings)


def make_noise_cluster(images: int, templates: int) -> NoiseCluster:
    """Make a cluster of pure noise for the default model."""
    loaded, _ = load_model(DEFAULT_MODEL)
    model = as_joint(loaded)
    grid, source = model.average_grid, torch.Generator().manual_seed(0)
    noise = torch.randn(images, grid.box, grid.box, generator=source)
    shown = torch.randn(templates, grid.box, grid.box, generator=source)
    projections = prepare_templates(shown[:VIEWS][None], grid)
    volume = prepare_volume(torch.zeros(grid.box, grid.box, grid.box))
    return NoiseCluster(
        model,
        noise,
        torch.ones(images, grid.box // 2),
        prepare_templates(shown[None], grid),
        Views(projections, spread_frames(len(shown[:VIEWS]), source), volume),
    )


def count_stages(cluster: NoiseCluster, images: int, precision: torch.dtype) -> list[Stage]:
    """Count the stages of a set of so many images in two large halves."""
    counted = len(cluster.images)
    sample = HALVES * FOLDS * MOST_TEMPLATES
    learning = 4 * HALVES * FOLDS * LEARNING_IMAGES
    begun = HALVES * FOLDS * MOST_IMAGES
    # Each fold is placed twice: for the volume of either other one, some of it first.
    placed = 2 * (images + HALVES * FOLDS * FIRST_IMAGES)

    def take(name: str, number: int, work: Callable[[], object], of: int = counted) -> Stage:
        # Inference mode would not take operations apart that are made of others.
        with torch.no_grad(), Count() as count:
            work()
        return Stage(name, number, count, of)

    return [
        take("find related images", images + sample, cluster.match_landmarks),
        take("templates", sample, lambda: cluster.make_first_estimates(precision)),
        take("views, first poses", begun, cluster.find_first_poses, min(counted, MOST_IMAGES)),
        take("views", placed, cluster.place),
        take(
            "learn ring weights, denoise",
            images + learning,
            lambda: cluster.estimate(precision),
        ),
    ]


def tell_stages(stages: Iterable[Stage], images: int, box: int) -> list[Row]:
    """Give the rows of the table, their sum last."""
    rows = [stage.tell() for stage in stages]
    total: dict[str, str | int | float | None] = dict.fromkeys(rows[0])
    total |= {
        "stage": f"all; disk {DISK_PASSES * 4 * box**2 * images / 1e9:.0f} GB",
        "images": images,
    }
    for column in ("arithmetic, s", "memory, s", "least, s"):
        total[column] = sum(float(row[column] or 0) for row in rows)
    return [*rows, total]


def main(words: Sequence[str]) -> None:
    """Count everything and write the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks work_counts", description=__doc__.splitlines()[0]
    )
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--cluster", type=int, default=LARGEST_CLUSTER, metavar="N")
    parser.add_argument("--templates", type=int, default=MOST_TEMPLATES, metavar="N")
    arguments = parser.parse_args(words)
    cluster = make_noise_cluster(arguments.cluster, arguments.templates)
    stages = count_stages(cluster, arguments.images, torch.bfloat16)
    box = cluster.images.shape[-1]
    write_table(tell_stages(stages, arguments.images, box), arguments.output, "work_counts")
