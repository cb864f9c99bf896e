"""`polardenoise benchmark`: the tables of the README, made again."""

from __future__ import annotations

import argparse
from typing import Any

from polardenoise.engine.errors import InputError

HELP = "make the quality and speed tables again (not available yet)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("table", choices=["quality", "speed"], help="which table to make")
    parser.add_argument("--preset", choices=["smoke", "full"], default="smoke", help="how much")
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="folder of the tables")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Refuse: the benchmarks come with a later release.

    Raises
    ------
    InputError
        Always.
    """
    raise InputError(
        f"benchmark {arguments.table} is not available yet in this version; "
        "`polardenoise evaluate` compares one particle set with its truth"
    )


def summarise(summary: dict[str, Any]) -> str:
    """Say in one line what was made."""
    return f"tables written to {summary['output']}"
