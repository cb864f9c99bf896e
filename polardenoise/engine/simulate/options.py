"""What `polardenoise simulate` can be asked for: each option once. Nothing here is slow to import."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.options import option, settle_plan
from polardenoise.engine.simulate.source_names import split_sources

if TYPE_CHECKING:  # `--help` answers at once
    from polardenoise.engine.imaging.ctf import CtfParameters
    from polardenoise.engine.imaging.noise_spectrum import NoiseSpectrum
    from polardenoise.engine.simulate.detector import ModulationTransfer

NOISES = ("gaussian", "poisson", "coloured")
#: Pixels, where nobody has said otherwise.
BOX = 64


def choose_box(box: int | None) -> int:
    """Give the size of the images in pixels: the default where none was asked for."""
    return BOX if box is None else box


def parse_pixel_size(text: str) -> float | None:
    """Read `--pixel-size`, Angstrom: None for auto."""
    try:
        return None if text == "auto" else float(text)
    except ValueError as error:
        raise InputError(f"--pixel-size {text[:40]}: give Angstrom, or auto") from error


def read_mtf_option(text: str | None) -> ModulationTransfer | None:
    """Read the detector's MTF: a number, or a table."""
    from polardenoise.engine.simulate.detector import model_mtf, read_mtf

    if text is None:
        return None
    try:
        at_nyquist = float(text)
    except ValueError:
        return read_mtf(Path(text))
    if not 0 < at_nyquist <= 1:
        raise InputError(f"--mtf {text}: give its value at Nyquist, above 0 and at most 1")
    return model_mtf(at_nyquist)


def take_measured_spectrum() -> NoiseSpectrum:
    """Take the spectrum of noise that is shipped."""
    from polardenoise.engine.simulate.noise_spectrum import MEASURED

    return MEASURED


@dataclass(frozen=True)
class SimulationPlan:
    """What to simulate. The truth depends on nothing from `noise` on but the spread of contrasts."""

    sources: tuple[str, ...] = option(
        "sources",
        metavar="SOURCE",
        nargs="+",
        read=split_sources,
        help=".pdb or .cif structure (biological assembly; a MANIFEST.tsv beside the file can say otherwise), .mrc or "
        ".map map (each may be .gz), or phantom:SEED; several, with spaces or commas between them: particles are "
        "divided among them",
    )
    box: int = option(
        default=BOX,
        unset=None,
        type=int,
        read=choose_box,
        help=f"image size in pixels, even ({BOX}, or that of --like)",
    )
    #: None: auto.
    pixel_size: float | None = option(
        default=None,
        unset="auto",
        read=parse_pixel_size,
        metavar="ANGSTROM",
        help="auto: the molecule fills 0.7 of the box, a map keeps its field of view (auto)",
    )
    b_factor: float = option(
        default=150.0, type=float, metavar="B", help="blur of atoms in A^2 (150)"
    )
    particles: int = option(default=1000, type=int, metavar="N", help="images (1000)")
    views: int = option(
        default=0,
        type=int,
        metavar="M",
        help="viewing directions, numbered in rlnClassNumber; 0: uniform orientations (0)",
    )
    #: None: 0.02, or what the dose gives.
    snr: float | None = option(
        default=None,
        type=float,
        help="mean squared clean pixel, CTF included, over the noise variance (0.02; with --dose, what it gives)",
    )
    with_ctf: bool = option(
        "--ctf",
        default=True,
        action=argparse.BooleanOptionalAction,
        help="images carry a CTF (default), or none",
    )
    max_shift: float = option(
        default=0.0,
        type=float,
        metavar="PIXELS",
        help="particles lie off the centre by up to this along x and y (0)",
    )
    seed: int = option(default=0, type=int, help="of everything random (0)")
    #: CTFs of a particle set, from which each image takes one.
    like: CtfParameters | None = None
    noise: str = option(
        default="gaussian",
        unset=None,
        choices=NOISES,
        help="gaussian: white; poisson: electrons counted; coloured: Gaussian, with the power spectrum of real images "
        "(gaussian, or coloured with --noise-like)",
    )
    #: Of coloured noise.
    spectrum: NoiseSpectrum = field(default_factory=take_measured_spectrum)
    dose: float | None = option(
        default=None,
        type=float,
        metavar="E",
        help="of poisson noise, electrons per A^2; --snr, --dose or both: what is missing follows from SNR = contrast^2"
        " x dose x pixel area, the contrast being 0.05 if both are not given",
    )
    ice: float = option(
        default=0.0,
        type=float,
        metavar="SHARE",
        help="share of the noise variance that is structure of the ice, seen through the CTF (0)",
    )
    mtf: ModulationTransfer | None = option(
        default=None,
        read=read_mtf_option,
        metavar="VALUE|FILE.star",
        help="of the detector, on the signal: its value at Nyquist (Gaussian), or RELION's table "
        "rlnResolutionInversePixel, rlnMtfValue (none)",
    )
    envelope: float = option(
        default=0.0,
        type=float,
        metavar="B",
        help="B-factor in A^2 of the CTF's envelope, which the truth does not have (0)",
    )
    neighbours: float = option(
        default=0.0,
        type=float,
        metavar="SHARE",
        help="share of the images into which another copy of the molecule reaches from the side, not in the truth (0)",
    )
    contrast_spread: float = option(
        default=0.0,
        type=float,
        metavar="S",
        help="standard deviation of the logarithm of what each particle is multiplied by, in the truth as well (0)",
    )
    slope: float = option(
        default=0.0,
        type=float,
        metavar="RMS",
        help="root mean square of sloping backgrounds in standard deviations of the noise (0)",
    )
    defocus_error: float = option(
        default=0.0,
        type=float,
        metavar="ANGSTROM",
        help="standard deviation of the error of the defocus that particles.star says (0)",
    )

    def __post_init__(self) -> None:
        """Take paths and numbers as text too, and refuse what the command line refuses."""
        settle_plan(self)


@dataclass(frozen=True)
class SimulationFiles:
    """Where a simulation writes, and what it is to be like."""

    output: Path = option(
        "-o", "--output", required=True, type=Path, metavar="DIR", help="folder for the results"
    )
    like: Path | None = option(
        default=None,
        type=Path,
        metavar="PARTICLES.star",
        help="take box, pixel size and the particles' CTFs (drawn at random) from this set; --box and --pixel-size go "
        "before it",
    )
    noise_like: Path | None = option(
        default=None,
        type=Path,
        metavar="PARTICLES.star",
        help="coloured noise with the spectrum of this set, measured in the corners of its images",
    )
    noise_boxes: Path | None = option(
        default=None,
        type=Path,
        metavar="STACK|BOXES.star",
        help="coloured noise with the spectrum of these boxes without a particle, not of their corners alone; the pixel"
        " size of a stack is that of its header",
    )
    parakeet: Path | None = option(
        default=None,
        type=Path,
        metavar="DIR",
        help="of one structure, by the program Parakeet: DIR gets its configurations; once they have been run, the same"
        " command makes the particle set of its images. Goes with --box, --pixel-size, --particles, --dose, --seed",
    )

    def __post_init__(self) -> None:
        """Take paths as text too."""
        settle_plan(self)
