"""`polardenoise adapt`: a model of your own particles, without clean data."""

import argparse
from pathlib import Path
from typing import Any

from polardenoise.counts import word_count
from polardenoise.engine.adapt.options import AdaptPlan
from polardenoise.engine.runtime.options import add_options, read_options
from polardenoise.engine.runtime.running_command import word_warnings

HELP = "adapt a model to a particle set, random halves apart, without clean data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the contract."""
    add_options(parser, AdaptPlan)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Adapt; returns the summary."""
    asked = read_options(arguments, AdaptPlan)
    from polardenoise.engine.adapt.pipeline import adapt_particles

    return adapt_particles(
        AdaptPlan(**asked, command=tuple(arguments.command_line), files=arguments.files)
    )


def summarise(summary: dict[str, Any]) -> str:
    """Put the summary into a few lines: what each half got, and why not."""
    name = Path(summary["particles"]).name
    lines = [
        f"{summary['model']}: {summary['base']['name']} adapted to "
        f"{word_count(summary['count'], 'particle')} of {name}"
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
                f"{word_count(known['held_out'], 'image')} held out {gates['gain']:.2g} lower, standard error "
                f"{gates['gain_error']:.1g}), {word_count(known['set_size'], 'image')} denoised together; white "
                f"noise comes out with {gates['noise_after']:.2%} of a particle's energy, before "
                f"{gates['noise_before']:.2%}"
            )
        else:
            lines.append(f"half {half}: left as it was: {'; '.join(gates['refusals'])}")
    lines += word_warnings(summary["warnings"])
    if summary["adapted"]:
        seed = f" --seed {summary['seed']}" if summary["halves_from"] == "drawn" else ""
        lines.append(
            f"denoise these particles, and no others, with --model {summary['model']}{seed}: each half by its own "
            "numbers"
        )
    lines.append(f"{summary['minutes']:.1f} minutes")
    return "\n".join(lines)
