"""`polardenoise train`: a denoiser from simulated molecules, or from noisy particles and their truth."""

import argparse
from typing import Any

from polardenoise.counts import word_count
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
    from polardenoise.engine.train.run import run_training

    return run_training(plan)


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
