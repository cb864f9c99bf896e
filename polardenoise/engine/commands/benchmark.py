"""`polardenoise benchmark`: the tables of the README, made again."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polardenoise.engine.errors import InputError

if TYPE_CHECKING:
    import torch

HELP = "make the tables of the README again: quality or speed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("table", choices=["quality", "speed"], help="which tables to make")
    parser.add_argument("--preset", choices=["smoke", "full"], default="smoke", help="how much")
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, required=True, help="folder of the tables"
    )
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute"
    )
    parser.add_argument(
        "--aspire-python",
        metavar="PYTHON",
        help="interpreter of an environment with aspire (pip install aspire), to be compared with",
    )
    parser.add_argument(
        "--checkpoints",
        metavar="DIR",
        type=Path,
        help="quality: folder of trained networks (default: benchmarks/checkpoints of the source tree)",
    )
    parser.add_argument(
        "--minutes",
        metavar="M",
        type=float,
        default=50.0,
        help="quality, full preset: minutes to train each network that is missing (default: 50; 0: leave it out)",
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the tables.

    Raises
    ------
    InputError
        If an option cannot be used.
    """
    if arguments.output.exists() and not arguments.output.is_dir():
        raise InputError(f"-o {arguments.output}: is no folder; name one")
    aspire_python = arguments.aspire_python
    if aspire_python is not None and shutil.which(aspire_python) is None:
        raise InputError(f"--aspire-python {aspire_python}: no program; name an interpreter")
    if not arguments.minutes >= 0:
        raise InputError(f"--minutes {arguments.minutes:g}: must not be negative")
    from polardenoise.engine.benchmark_speed_aspire import check_aspire
    from polardenoise.engine.devices import choose_device

    device = choose_device(arguments.device)
    if aspire_python is not None:
        check_aspire(aspire_python)
    measure = measure_quality_tables if arguments.table == "quality" else measure_speed_tables
    return {
        "quality_or_speed": arguments.table,
        "output": str(arguments.output),
        **measure(arguments, device),
    }


def measure_speed_tables(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Make the speed tables."""
    from polardenoise.engine.benchmark_speed import PRESETS, measure_speed

    return measure_speed(
        PRESETS[arguments.preset],
        arguments.output,
        device,
        arguments.aspire_python,
        arguments.command_line,
    )


def measure_quality_tables(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Make the quality table."""
    from polardenoise.engine.benchmark_quality import QualityPlan, measure_quality
    from polardenoise.engine.benchmark_quality_points import PRESETS

    return measure_quality(
        QualityPlan(
            preset=PRESETS[arguments.preset],
            folder=arguments.output,
            device=device,
            checkpoints=arguments.checkpoints,
            minutes=arguments.minutes,
            aspire_python=arguments.aspire_python,
            command=tuple(arguments.command_line),
        )
    )


def summarise(summary: dict[str, Any]) -> str:
    """Say where the tables are and what they come to."""
    if summary["quality_or_speed"] == "quality":
        from polardenoise.engine.benchmark_quality import summarise_quality

        return summarise_quality(summary, Path(summary["output"]))
    return summarise_speed(summary)


def summarise_speed(summary: dict[str, Any]) -> str:
    """Say where the speed tables are and the ratios that they come to."""
    gains = [
        f"{name.removeprefix('attention_gain_')}: {gain:.1f} times"
        for name, gain in summary.items()
        if name.startswith("attention_gain_")
    ]
    last = summary["tables"]["denoise"][-1]
    return "\n".join(
        [
            "attention over the fastest direct form (images x angles x D x C): " + ", ".join(gains),
            f"{last['particles']} particles: {last['particles/s']:.3g} particles/s, time per particle "
            f"{last['time per particle / first']:.2f} and peak memory {last['peak memory / first']:.2f} "
            "times those of the smallest set",
            f"tables written to {summary['output']}",
        ]
    )
