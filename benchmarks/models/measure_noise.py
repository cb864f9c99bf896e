"""Measure anew what models make of pure noise, and write it into their cards.

    python -m benchmarks.models.measure_noise polardenoise/pretrained/base

A training measures it at its end. But what comes out of noise depends on how images are searched as well as on the
network: where the search has changed, `denoise` judges images by an old figure until this has run.
"""

import argparse
import json
import re
from pathlib import Path

from benchmarks.models.ship_model import NOISE, describe_noise
from polardenoise.engine.evaluate.noise_energy import measure_noise_energy
from polardenoise.engine.neighbours.clusters import LARGEST_CLUSTER
from polardenoise.engine.networks.checkpoint import load_model
from polardenoise.engine.networks.registry import as_joint
from polardenoise.engine.runtime.files import write_json, write_text_atomically


def main(words: list[str] | None = None) -> None:
    """Measure, write, say what was and what is."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.models.measure_noise", description=__doc__.splitlines()[0]
    )
    parser.add_argument("models", type=Path, nargs="+", help="folders of joint models")
    parser.add_argument("--images", type=int, default=LARGEST_CLUSTER, help="of noise, each kind")
    arguments = parser.parse_args(words)
    for folder in arguments.models:
        measure_again(folder, arguments.images)


def measure_again(folder: Path, images: int) -> None:
    """Replace what the card of a model says of noise."""
    model, card = load_model(str(folder))
    measured = measure_noise_energy(as_joint(model), images)
    facts = json.loads((folder / "model.json").read_text())
    write_json(folder / "model.json", facts | {"noise_energy": measured})
    text = folder / "CARD.rst"
    if text.exists():
        line = re.compile(f"^{NOISE}.*$", re.MULTILINE)
        write_text_atomically(text, line.sub(describe_noise(measured), text.read_text()))
    for kind, energy in measured.items():
        print(
            f"{folder.name}, {kind}: {card.noise_energy.get(kind, float('nan')):.2e} before, {energy:.2e} now"
        )


if __name__ == "__main__":
    main()
