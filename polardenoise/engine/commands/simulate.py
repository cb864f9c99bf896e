"""`polardenoise simulate`: particle images of known molecules, with their truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from polardenoise.engine.errors import InputError

HELP = "simulate particle images of structures, maps or phantoms, with the truth beside them"

NOISE_OF_LATER_RELEASES = ("poisson", "coloured")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help=".pdb or .cif structure (biological assembly; a MANIFEST.tsv beside the file can say otherwise),"
        " .mrc or .map map (each may be .gz), or phantom:SEED; several: particles are divided among them",
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, required=True, help="folder for the results"
    )
    parser.add_argument(
        "--box", type=int, help="image size in pixels, even (64, or that of --like)"
    )
    parser.add_argument(
        "--like",
        metavar="PARTICLES.star",
        type=Path,
        help="take box, pixel size and the particles' CTFs (drawn at random) from this set; --box and"
        " --pixel-size go before it",
    )
    parser.add_argument(
        "--pixel-size",
        metavar="ANGSTROM",
        type=_pixel_size,
        default=None,
        help="auto: the molecule fills 0.7 of the box, a map keeps its field of view (auto)",
    )
    parser.add_argument(
        "--b-factor", metavar="B", type=float, default=150.0, help="blur of atoms in A^2 (150)"
    )
    parser.add_argument("--particles", metavar="N", type=int, default=1000, help="images (1000)")
    parser.add_argument(
        "--views",
        metavar="M",
        type=int,
        default=0,
        help="viewing directions, numbered in rlnClassNumber; 0: uniform orientations (0)",
    )
    parser.add_argument(
        "--snr",
        type=float,
        default=0.02,
        help="mean squared clean pixel, CTF included, over the noise variance (0.02)",
    )
    contrast = parser.add_mutually_exclusive_group()
    contrast.add_argument(
        "--ctf", dest="ctf", action="store_true", default=True, help="images carry a CTF (default)"
    )
    contrast.add_argument("--no-ctf", dest="ctf", action="store_false", help="images carry none")
    parser.add_argument(
        "--max-shift",
        metavar="PIXELS",
        type=float,
        default=0.0,
        help="particles lie off the centre by up to this along x and y (0)",
    )
    parser.add_argument(
        "--noise",
        choices=("gaussian", *NOISE_OF_LATER_RELEASES),
        default="gaussian",
        help="kind of noise (gaussian)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (0)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Simulate, and give the summary."""
    if arguments.noise in NOISE_OF_LATER_RELEASES:
        raise InputError(f"--noise {arguments.noise} is not available yet; use --noise gaussian")

    from polardenoise.engine.simulate import SimulationPlan, copy_acquisition, simulate_particles

    plan = SimulationPlan(
        sources=tuple(arguments.sources),
        box=64 if arguments.box is None else arguments.box,
        pixel_size=arguments.pixel_size,
        b_factor=arguments.b_factor,
        particles=arguments.particles,
        views=arguments.views,
        snr=arguments.snr,
        with_ctf=arguments.ctf,
        max_shift=arguments.max_shift,
        seed=arguments.seed,
    )
    if arguments.like is not None:
        plan = copy_acquisition(plan, arguments.like, arguments.box, arguments.pixel_size)
    return simulate_particles(plan, arguments.output)


def summarise(summary: dict[str, Any]) -> str:
    """Put the summary into a few lines for a person."""
    orientations = f"{summary['views']} views" if summary["views"] else "uniform orientations"
    return (
        f"{summary['particles']} particles of {', '.join(summary['sources'])}\n"
        f"{summary['box']} px, {summary['pixel_size']:g} A/px, SNR {summary['snr']:g},"
        f" {'with' if summary['ctf'] else 'no'} CTF, {orientations}, seed {summary['seed']}\n"
        f"noisy {summary['star']}, truth {summary['clean']}, {', '.join(summary['volumes'])}"
    )


def _pixel_size(text: str) -> float | None:
    """Read a pixel size; None is auto."""
    return None if text == "auto" else float(text)


# argparse names the type in its message: "invalid pixel size value: 'x'".
_pixel_size.__name__ = "pixel size"
