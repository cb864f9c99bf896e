"""The mean of the weights of two models of one shape, of which one was trained on from the other.

    python -m benchmarks.models.average_models base benchmarks/checkpoints/real -o training/between

Between a model and what it becomes on other images lies one that has most of what was learned and has forgotten little
of what it knew (Wortsman et al., CVPR 2022, "Robust fine-tuning of zero-shot models"). The card is the second one's.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from polardenoise.engine.networks.checkpoint import load_model, save_model
from polardenoise.engine.runtime.errors import InputError


def average_models(first: str, second: str, folder: Path) -> None:
    """Write the model in the middle of two.

    Raises
    ------
    InputError
        If they are not of one shape.
    """
    (one, _), (other, card) = load_model(first), load_model(second)
    shapes = [{name: own.shape for name, own in it.state_dict().items()} for it in (one, other)]
    if shapes[0] != shapes[1]:
        raise InputError(f"{first} and {second}: networks of different shapes have no mean")
    theirs = other.state_dict()
    with torch.no_grad():
        middle = {
            name: torch.lerp(own, theirs[name], 0.5) for name, own in one.state_dict().items()
        }
    other.load_state_dict(middle)
    said = f"the mean of the weights of {first} and {second}"
    save_model(
        folder, other, replace(card, name=folder.name, trained_on={**card.trained_on, "note": said})
    )


def main(words: Sequence[str] | None = None) -> None:
    """Average two models."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.models.average_models", description=__doc__
    )
    parser.add_argument("first", metavar="MODEL")
    parser.add_argument("second", metavar="MODEL")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    arguments = parser.parse_args(words)
    average_models(arguments.first, arguments.second, arguments.output)
    print(f"written {arguments.output}")


if __name__ == "__main__":
    main()
