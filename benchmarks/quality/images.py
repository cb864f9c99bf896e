"""What the quality benchmark measures on: molecules that nothing is trained on, and their simulated images.

A denoiser is given a folder with nothing of the truth in it: the noisy images, and a STAR file whose poses and shifts
have been set to zero. The truth lies elsewhere and is read after the denoised images are there.
"""

import zlib
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.common.places import find_structures
from benchmarks.quality.points import Images, QualityPreset, name_phantoms
from polardenoise.engine.evaluate.against_truth import truth_as_observed
from polardenoise.engine.imaging.ctf import compute_ctf
from polardenoise.engine.imaging.euler_angles import matrices_from_angles
from polardenoise.engine.networks.checkpoint import ModelCard, hash_file
from polardenoise.engine.particles.image_names import name_in_star
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import ParticleSet, read_particles
from polardenoise.engine.particles.star_writing import write_particles
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.simulate.options import SimulationPlan
from polardenoise.engine.simulate.pipeline import simulate_particles
from polardenoise.engine.train.sources import read_splits

#: Molecules of split `test` that the full preset takes, without exact symmetry: their true neighbours are known.
STRUCTURES = ("1u6g.pdb.gz", "6bqn.cif.gz", "9be6.cif.gz")

#: What a denoiser is not told.
POSE_COLUMNS = (
    "rlnAngleRot",
    "rlnAngleTilt",
    "rlnAnglePsi",
    "rlnOriginXAngst",
    "rlnOriginYAngst",
)


@dataclass(frozen=True)
class SimulatedImages:
    """The images of one molecule at one point.

    Attributes
    ----------
    source : str
        The molecule.
    given : Path
        STAR file of what a denoiser sees.
    digest : str
        Of the noisy and the clean images.
    particles : ParticleSet
        With the true poses and shifts.
    noisy : Tensor
        `(n, N, N)`.
    clean : Tensor
        `(n, N, N)` without CTF.
    truth : Tensor
        `(n, N, N)` what a denoised image should be: clean, seen through its CTF where there is one.
    """

    source: str
    given: Path
    digest: str
    particles: ParticleSet
    noisy: Tensor
    clean: Tensor
    truth: Tensor

    @property
    def origins(self) -> Tensor:
        """RELION's origins in pixels, `(n, 2)`: shifting an image by it centres the particle."""
        return torch.from_numpy(self.particles.origins / self.particles.pixel_size[:, None])

    @property
    def orientations(self) -> Tensor:
        """True orientations as matrices, `(n, 3, 3)`; the last column is the viewing direction."""
        assert self.particles.angles is not None
        return matrices_from_angles(torch.from_numpy(self.particles.angles))

    def compute_transfer(self) -> Tensor | None:
        """Compute the CTFs, `(n, N, N // 2 + 1)`; None for images without."""
        if self.particles.ctf is None:
            return None
        pixel_size = torch.from_numpy(self.particles.pixel_size)
        return compute_ctf(self.particles.ctf, pixel_size, self.particles.box)


def find_sources(preset: QualityPreset) -> list[str]:
    """List the molecules that are judged: test phantoms and, where the shared data are, structures of split `test`."""
    structures = find_structures()
    manifest = structures / "MANIFEST.tsv"
    wanted = STRUCTURES[: preset.molecules] if manifest.is_file() else ()
    splits = read_splits(manifest) if wanted else {}
    found = [structures / name for name in wanted]
    for path in found:
        if splits.get(path) != "test":
            raise InputError(f"{path}: is no test molecule in {manifest}; judge on those only")
    phantoms = name_phantoms(preset.phantoms)
    # In turn: a benchmark that is killed has measured some of both.
    return [one for pair in zip_longest(phantoms, map(str, found)) for one in pair if one]


def check_unseen(card: ModelCard, sources: list[str]) -> None:
    """Refuse to judge a network on molecules that its card says it was trained or validated on.

    Raises
    ------
    InputError
        Names the network and the molecule.
    """
    seen = [*card.trained_on.get("sources", []), *card.trained_on.get("validated_on", [])]
    names = {Path(str(one)).name for one in seen}
    for source in sources:
        if Path(source).name in names:
            raise InputError(f"{card.name}: was trained on {source}; leave it out, or train anew")


def choose_seed(source: str) -> int:
    """Give each molecule a seed of its own, from its name: poses and noise are not those of another."""
    return zlib.crc32(Path(source).name.encode())


def simulate_images(source: str, images: Images, folder: Path) -> SimulatedImages:
    """Simulate the images of a molecule and set apart what a denoiser is given.

    Parameters
    ----------
    source : str
        As for `polardenoise simulate`.
    images : Images
        What to simulate, 64 px, the molecule filling 0.7 of the box.
    folder : Path
        Receives `truth/` and `given/`.
    """
    plan = SimulationPlan(
        (source,),
        particles=images.particles,
        views=images.views,
        snr=images.snr,
        with_ctf=images.with_ctf,
        max_shift=images.max_shift,
        noise=images.noise,
        seed=choose_seed(source),
    )
    truth = folder / "truth"
    with redirect_stdout(StringIO()):
        simulate_particles(plan, truth)
    particles, clean = (read_particles(truth / f"{name}.star") for name in ("particles", "clean"))
    rows = np.arange(len(particles))
    data = SimulatedImages(
        source,
        folder / "given" / "particles.star",
        hash_file(truth / "particles.mrcs") + hash_file(truth / "clean.mrcs"),
        particles,
        torch.from_numpy(read_images(particles, rows)),
        torch.from_numpy(read_images(clean, rows)),
        truth_as_observed(particles, clean, rows),
    )
    give_images(data, data.noisy, data.given)
    return data


def give_images(data: SimulatedImages, pixels: Tensor, star: Path) -> None:
    """Write images and a STAR file without poses and shifts: what a denoiser is given.

    Parameters
    ----------
    data : SimulatedImages
        The rest of the rows.
    pixels : Tensor
        `(n, N, N)`.
    star : Path
        To write; the images lie beside it.
    """
    stack = star.with_suffix(".mrcs")
    star.parent.mkdir(parents=True, exist_ok=True)
    write_stack(stack, pixels.numpy(), float(data.particles.pixel_size[0]))
    names = [f"{number + 1:06d}@{name_in_star(stack)}" for number in range(len(pixels))]
    nothing = {label: ["0.000000"] * len(pixels) for label in POSE_COLUMNS}
    write_particles(data.particles, star, names, nothing, {})
