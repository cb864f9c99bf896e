"""First estimates of the images of large halves, cluster by cluster on the disk: templates are chosen among them.

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
class FirstEstimates:
    """The first estimates of a cluster.

    Attributes
    ----------
    estimates : Tensor
        `(n, box, box)` float32, at the centre.
    displacements : Tensor
        `(n, 2)` pixels, `(x, y)`: how far each particle lay off the centre; zeros where none does.
    """

    estimates: Tensor
    displacements: Tensor


def name_estimates_file(folder: Path, number: int) -> Path:
    """Name the file with the first estimates of a cluster."""
    return folder / PATTERN.replace("*", f"{number:06d}")


def save_estimates(folder: Path, number: int, centred: CentredCluster) -> None:
    """Save the first estimates of a cluster, in half precision: a thousandth of their noise, and half of the disk."""
    save_arrays(
        name_estimates_file(folder, number),
        estimates=centred.denoised.estimates.half().cpu().numpy(),
        displacements=centred.displacements.float().cpu().numpy(),
    )


def load_estimates(folder: Path, number: int) -> FirstEstimates:
    """Load the first estimates of a cluster.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    wanted = {"estimates": ("f", 3), "displacements": ("f", 2)}
    saved = read_arrays(name_estimates_file(folder, number), wanted, START_ANEW)
    return FirstEstimates(*(torch.from_numpy(saved[name]).float() for name in wanted))
