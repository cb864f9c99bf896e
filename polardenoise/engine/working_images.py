"""Particles as the network sees them: working box, phases flipped, background 0 and noise 1."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.background import Background, measure_background, normalise, restore_scale
from polardenoise.engine.ctf import apply_ctf, compute_ctf, phase_flip
from polardenoise.engine.fourier import fourier_crop, fourier_pad
from polardenoise.engine.particles import ParticleSet
from polardenoise.engine.polar import disk_mask
from polardenoise.engine.radial_filter import average_rings


@dataclass(frozen=True)
class Handling:
    """How images are brought to the network and back.

    Attributes
    ----------
    box : int
        The network's working box in pixels.
    ctf_state : str
        State of the input: "none", "raw", "flipped".
    keeps_ctf : bool
        Whether estimates are multiplied by the particle's own CTF in the state that the input had.
    sign : float
        1 for bright protein, -1 for dark.
    """

    box: int
    ctf_state: str
    keeps_ctf: bool
    sign: float


def prepare_images(
    images: Tensor, particles: ParticleSet, rows: np.ndarray, handling: Handling
) -> tuple[Tensor, Background]:
    """Bring images to the network's box, CTF sign and units.

    Parameters
    ----------
    images : Tensor
        `(m, N, N)` as read.
    particles : ParticleSet
        Their set.
    rows : ndarray
        `(m,)` their rows.
    handling : Handling
        What to do.

    Returns
    -------
    Tensor
        `(m, box, box)`, background 0 and noise of standard deviation 1.
    Background
        What `return_images` needs to undo the scaling.
    """
    working = handling.sign * resample(images, handling.box)
    if handling.ctf_state == "raw":
        working = phase_flip(working, compute_working_ctf(particles, rows, handling, images.device))
    background = measure_background(working)
    return normalise(working, background), background


def return_images(
    estimates: Tensor,
    background: Background,
    particles: ParticleSet,
    rows: np.ndarray,
    handling: Handling,
) -> Tensor:
    """Bring estimates back to the input's units, contrast, CTF and box.

    Parameters
    ----------
    estimates : Tensor
        `(m, box, box)` CTF-free estimates in units of the noise.
    background : Background
        Of the input, from `prepare_images`.
    particles, rows, handling
        As for `prepare_images`.

    Returns
    -------
    Tensor
        `(m, N, N)`. The CTF is applied in the working box, which has the same field of view: nothing above its
        Nyquist frequency is there to be multiplied.
    """
    disk = disk_mask(handling.box, handling.box / 2 - 0.5).to(estimates.device)
    images = handling.sign * restore_scale(estimates * disk, background)
    if handling.keeps_ctf and handling.ctf_state != "none":
        ctf = compute_working_ctf(particles, rows, handling, estimates.device)
        images = apply_ctf(images, ctf if handling.ctf_state == "raw" else ctf.abs())
    return resample(images, particles.box)


def resample(images: Tensor, box: int) -> Tensor:
    """Fourier-crop or Fourier-pad images to a box with the same field of view."""
    return fourier_crop(images, box) if box <= images.shape[-1] else fourier_pad(images, box)


def compute_working_ctf(
    particles: ParticleSet, rows: np.ndarray, handling: Handling, device: torch.device
) -> Tensor:
    """CTFs of some particles in the working box, `(m, box, box // 2 + 1)`."""
    assert particles.ctf is not None  # a state other than "none" is refused without a CTF
    pixel_size = torch.from_numpy(particles.pixel_size[rows]) * particles.box / handling.box
    parameters = particles.ctf.select(torch.from_numpy(rows)).to(device)
    return compute_ctf(parameters, pixel_size.to(device), handling.box)


def compute_profiles(particles: ParticleSet, rows: np.ndarray, handling: Handling) -> Tensor:
    """Ring profiles of |CTF| that the networks are told, `(m, box // 2)`; ones for images without a CTF."""
    if handling.ctf_state == "none":
        return torch.ones(len(rows), handling.box // 2)
    ctf = compute_working_ctf(particles, rows, handling, torch.device("cpu"))
    return average_rings(ctf.abs())


class ScratchImages:
    """Working images of a whole set in a temporary file, so that memory does not grow with the set.

    Used as a context manager. Written once in row order while the input is read in large sequential chunks, then read
    by sets in random order: 16 KiB a row at 64 px, whatever the input's box.

    Parameters
    ----------
    folder : Path
        Where the file lies; it has no name there and vanishes with the process.
    count, box : int
        Rows, and their side in pixels.
    """

    def __init__(self, folder: Path, count: int, box: int):
        self.folder, self.count, self.box = folder, count, box
        self._bytes_per_row = 4 * box * box

    def __enter__(self) -> Self:
        """Open the file."""
        self._file: BinaryIO = tempfile.TemporaryFile(dir=self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        """Close it, which removes it."""
        self._file.close()

    def append(self, images: Tensor) -> None:
        """Write `(m, box, box)` behind what is there."""
        self._file.write(images.float().contiguous().cpu().numpy().data)

    def read(self, rows: np.ndarray) -> Tensor:
        """Read `(m,)` rows in any order as `(m, box, box)` float32."""
        self._file.flush()
        images = np.empty((len(rows), self.box, self.box), dtype=np.float32)
        order = np.argsort(rows, kind="stable")
        for run in np.split(order, np.flatnonzero(np.diff(rows[order]) != 1) + 1):
            read = os.pread(
                self._file.fileno(),
                len(run) * self._bytes_per_row,
                int(rows[run[0]]) * self._bytes_per_row,
            )
            images[run] = np.frombuffer(read, dtype=np.float32).reshape(-1, self.box, self.box)
        return torch.from_numpy(images)


def prepare_particles(
    particles: ParticleSet,
    handling: Handling,
    scratch: ScratchImages,
    read_chunk: Callable[[np.ndarray], np.ndarray],
    device: torch.device,
    advance: Callable[[int], None],
    chunk_bytes: int = 2**25,
) -> Background:
    """Read the whole set once, in row order and large chunks, into the scratch file.

    Parameters
    ----------
    particles, handling
        As for `prepare_images`.
    scratch : ScratchImages
        Receives the working images.
    read_chunk : callable
        From rows to checked images `(m, N, N)`.
    device : torch.device
        Where to compute.
    advance : callable
        Told the number of images done.
    chunk_bytes : int
        Size of a chunk of input; transforms and CTFs of a chunk take about ten times as much.

    Returns
    -------
    Background
        Of all particles, `(n, 1, 1)` on the CPU: two numbers a particle stay in memory.
    """
    chunk = max(1, chunk_bytes // (4 * particles.box**2))
    means, deviations = [], []
    for start in range(0, len(particles), chunk):
        rows = np.arange(start, min(start + chunk, len(particles)))
        images = torch.from_numpy(read_chunk(rows)).to(device)
        working, background = prepare_images(images, particles, rows, handling)
        scratch.append(working)
        means.append(background.mean.cpu())
        deviations.append(background.deviation.cpu())
        advance(len(rows))
    return Background(torch.cat(means), torch.cat(deviations))
