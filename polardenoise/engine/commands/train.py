"""`polardenoise train`: a denoiser from simulated molecules, or from noisy particles and their truth."""

import argparse
from typing import Any

from polardenoise.counts import word_count
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.options import add_options, read_options
from polardenoise.engine.train.options import TrainingPlan

HELP = "train a denoiser on simulated molecules, or on noisy particles and their truth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the contract."""
    add_options(parser, TrainingPlan)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train; returns the summary."""
    plan = TrainingPlan(
        **read_options(arguments, TrainingPlan),
        command=tuple(arguments.command_line),
        files=arguments.files,
    )
    refuse_mixed_inputs(plan)
    from polardenoise.engine.train.run import run_training

    return run_training(plan)


def refuse_mixed_inputs(plan: TrainingPlan) -> None:
    """Refuse a training that learns from nothing, or from two kinds of things."""
    if plan.pairs is None:
        if not plan.sources:
            raise InputError(
                "SOURCE: name at least one structure, map, phantom:SEED or MANIFEST.tsv, or give --pairs"
            )
        return
    if plan.sources:
        raise InputError(
            f"--pairs: goes without SOURCEs; leave out {' '.join(plan.sources)}, or --pairs"
        )
    if plan.like is not None:
        raise InputError("--like: is for SOURCEs; leave it out with --pairs")


def summarise(summary: dict[str, Any]) -> str:
    """Put the summary into a few lines."""
    error = summary["validation_relative_mse"]
    return (
        f"{summary['model']}: {summary['architecture']}, {word_count(summary['steps'], 'step')}, "
        f"{word_count(summary['images'], 'image')}, {summary['minutes']:.1f} minutes; "
        f"validation relative MSE {'not measured yet' if error is None else f'{error:.4f}'}"
        + ("; paused, --resume goes on" if summary["paused"] else "")
        + tell_left_out(summary)
    )


def tell_left_out(summary: dict[str, Any]) -> str:
    """Say in a summary how many molecules the box of --like could not hold."""
    count = summary.get("left_out", 0)
    return (
        f"; {word_count(count, 'molecule')} left out, too wide for the box of --like"
        if count
        else ""
    )
