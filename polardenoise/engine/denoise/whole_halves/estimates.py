"""Estimates of the images that are templates, cluster by cluster on the disk.

Each cluster has a file of its own, which is complete or not there: a run that goes on computes those that are not.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from polardenoise.engine.denoise.plan import START_ANEW
from polardenoise.engine.neighbours.centred_denoising import CentredCluster
from polardenoise.engine.runtime.arrays import read_arrays, save_arrays

PATTERN = "estimates.*.npz"


@dataclass(frozen=True)
class TemplateEstimates:
    """The estimates of a cluster.

    Attributes
    ----------
    estimates : Tensor
        `(n, box, box)` float32, at the centre.
    displacements : Tensor
        `(n, 2)` pixels, `(x, y)`: how far each particle lay off the centre; zeros where none does.
    """

    estimates: Tensor
    displacements: Tensor


def name_sample_estimates(folder: Path, cluster: int) -> Path:
    """Name the file with the estimates of a cluster of the sample."""
    return folder / PATTERN.replace("*", f"sample.{cluster:06d}")


def name_final_estimates(folder: Path, cluster: int) -> Path:
    """Name the file with the final estimates of a cluster, of any half, which classes are made of."""
    return folder / PATTERN.replace("*", f"final.{cluster:06d}")


def save_estimates(path: Path, centred: CentredCluster) -> None:
    """Save the estimates of a cluster, in half precision: a thousandth of their noise, and half of the disk."""
    save_arrays(
        path,
        estimates=centred.denoised.estimates.half().cpu().numpy(),
        displacements=centred.displacements.float().cpu().numpy(),
    )


def load_estimates(path: Path) -> TemplateEstimates:
    """Load the estimates of a cluster.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    wanted = {"estimates": ("f", 3), "displacements": ("f", 2)}
    saved = read_arrays(path, wanted, START_ANEW)
    return TemplateEstimates(*(torch.from_numpy(saved[name]).float() for name in wanted))
