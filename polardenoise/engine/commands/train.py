"""`polardenoise train`: a denoiser from simulated molecules, or from noisy particles and their truth."""

import argparse
from pathlib import Path
from typing import Any

from polardenoise.architectures import ARCHITECTURES, DEFAULT_ARCHITECTURE, DEFAULT_MODEL
from polardenoise.engine.runtime.errors import InputError

HELP = "train a denoiser on simulated molecules, or on noisy particles and their truth"

#: A thousand years of steps; two years.
MOST_STEPS, MOST_MINUTES = 10**9, 10**6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the contract."""
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help=".pdb/.cif(.gz), .mrc/.map, phantom:SEED, phantom:FIRST-LAST, or a MANIFEST.tsv (its split train);"
        " several with spaces or commas between them (phantom:1-20,35)",
    )
    parser.add_argument(
        "--pairs",
        nargs=2,
        type=Path,
        metavar=("NOISY.star", "CLEAN.star"),
        help="instead of SOURCEs: noisy particles and their truth without CTF, in the same order",
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--architecture",
        choices=list(ARCHITECTURES),
        help=f"the network (default: that of --init, else {DEFAULT_ARCHITECTURE}, as the model {DEFAULT_MODEL} is)",
    )
    parser.add_argument(
        "--recipe", type=Path, metavar="FILE", help="JSON with settings of the recipe"
    )
    parser.add_argument("--preset", choices=["tiny", "base"], default="base")
    parser.add_argument(
        "--like",
        type=Path,
        metavar="PARTICLES.star",
        help="simulate the SOURCEs at the field of view and with the CTFs of these particles",
    )
    parser.add_argument(
        "--init", metavar="MODEL", help="start from a shipped model or a model folder"
    )
    parser.add_argument("--resume", action="store_true", help="go on from DIR/resume")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, metavar="S", help="gradient steps in all")
    length.add_argument(
        "--minutes", type=float, metavar="M", help="minutes of training in all (default: 60)"
    )
    parser.add_argument(
        "--pause-after",
        type=float,
        metavar="M",
        help="stop this run after so many minutes, loading not counted, to go on with --resume",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the network's convolutions first: takes a minute, pays on a GPU",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train; returns the summary."""
    from polardenoise.engine.simulate.source_names import split_sources

    arguments.sources = split_sources(arguments.sources)
    if arguments.pairs is not None:
        if arguments.sources:
            raise InputError(
                f"--pairs: goes without SOURCEs; leave out {' '.join(arguments.sources)}, or --pairs"
            )
        if arguments.like is not None:
            raise InputError("--like: is for SOURCEs; leave it out with --pairs")
    elif not arguments.sources:
        raise InputError(
            "SOURCE: name at least one structure, map, phantom:SEED or MANIFEST.tsv, or give --pairs"
        )
    if arguments.steps is not None and not 1 <= arguments.steps <= MOST_STEPS:
        raise InputError(f"--steps {arguments.steps}: must be at least 1 and at most {MOST_STEPS}")
    for option in ("minutes", "pause_after"):
        minutes = getattr(arguments, option)
        if minutes is not None and not 0 < minutes <= MOST_MINUTES:
            name = option.replace("_", "-")
            raise InputError(f"--{name} {minutes}: must be more than 0 and at most {MOST_MINUTES}")
    from polardenoise.engine.train.run import TrainingPlan, run_training

    minutes = arguments.minutes
    if arguments.steps is None and minutes is None:
        minutes = 60.0
    return run_training(
        TrainingPlan(
            sources=tuple(arguments.sources),
            folder=arguments.output,
            architecture=arguments.architecture,
            preset=arguments.preset,
            recipe_file=arguments.recipe,
            init=arguments.init,
            resume=arguments.resume,
            steps=arguments.steps,
            minutes=minutes,
            seed=arguments.seed,
            device=arguments.device,
            command=tuple(arguments.command_line),
            pairs=None if arguments.pairs is None else tuple(arguments.pairs),
            like=arguments.like,
            pause_after=arguments.pause_after,
            compile=arguments.compile,
            files=arguments.files,
        )
    )


def summarise(summary: dict[str, Any]) -> str:
    """Put the summary into a few lines."""
    error = summary["validation_relative_mse"]
    return (
        f"{summary['model']}: {summary['architecture']}, {summary['steps']} steps, "
        f"{summary['images']} images, {summary['minutes']:.1f} minutes; "
        f"validation relative MSE {'not measured yet' if error is None else f'{error:.4f}'}"
        + ("; paused, --resume goes on" if summary["paused"] else "")
        + tell_left_out(summary)
    )


def tell_left_out(summary: dict[str, Any]) -> str:
    """Say in a summary how many molecules the box of --like could not hold."""
    count = summary.get("left_out", 0)
    return f"; {count} molecules left out, too wide for the box of --like" if count else ""
