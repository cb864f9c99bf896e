"""Command line of the benchmarks: the quality table, the speed tables, and every study by its name.

    python -m benchmarks quality|speed [--preset smoke|full] -o DIR
    python -m benchmarks STUDY -o DIR

Run from the root of the source tree; what a study takes, `python -m benchmarks STUDY --help` says.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common.quiet import keeping_quiet
from polardenoise.engine.cli import (
    EXIT_BAD_INPUT,
    EXIT_INTERRUPTED,
    Parser,
    on_one_line,
)
from polardenoise.engine.runtime.errors import InputError, describe_system_error

if TYPE_CHECKING:
    import torch

TABLES = ("quality", "speed")

#: Modules of `benchmarks.studies` that run by themselves.
STUDIES = (
    "ablations",
    "acceptance",
    "centring",
    "classes",
    "mirrored",
    "one_view_sets",
    "orientations",
    "pure_noise",
    "random_views",
    "real",
    "reconstruction",
    "refine3d_on_denoised",
    "relion_orientations",
    "rotation",
    "settings",
    "whole_halves",
    "work_counts",
)

#: What measures times: the standing training waits meanwhile.
TIMED = ("classes", "mirrored", "speed", "rotation", "settings", "whole_halves")


def main(words: Sequence[str] | None = None) -> int:
    """Make tables or run a study; what cannot be used is told in one line, as `polardenoise` does.

    Parameters
    ----------
    words : sequence of str, optional
        What follows `python -m benchmarks`; `sys.argv[1:]` by default.

    Returns
    -------
    int
        0 done, 2 something given cannot be used, 130 on Ctrl-C.
    """
    words = list(sys.argv[1:] if words is None else words)
    name = f"benchmarks {words[0]}" if words and words[0] in (*TABLES, *STUDIES) else "benchmarks"
    try:
        with keeping_quiet() if words and words[0] in TIMED else nullcontext():
            if words and words[0] in STUDIES:
                importlib.import_module(f"benchmarks.studies.{words[0]}").main(words[1:])
            else:
                make_tables(words)
    except InputError as error:
        print(f"{name}: {on_one_line(error)}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except OSError as error:
        print(f"{name}: {describe_system_error(error)}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Declare the options of the tables."""
    parser = Parser(
        prog="python -m benchmarks",
        description="Make the tables of the README again, or run a study; these options are those of the tables.",
        epilog=f"Studies, each with options of its own: {', '.join(STUDIES)}.",
    )
    parser.add_argument(
        "table",
        choices=[*TABLES, *STUDIES],
        metavar="quality|speed|STUDY",
        help="which tables to make, or which study to run",
    )
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
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write what the summary says, for machines"
    )
    return parser


def make_tables(words: list[str]) -> None:
    """Make the tables that the command line asks for, and print what they come to.

    Raises
    ------
    InputError
        If an option cannot be used.
    """
    from polardenoise.engine.runtime.file_list import FileList

    arguments = build_parser().parse_args(words)
    files = FileList()
    files.write("--json", arguments.json, "summary")
    files.check()
    if arguments.output.exists() and not arguments.output.is_dir():
        raise InputError(f"-o {arguments.output}: is no folder; name one")
    aspire_python = arguments.aspire_python
    if aspire_python is not None and shutil.which(aspire_python) is None:
        raise InputError(f"--aspire-python {aspire_python}: no program; name an interpreter")
    if not arguments.minutes >= 0:
        raise InputError(f"--minutes {arguments.minutes:g}: must not be negative")
    from benchmarks.speed.aspire import check_aspire
    from polardenoise.engine.runtime.devices import choose_device
    from polardenoise.engine.runtime.provenance import write_summary

    device = choose_device(arguments.device)
    if aspire_python is not None:
        check_aspire(aspire_python)
    command = ["python", "-m", "benchmarks", *words]
    is_quality = arguments.table == "quality"
    measure = measure_quality_tables if is_quality else measure_speed_tables
    summary = {
        "quality_or_speed": arguments.table,
        "output": str(arguments.output),
        **measure(arguments, device, command),
    }
    if arguments.json is not None:
        write_summary(arguments.json, summary)
    print(summarise(summary), flush=True)


def measure_speed_tables(
    arguments: argparse.Namespace, device: torch.device, command: list[str]
) -> dict[str, Any]:
    """Make the speed tables."""
    from benchmarks.speed.run import PRESETS, measure_speed

    return measure_speed(
        PRESETS[arguments.preset],
        arguments.output,
        device,
        arguments.aspire_python,
        command,
    )


def measure_quality_tables(
    arguments: argparse.Namespace, device: torch.device, command: list[str]
) -> dict[str, Any]:
    """Make the quality table."""
    from benchmarks.quality.points import PRESETS
    from benchmarks.quality.run import QualityPlan, measure_quality

    return measure_quality(
        QualityPlan(
            preset=PRESETS[arguments.preset],
            folder=arguments.output,
            device=device,
            checkpoints=arguments.checkpoints,
            minutes=arguments.minutes,
            aspire_python=arguments.aspire_python,
            command=tuple(command),
        )
    )


def summarise(summary: dict[str, Any]) -> str:
    """Say where the tables are and what they come to."""
    if summary["quality_or_speed"] == "quality":
        from benchmarks.quality.run import summarise_quality

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


if __name__ == "__main__":
    sys.exit(main())
