"""`polardenoise models`: what is shipped, and what it was trained on."""

import argparse
from typing import Any

from polardenoise.architectures import DEFAULT_MODEL

HELP = "list the shipped models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing beyond what every command has."""


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Read the cards of the shipped models."""
    from dataclasses import asdict

    from polardenoise.engine.networks.checkpoint import find_model, list_shipped_models, read_card
    from polardenoise.engine.runtime.file_list import list_model_files

    folders = [find_model(name) for name in list_shipped_models()]
    for folder in folders:
        arguments.files.read("models", *list_model_files(folder))
    arguments.files.check()
    arguments.files.probe()
    cards = [asdict(read_card(folder)) for folder in folders]
    return {"default": DEFAULT_MODEL, "models": cards}


def summarise(summary: dict[str, Any]) -> str:
    """One line a model, name first."""
    lines = []
    for card in summary["models"]:
        mark = " (default)" if card["name"] == summary["default"] else ""
        lines.append(f"{card['name']}  {card['description']}{mark}")
    return "\n".join(lines) or "no models are shipped with this installation"
