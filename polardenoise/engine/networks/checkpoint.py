"""Model files: model.json (what a model is, what it was trained on) and weights.safetensors."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save

from polardenoise.engine.networks.denoiser import Denoiser
from polardenoise.engine.networks.registry import ARCHITECTURES, build_model, describe_sizes
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import replace_when_complete, write_json

SHIPPED_FOLDER = Path(__file__).resolve().parents[2] / "pretrained"
FORMAT = 1


@dataclass(frozen=True)
class ModelCard:
    """What model.json says.

    Attributes
    ----------
    name : str
        What the model is called.
    architecture : str
        A key of `ARCHITECTURES`.
    sizes : dict
        Sizes of the network, `box` among them: images are brought to this box.
    trained_on : dict
        Sources, split, recipe, steps, images, seconds, seed, machine: what the model has seen.
    figures : dict
        What was measured on molecules it has not seen, with the command of each.
    weights_sha256 : str
        Of weights.safetensors.
    description : str
        One line for `polardenoise models`.
    noise_energy : dict
        With how much energy pure noise comes out, see `noise_guard`; empty for single-image networks, and while a
        training is not at its end.
    format : int
        Version of this file's layout.
    """

    name: str
    architecture: str
    sizes: dict[str, Any]
    trained_on: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""
    description: str = ""
    noise_energy: dict[str, float] = field(default_factory=dict)
    format: int = FORMAT


def save_model(folder: Path, model: Denoiser, card: ModelCard) -> None:
    """Write a model folder; each file appears complete or not at all.

    Parameters
    ----------
    folder : Path
        Receives weights.safetensors and model.json.
    model : Denoiser
        The network; parameters are stored in float32.
    card : ModelCard
        Its sizes and hash are taken from the network and the file written.
    """
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    with replace_when_complete(folder / "weights.safetensors") as temporary:
        temporary.write_bytes(save(weights))
        digest = hash_file(temporary)
    facts = asdict(card) | {"sizes": describe_sizes(model), "weights_sha256": digest}
    write_json(folder / "model.json", facts)


def load_model(name_or_folder: str) -> tuple[Denoiser, ModelCard]:
    """Load a shipped model by its name, or a model from its folder, ready for inference.

    Parameters
    ----------
    name_or_folder : str
        A shipped name, or a folder with model.json and weights.safetensors.

    Raises
    ------
    InputError
        If there is no such model, or its files are missing, damaged or do not belong together.
    """
    folder = find_model(name_or_folder)
    card = read_card(folder)
    weights_file = folder / "weights.safetensors"
    if not weights_file.is_file():
        raise InputError(f"{weights_file}: is missing; copy the whole model folder")
    if hash_file(weights_file) != card.weights_sha256:
        raise InputError(
            f"{weights_file}: does not match the hash in model.json; copy the model folder again"
        )
    try:
        model = build_model(card.architecture, card.sizes)
        model.load_state_dict(load_file(weights_file))
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{folder}: weights and sizes do not fit together ({reason}); export the model again"
        ) from error
    return model.eval(), card


def find_model(name_or_folder: str) -> Path:
    """Find the folder of a model by shipped name or path; parameters and errors as `load_model`."""
    shipped = list_shipped_models()
    if name_or_folder in shipped:
        return SHIPPED_FOLDER / name_or_folder
    folder = Path(name_or_folder)
    if folder.name == "model.json":
        folder = folder.parent
    for candidate in (folder, folder / "model"):  # a training's folder holds the model in model/
        if (candidate / "model.json").is_file():
            return candidate
    names = ", ".join(shipped) or "none"
    raise InputError(
        f"model {name_or_folder}: not shipped, and no folder with a model.json; shipped are: {names}"
    )


def list_shipped_models() -> list[str]:
    """Names of the models that come with polardenoise."""
    return sorted(path.parent.name for path in SHIPPED_FOLDER.glob("*/model.json"))


def read_card(folder: Path) -> ModelCard:
    """Read and check model.json.

    Raises
    ------
    InputError
        If it is damaged, of a later format, or of an architecture that this version does not know.
    """
    path = folder / "model.json"
    try:
        facts = json.loads(path.read_text())
        card = ModelCard(**{name: facts[name] for name in ModelCard.__dataclass_fields__})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path}: is not a model description ({error}); export it again"
        ) from error
    if card.format not in range(1, FORMAT + 1) or card.architecture not in ARCHITECTURES:
        raise InputError(f"{path}: was written by a later polardenoise; update this one")
    return card


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
