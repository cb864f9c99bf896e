"""`polardenoise benchmark`: the tables of the README, made again."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from polardenoise.engine.errors import InputError

HELP = "make the speed tables again (quality: not available yet)"


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


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the tables.

    Raises
    ------
    InputError
        If the table is not there yet, or an option cannot be used.
    """
    if arguments.table == "quality":
        raise InputError(
            "benchmark quality is not available yet in this version; "
            "`polardenoise evaluate` compares one particle set with its truth"
        )
    if arguments.output.exists() and not arguments.output.is_dir():
        raise InputError(f"-o {arguments.output}: is no folder; name one")
    aspire_python = arguments.aspire_python
    if aspire_python is not None and shutil.which(aspire_python) is None:
        raise InputError(f"--aspire-python {aspire_python}: no program; name an interpreter")
    from polardenoise.engine.benchmark_speed import PRESETS, measure_speed
    from polardenoise.engine.benchmark_speed_aspire import check_aspire
    from polardenoise.engine.devices import choose_device

    device = choose_device(arguments.device)
    if aspire_python is not None:
        check_aspire(aspire_python)
    facts = measure_speed(
        PRESETS[arguments.preset],
        arguments.output,
        device,
        aspire_python,
        arguments.command_line,
    )
    return {"output": str(arguments.output), **facts}


def summarise(summary: dict[str, Any]) -> str:
    """Say where the tables are and the ratios that they come to."""
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
