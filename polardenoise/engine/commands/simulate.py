"""`polardenoise simulate`: particle images of known molecules, with their truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polardenoise.engine.commands.simulate_options import add_noise_arguments
from polardenoise.engine.runtime.errors import InputError

if TYPE_CHECKING:
    from polardenoise.engine.simulate.detector import ModulationTransfer

HELP = "simulate particle images of structures, maps or phantoms, with the truth beside them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help=".pdb or .cif structure (biological assembly; a MANIFEST.tsv beside the file can say otherwise),"
        " .mrc or .map map (each may be .gz), or phantom:SEED; several, with spaces or commas between them: particles"
        " are divided among them",
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
        help="mean squared clean pixel, CTF included, over the noise variance (0.02; with --dose, what it gives)",
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
    add_noise_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, help="of everything random (0)")
    parser.add_argument(
        "--parakeet",
        metavar="DIR",
        type=Path,
        help="of one structure, by the program Parakeet: DIR gets its configurations; once they have been run, the same"
        " command makes the particle set of its images. Goes with --box, --pixel-size, --particles, --dose, --seed",
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Simulate, and give the summary."""
    from polardenoise.engine.simulate.noise_spectrum import (
        MEASURED,
        measure_box_spectrum,
        measure_noise_spectrum,
        read_empty_boxes,
    )
    from polardenoise.engine.simulate.pipeline import simulate_particles
    from polardenoise.engine.simulate.plan import SimulationPlan, copy_acquisition
    from polardenoise.engine.simulate.source_names import split_sources

    arguments.sources = split_sources(arguments.sources)
    if arguments.parakeet is not None:
        return simulate_with_parakeet(arguments)
    like, boxes = arguments.noise_like, arguments.noise_boxes
    noise = arguments.noise or ("gaussian" if like is None and boxes is None else "coloured")
    for option, given in (("--noise-like", like), ("--noise-boxes", boxes)):
        if given is not None and noise != "coloured":
            raise InputError(f"{option} {given}: a spectrum is of --noise coloured, not of {noise}")
    if like is not None and boxes is not None:
        raise InputError(f"--noise-boxes {boxes}: leave it out, or --noise-like")
    spectrum = MEASURED
    if like is not None:
        spectrum = measure_noise_spectrum(like)
    if boxes is not None:
        spectrum = measure_box_spectrum(boxes)
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
        noise=noise,
        spectrum=spectrum,
        dose=arguments.dose,
        ice=arguments.ice,
        mtf=_read_mtf(arguments.mtf),
        envelope=arguments.envelope,
        neighbours=arguments.neighbours,
        contrast_spread=arguments.contrast_spread,
        slope=arguments.slope,
        defocus_error=arguments.defocus_error,
    )
    if arguments.like is not None:
        plan = copy_acquisition(plan, arguments.like, arguments.box, arguments.pixel_size)
    read = [arguments.like, arguments.noise_like, arguments.mtf]
    arguments.files.read("--like, --noise-like or --mtf", *read, *list_inputs(*read[:2]))
    if boxes is not None:
        arguments.files.read("--noise-boxes", boxes, *read_empty_boxes(boxes).stacks)
    return simulate_particles(plan, arguments.output, arguments.files)


def list_inputs(*star_files: Path | None) -> list[Path]:
    """Name the files that particle sets are read from; None is none."""
    from polardenoise.engine.particles.particle_set import read_particles

    return [path for star in star_files if star is not None for path in read_particles(star).inputs]


