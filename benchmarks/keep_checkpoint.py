"""Keep a trained network for the comparisons of `polardenoise benchmark quality`, without shipping it.

    python benchmarks/keep_checkpoint.py training/unet

Copies weights, description and training history to benchmarks/checkpoints/NAME.
"""

import argparse
import json
import shutil
from pathlib import Path

from polardenoise.engine.outputs import write_json

CHECKPOINTS = Path(__file__).resolve().parent / "checkpoints"


def main() -> None:
    """Copy one training's network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("training", type=Path, help="folder of `polardenoise train`")
    parser.add_argument("--note", default="", help="what else happened in the training")
    arguments = parser.parse_args()
    facts = json.loads((arguments.training / "model" / "model.json").read_text())
    facts["name"] = arguments.training.name
    facts["trained_on"]["note"] = arguments.note
    facts["trained_on"].pop("working_directory", None)
    facts["trained_on"]["machine"].pop("host", None)
    folder = CHECKPOINTS / arguments.training.name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(arguments.training / "model" / "weights.safetensors", folder)
    shutil.copy2(arguments.training / "history.csv", folder)
    write_json(folder / "model.json", facts)
    print(f"kept {folder}")


if __name__ == "__main__":
    main()
