"""First estimates of the images of large halves, cluster by cluster on the disk: templates are chosen among them.

Each cluster has a file of its own, which is complete or not there: a run that goes on computes those that are not.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.neighbours.centred_denoising import CentredCluster
from polardenoise.engine.runtime.arrays import read_arrays
from polardenoise.engine.runtime.files import replace_when_complete

#: What to do where a file of the run's folder cannot be used.
START_ANEW = "leave --resume out to start anew"
PATTERN = "estimates.*.npz"


@dataclass(frozen=True)
class FirstEstimates:
    """The first estimates of a cluster.

    Attributes
    ----------
    rows : ndarray
        `(n,)` of the particle set.
    estimates : Tensor
        `(n, box, box)` float32, at the centre.
    displacements : Tensor
        `(n, 2)` pixels, `(x, y)`: how far each particle lay off the centre; zeros where none does.
    """

    rows: np.ndarray
    estimates: Tensor
    displacements: Tensor


def name_estimates_file(folder: Path, number: int) -> Path:
    """Name the file with the first estimates of a cluster."""
    return folder / PATTERN.replace("*", f"{number:06d}")


def has_estimates_file(folder: Path, number: int) -> bool:
    """Tell whether the first estimates of a cluster are on the disk as they were written."""
    try:
        with zipfile.ZipFile(name_estimates_file(folder, number)) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def save_estimates(folder: Path, number: int, rows: np.ndarray, centred: CentredCluster) -> None:
    """Save the first estimates of a cluster, in half precision: a thousandth of their noise, and half of the disk."""
    estimates = centred.denoised.estimates.half().cpu().numpy()
    with replace_when_complete(name_estimates_file(folder, number)) as temporary:
        np.savez(
            temporary,
            rows=rows,
            estimates=estimates,
            displacements=centred.displacements.float().cpu().numpy(),
        )


def load_estimates(folder: Path, number: int) -> FirstEstimates:
    """Load the first estimates of a cluster.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    wanted = {"rows": ("i", 1), "estimates": ("f", 3), "displacements": ("f", 2)}
    saved = read_arrays(name_estimates_file(folder, number), wanted, START_ANEW)
    estimates, displacements = (
        torch.from_numpy(saved[name]).float() for name in ("estimates", "displacements")
    )
    return FirstEstimates(saved["rows"], estimates, displacements)
