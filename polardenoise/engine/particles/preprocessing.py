"""Particles as the network sees them: working box, phases flipped, background 0 and noise 1."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.background import Background, measure_background, normalise
from polardenoise.engine.imaging.ctf import apply_ctf, compute_ctf, phase_flip
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.fourier import fourier_crop, fourier_pad
from polardenoise.engine.imaging.hot_pixels import replace_hot_pixels
from polardenoise.engine.imaging.rings import average_rings
from polardenoise.engine.particles.image_checks import OUT_OF_RANGE, ImageFaults
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.scratch_file import ScratchImages
from polardenoise.engine.runtime.devices import count_at_once
from polardenoise.engine.runtime.prefetch import reading_ahead, writing_behind

#: Input that is read and computed at once. Transforms and CTFs take thirty times as much, where they are computed.
CHUNK_BYTES = {"cpu": 2**21, "cuda": 2**25}

#: Shown rows and their pixels as they were read.
SeePixels = Callable[[np.ndarray, np.ndarray], None]


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
    """

    box: int
    ctf_state: str
    keeps_ctf: bool


def prepare_images(
    images: Tensor,
    particles: ParticleSet,
    rows: np.ndarray,
    handling: Handling,
    numbers: np.ndarray | None = None,
) -> tuple[Tensor, Tensor, Background]:
    """Bring images to the network's box, CTF sign and units; their contrast stays.

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
    numbers : ndarray, optional
        `(m,)` what fixes the noise that is drawn for each image, by default its row.

    Returns
    -------
    Tensor
        `(m, box, box)`, background 0 and noise of standard deviation 1.
    Tensor
        `(m, box // 2)` CTF rings, what the networks are conditioned on; ones for images without
        a CTF.
    Background
        What `return_images` needs to undo the scaling.
    """
    if images.shape[-1] < handling.box:
        working = pad_with_noise(images, handling.box, rows if numbers is None else numbers)
    else:
        working = fourier_crop(images, handling.box)
    ctf_rings = working.new_ones(len(rows), handling.box // 2)
    if handling.ctf_state != "none":
        ctf = compute_working_ctf(particles, rows, handling, images.device)
        ctf_rings = average_rings(ctf.abs())
        if handling.ctf_state == "raw":
            working = phase_flip(working, ctf)
    background = measure_background(working)
    return normalise(working, background), ctf_rings, background


def return_images(
    estimates: Tensor,
    units: Tensor,
    particles: ParticleSet,
    rows: np.ndarray,
    handling: Handling,
    box: int,
) -> Tensor:
    """Bring estimates back to the input's units, contrast and CTF, in any box.

    Parameters
    ----------
    estimates : Tensor
        `(m, working box, working box)` CTF-free estimates in units of the noise, protein bright.
    units : Tensor
        `(m,)` the standard deviation of each image's noise, negative where protein is dark in the input.
    particles, rows, handling
        As for `prepare_images`.
    box : int
        Of the result, pixels.

    Returns
    -------
    Tensor
        `(m, box, box)`, background 0. The CTF is applied in the working box, which has the same field of view: nothing
        above its Nyquist frequency is there to be multiplied.
    """
    disk = disk_mask(handling.box, handling.box / 2 - 0.5, estimates.device)
    images = estimates * disk * units[:, None, None]
    if handling.keeps_ctf and handling.ctf_state != "none":
        ctf = compute_working_ctf(particles, rows, handling, estimates.device)
        images = apply_ctf(images, ctf if handling.ctf_state == "raw" else ctf.abs())
    return resample(images, box)


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


def pass_over(rows: np.ndarray, pixels: np.ndarray) -> None:
    """See pixels, and do nothing with them."""


def prepare_particles(
    particles: ParticleSet,
    handling: Handling,
    scratch: ScratchImages,
    device: torch.device,
    notice: Callable[[np.ndarray, Tensor, Tensor], None],
    rows: np.ndarray | None = None,
    see: SeePixels = pass_over,
) -> tuple[Background, np.ndarray]:
    """Read and check the whole set once, in the order of its files and large chunks, into the scratch file.

    Rows may name many stacks in any order. A chunk is read, and another written, while one is computed.

    Parameters
    ----------
    particles, handling
        As for `prepare_images`.
    scratch : ScratchImages
        Receives the working images and their CTF rings.
    device : torch.device
        Where to compute.
    notice : callable
        Told the rows `(m,)`, working images and CTF rings of each chunk.
    rows : ndarray, optional
        The rows to read, ascending, all by default.
    see : callable, optional
        Shown the rows `(m,)` and pixels `(m, N, N)` of each chunk as they were read, before anything is done to them.

    Returns
    -------
    Background
        Of all particles, `(n, 1, 1)` on the CPU: two numbers a particle stay in memory. 0 and 1 for rows not read.
    ndarray
        `(n,)` int64: pixels of each image that were replaced, see `hot_pixels`.

    Raises
    ------
    InputError
        If images are blank, have pixels that are not finite, or such that cannot be computed with; names them all.
    """
    count = len(particles)
    chunk = count_at_once(CHUNK_BYTES, device, 4 * particles.box**2)
    wanted = np.arange(count) if rows is None else rows
    places = (particles.index_in_stack[wanted], particles.stack_of_row[wanted])
    in_file_order = wanted[np.lexsort(places)]
    parts = np.split(in_file_order, range(chunk, len(wanted), chunk))
    means, deviations = torch.zeros(count, 1, 1), torch.ones(count, 1, 1)
    hot = np.zeros(count, dtype=np.int64)

    faults = ImageFaults(particles)

    def read(rows: np.ndarray) -> tuple[np.ndarray, Tensor]:
        pixels = faults.read(rows)
        see(rows, pixels)
        return rows, torch.from_numpy(pixels)

    with reading_ahead(read, parts) as pieces, writing_behind(scratch.write) as put:
        for rows, images in pieces:
            if faults:
                continue  # what is left is only looked through
            images, hot[rows] = replace_hot_pixels(images.to(device))
            numbers = np.searchsorted(wanted, rows)  # of images: copies in between change nothing
            working, ctf_rings, background = prepare_images(
                images, particles, rows, handling, numbers
            )
            usable = (
                working.flatten(1).isfinite().all(1) & background.deviation.flatten().isfinite()
            )
            faults.add(OUT_OF_RANGE, rows[~usable.cpu().numpy()])
            put(rows, working, ctf_rings)
            means[rows] = background.mean.cpu()
            deviations[rows] = background.deviation.cpu()
            notice(rows, working, ctf_rings)
    faults.refuse()
    return Background(means, deviations), hot


def pad_with_noise(images: Tensor, box: int, numbers: np.ndarray) -> Tensor:
    """Pad images in Fourier space and fill what is beyond their frequencies with noise of their own level.

    Parameters
    ----------
    images : Tensor
        `(m, N, N)`.
    box : int
        `M > N`, pixels.
    numbers : ndarray
        `(m,)` numbers of the images, which fix the draws: an image gets the same noise in whatever chunk it comes.

    Returns
    -------
    Tensor
        `(m, M, M)`. Cropping it to `N` gives the images again.
    """
    drawn = np.stack(
        [np.random.default_rng([one]).standard_normal((box, box), np.float32) for one in numbers]
    )
    noise = torch.from_numpy(drawn).to(images)
    size = images.shape[-1]
    # White noise has the same power at every frequency: its deviation goes with the box.
    level = measure_background(images).deviation * box / size
    beyond = noise - fourier_pad(fourier_crop(noise, size), box)
    return fourier_pad(images, box) + level * beyond
