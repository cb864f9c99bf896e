"""Keep a trained network for the comparisons of `python -m benchmarks quality`, without shipping it.

    python -m benchmarks.models.keep_checkpoint training/unet

Copies weights, description and training history to benchmarks/checkpoints/NAME.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from benchmarks.common.places import CHECKPOINTS
from polardenoise.engine.runtime.files import write_json


def drop_private_facts(facts: dict[str, Any]) -> None:
    """Drop from a model's card which machine, and where on it, trained the model; what kind of machine stays."""
    facts["trained_on"].pop("working_directory", None)
    facts["trained_on"]["machine"].pop("host", None)


def main() -> None:
    """Copy one training's network."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.models.keep_checkpoint", description=__doc__.splitlines()[0]
    )
    parser.add_argument("training", type=Path, help="folder of `polardenoise train`")
    parser.add_argument("--note", default="", help="what else happened in the training")
    arguments = parser.parse_args()
    facts = json.loads((arguments.training / "model" / "model.json").read_text())
    facts["name"] = arguments.training.name
    facts["trained_on"]["note"] = arguments.note
    drop_private_facts(facts)
    folder = CHECKPOINTS / arguments.training.name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(arguments.training / "model" / "weights.safetensors", folder)
    shutil.copy2(arguments.training / "history.csv", folder)
    write_json(folder / "model.json", facts)
    print(f"kept {folder}")


if __name__ == "__main__":
    main()
