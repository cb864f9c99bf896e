"""The real sets beside the repository: particles with a near-truth, particles to look at, boxes without a particle.

They are for measuring. Nothing shipped is fitted on the particles, and none of them is part of the repository.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common.places import find_shared_data
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.runtime.errors import InputError

#: The apoferritin particles in three strengths of noise, by the names of their STAR files.
NOISES = {"rest": "SNR 0.25", "low": "SNR 0.05", "frame": "single frames"}
TRUTH = "truth"


@dataclass(frozen=True)
class RealSet:
    """Particles and what is known of them.

    Attributes
    ----------
    star : Path
        Their STAR file.
    images : Tensor
        `(n, N, N)` float32.
    micrographs : list of str
        `n` names; the STAR file's own where it names no micrographs.
    pixel_size : float
        Angstrom.
    """

    star: Path
    images: Tensor
    micrographs: list[str]
    pixel_size: float


def find_apoferritin() -> Path:
    """Name the folder of `rest.star`, `low.star`, `frame.star` and `truth.star`."""
    return find_shared_data() / "particles" / "real" / "apoferritin_empiar10146"


def find_beta_galactosidase() -> Path:
    """Name the STAR file of particles without CTF values and truth."""
    return find_shared_data() / "particles" / "real" / "betagal_empiar10204" / "job018_64.star"


def find_empty_boxes() -> Path:
    """Name the stack of boxes of the apoferritin micrographs without a particle."""
    return find_shared_data() / "particles" / "real" / "empty_boxes" / "k2_rest_64.mrcs"


def check_there(paths: Sequence[Path]) -> None:
    """Refuse files that are not there, in a line that says where they were looked for."""
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: not there; name the real data, or POLARDENOISE_SHARED_DATA")


def read_set(star: Path) -> RealSet:
    """Read a set."""
    particles = read_particles(star)
    names = particles.column("rlnMicrographName") or [star.name] * len(particles)
    images = torch.from_numpy(read_images(particles, slice(None)))
    return RealSet(star, images, names, float(particles.pixel_size[0]))


def read_boxes(stack: Path) -> Tensor:
    """Read a stack of empty boxes, `(n, N, N)` float32."""
    return torch.from_numpy(read_images(read_particles(stack, pixel_size=1.0), slice(None)))
