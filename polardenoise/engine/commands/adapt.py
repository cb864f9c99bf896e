"""`polardenoise adapt`: a model of your own particles, without clean data."""

import argparse
from pathlib import Path
from typing import Any

from polardenoise.architectures import DEFAULT_MODEL
from polardenoise.engine.runtime.errors import InputError

HELP = "adapt a model to a particle set, random halves apart, without clean data"
#: A day.
MOST_MINUTES = 24 * 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the contract."""
    parser.add_argument(
        "particles",
        type=Path,
        metavar="PARTICLES.star",
        help="the particles as they will be denoised",
    )
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="DIR", help="receives DIR/model"
    )
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME|DIR",
        help=f"the model to adapt, one that compares images (default: {DEFAULT_MODEL})",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=15.0,
        metavar="M",
        help="at most so many minutes, reading included (default: 15)",
    )
    parser.add_argument(
        "--half-frames",
        type=Path,
        metavar="OTHER.star",
        help="the same particles in the same order from the other half of the movie frames: what is denoised is then "
        "judged by them",
    )
    parser.add_argument(
        "--ctf-state",
        choices=["auto", "none", "raw", "flipped"],
        default="auto",
        help="as for denoise, to which the same is to be said",
    )
    parser.add_argument(
        "--contrast", choices=["auto", "bright", "dark"], default="auto", help="as for denoise"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="fixes halves (if drawn, as denoise draws them) and noise",
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Adapt; returns the summary."""
    if not 0 < arguments.minutes <= MOST_MINUTES:
        raise InputError(
            f"--minutes {arguments.minutes}: must be more than 0 and at most {MOST_MINUTES}"
        )
    from polardenoise.engine.adapt.pipeline import adapt_particles
    from polardenoise.engine.adapt.plan import AdaptPlan

    return adapt_particles(
        AdaptPlan(
            particles=arguments.particles,
            folder=arguments.output,
            model=arguments.model,
            minutes=arguments.minutes,
            half_frames=arguments.half_frames,
            ctf_state=arguments.ctf_state,
            contrast=arguments.contrast,
            seed=arguments.seed,
            device=arguments.device,
            command=tuple(arguments.command_line),
            files=arguments.files,
        )
    )


def summarise(summary: dict[str, Any]) -> str:
    """Put the summary into a few lines: what each half got, and why not."""
    name = Path(summary["particles"]).name
    lines = [
        f"{summary['model']}: {summary['base']['name']} adapted to {summary['count']} particles of {name}"
    ]
    if not summary["adapted"]:
        lines = [
            f"NOT ADAPTED: {summary['model']} is {summary['base']['name']} as it came; denoise with either"
        ]
    for half, known in summary["halves"].items():
        gates = known["gates"]
        if known["taken"]:
            lines.append(
                f"half {half}: error on the whole disk lower by about {gates['error_share']:.0%} (loss of "
                f"{known['held_out']} images held out {gates['gain']:.2g} lower, standard error "
                f"{gates['gain_error']:.1g}), {known['set_size']} images denoised together; white noise comes out "
                f"with {gates['noise_after']:.2%} of a particle's energy, before {gates['noise_before']:.2%}"
            )
        else:
            lines.append(f"half {half}: left as it was: {'; '.join(gates['refusals'])}")
    lines += [f"WARNING: {warning}" for warning in summary["warnings"]]
    if summary["adapted"]:
        seed = f" --seed {summary['seed']}" if summary["halves_from"] == "drawn" else ""
        lines.append(
            f"denoise these particles, and no others, with --model {summary['model']}{seed}: each half by its own "
            "numbers"
        )
    lines.append(f"{summary['minutes']:.1f} minutes")
    return "\n".join(lines)