def simulate_with_parakeet(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the configurations of Parakeet, or make the particle set of what it has simulated with them."""
    from polardenoise.engine.simulate.parakeet.exchange import (
        gather_particles,
        write_configurations,
    )
    from polardenoise.engine.simulate.plan import SimulationPlan

    for option in (
        "views",
        "snr",
        "max_shift",
        "noise",
        "noise_like",
        "like",
        "ice",
        "envelope",
        "mtf",
        "neighbours",
        "noise_boxes",
        "contrast_spread",
        "slope",
        "defocus_error",
    ):
        if getattr(arguments, option):
            raise InputError(f"--{option.replace('_', '-')}: leave it out with --parakeet")
    if len(arguments.sources) != 1 or not arguments.ctf:
        raise InputError("--parakeet: takes one structure, and its images carry a CTF")
    folder, output = arguments.parakeet, arguments.output
    box = 64 if arguments.box is None else arguments.box
    if not any(folder.glob("*/config.yaml")):
        plan = SimulationPlan(
            sources=tuple(arguments.sources),
            box=box,
            pixel_size=arguments.pixel_size,
            particles=arguments.particles,
            seed=arguments.seed,
            noise="poisson",
            dose=arguments.dose,
        )
        arguments.files.read("SOURCE", *arguments.sources)
        count = len(write_configurations(plan, folder, arguments.files))
        return {"parakeet": str(folder), "to_run": count}
    arguments.files.read("--parakeet", *folder.glob("*/*"))
    particles, micrographs, with_truth = gather_particles(
        folder, output, box, arguments.seed, arguments.files
    )
    return {
        "parakeet": str(folder),
        "particles": particles,
        "micrographs": micrographs,
        "star": str(output / "particles.star"),
        "clean": str(output / "clean.star") if with_truth else None,
    }


def summarise(summary: dict[str, Any]) -> str:
    """Put the summary into a few lines for a person."""
    if "to_run" in summary:
        return (
            f"{summary['to_run']} micrographs in {summary['parakeet']}; run the run.sh of each where Parakeet is, then"
            " this command again"
        )
    if "parakeet" in summary:
        truth = f"truth {summary['clean']}" if summary["clean"] else "no truth was simulated"
        return f"{summary['particles']} particles of {summary['micrographs']} micrographs: {summary['star']}, {truth}"
    orientations = f"{summary['views']} views" if summary["views"] else "uniform orientations"
    harder = _describe_noise(summary)
    return (
        f"{summary['particles']} particles of {', '.join(summary['sources'])}\n"
        f"{summary['box']} px, {summary['pixel_size']:g} A/px, SNR {summary['snr']:g},"
        f" {'with' if summary['ctf'] else 'no'} CTF, {orientations}, seed {summary['seed']}\n"
        + (f"{', '.join(harder)}\n" if harder else "")
        + f"noisy {summary['star']}, truth {summary['clean']}, {', '.join(summary['volumes'])}"
    )


def _describe_noise(summary: dict[str, Any]) -> list[str]:
    """Name what is not as it is by default."""
    harder = []
    if summary["noise"] == "coloured":
        harder.append("coloured noise")
    if summary["dose"] is not None:
        harder.append(
            f"{summary['dose']:.3g} electrons/A^2 counted at a contrast of {summary['contrast']:.2g}"
        )
    if summary["ice"]:
        harder.append(f"ice {summary['ice']:g} of the noise")
    if summary["envelope"]:
        harder.append(f"envelope {summary['envelope']:g} A^2")
    if summary["mtf_at_nyquist"] is not None:
        harder.append(f"MTF {summary['mtf_at_nyquist']:.2g} at Nyquist")
    if summary["neighbours"]:
        harder.append(f"neighbours in {summary['neighbours']:g} of the images")
    if summary["contrast_spread"]:
        harder.append(f"contrasts that spread by {summary['contrast_spread']:g}")
    if summary["slope"]:
        harder.append(f"backgrounds that slope by {summary['slope']:g} of the noise")
    if summary["defocus_error"]:
        harder.append(f"defocus wrong by {summary['defocus_error']:g} A")
    return harder


def _read_mtf(text: str | None) -> ModulationTransfer | None:
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


def _pixel_size(text: str) -> float | None:
    """Read a pixel size; None is auto."""
    return None if text == "auto" else float(text)


# argparse names the type in its message: "invalid pixel size value: 'x'".
_pixel_size.__name__ = "pixel size"
