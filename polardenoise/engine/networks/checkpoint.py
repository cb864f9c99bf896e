"""Model files: model.json (what a model is, what it was trained on) and weights.safetensors."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from polardenoise.engine.networks.adapted_numbers import (
    AdaptedTo,
    HalfNumbers,
    list_adapted_shapes,
    take_half,
)
from polardenoise.engine.networks.denoiser import Denoiser
from polardenoise.engine.networks.model_limits import (
    check_sizes,
    check_weights,
    list_shapes,
)
from polardenoise.engine.networks.registry import ARCHITECTURES, build_model, describe_sizes
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import Outputs, naming_a_full_disk, write_json
from polardenoise.engine.runtime.input_files import convert_data, read_json

SHIPPED_FOLDER = Path(__file__).resolve().parents[2] / "pretrained"
FORMAT = 1
#: Images of a half that a model was adapted to, at most.
MOST_IMAGES = 10**8
#: What cards that were written before it came do not have.
LATER_FIELDS = {"adapted"}


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
        With how much energy pure noise comes out, see `denoise.noise.guard`; empty for single-image networks, and while
        a training is not at its end.
    format : int
        Version of this file's layout.
    adapted : dict
        The particles that the model was adapted to, each half for itself (`AdaptedTo`); empty for most models.
    """

    name: str
    architecture: str
    sizes: dict[str, Any]
    trained_on: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""
    description: str = ""
    noise_energy: dict[str, Annotated[float, Meta(gt=0, le=1e12)]] = field(default_factory=dict)
    format: int = FORMAT
    adapted: dict[str, Any] = field(default_factory=dict)

    @property
    def knows_whitened_images(self) -> bool:
        """Whether it learned from images whose coloured noise had been made white, and was told so."""
        recipe = self.trained_on.get("recipe") or {}
        return bool(recipe.get("whitened_share", 0.0) > 0)

    def count_images_of_halves(self) -> dict[int, int]:
        """Count the images of each half that the model was adapted to; empty where it never was."""
        halves = self.adapted.get("halves", {})
        return {int(half): int(known["images"]) for half, known in halves.items()}


class TrainedOn(msgspec.Struct):
    """What programs read of a card's `trained_on`; people read all of it."""

    sources: list[str] = []
    recipe: "TrainedRecipe | None" = None
    steps: int | None = None


class TrainedRecipe(msgspec.Struct):
    """What programs read of the recipe in a card."""

    snr: tuple[float, float] | None = None
    whitened_share: float = 0.0


def save_model(
    folder: Path, model: Denoiser, card: ModelCard, of_halves: Mapping[str, Tensor] | None = None
) -> None:
    """Write a model folder; its files appear together, complete or not at all.

    Parameters
    ----------
    folder : Path
        Receives weights.safetensors and model.json.
    model : Denoiser
        The network; parameters are stored in float32.
    card : ModelCard
        Its sizes and hash are taken from the network and the file written.
    of_halves : mapping, optional
        Tensors of the halves that the model was adapted to, see `adapted_numbers.name_tensors`.
    """
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in (model.state_dict() | dict(of_halves or {})).items()
    }
    with Outputs() as outputs:
        temporary = outputs.lend(folder / "weights.safetensors")
        with naming_a_full_disk(temporary):
            temporary.write_bytes(save(weights))
        facts = {"sizes": describe_sizes(model), "weights_sha256": hash_file(temporary)}
        write_json(outputs.lend(folder / "model.json"), asdict(card) | facts)


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
    model, card, _ = load_model_of_halves(name_or_folder)
    return model, card


def load_model_of_halves(
    name_or_folder: str,
) -> tuple[Denoiser, ModelCard, dict[int, HalfNumbers]]:
    """Load a model and what it holds for each half, nothing where it was never adapted; errors as `load_model`."""
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
        shapes = list_shapes(card.architecture, card.sizes)
        of_halves = list_adapted_shapes(shapes, card.count_images_of_halves())
        check_weights(weights_file, shapes | of_halves)
        model = build_model(card.architecture, card.sizes)
        weights = load_file(weights_file)
        model.load_state_dict({name: weights[name] for name in shapes})
    except (TypeError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{folder}: weights and sizes do not fit together ({reason}); export the model again"
        ) from error
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise InputError(
            f"{weights_file}: holds numbers that are not finite; train or export the model again"
        )
    return (
        model.eval(),
        card,
        {half: take_half(weights, half) for half in card.count_images_of_halves()},
    )


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
    cure = "export it again"
    try:
        facts = read_json(path, dict[str, Any], cure)
        missing = ModelCard.__dataclass_fields__.keys() - LATER_FIELDS - facts.keys()
        if missing:
            raise InputError(f"has no {min(missing)}; {cure}")
        if is_later(facts):
            raise InputError("was written by a later polardenoise; update this one")
        card = convert_data(facts, ModelCard, str(path), cure)
    except InputError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise InputError(f"{path}: is not a model description ({reason})") from error
    check_sizes(card.architecture, card.sizes, str(path))
    convert_data(card.trained_on, TrainedOn, str(path), cure)
    check_adapted(card, str(path), cure)
    if card.noise_energy and card.noise_energy.keys() != {"none", "ctf"}:
        raise InputError(f"{path}: noise_energy has 'none' and 'ctf', or nothing; {cure}")
    return card


def check_adapted(card: ModelCard, source: str, cure: str) -> None:
    """Refuse a card that does not say properly what its model was adapted to.

    Raises
    ------
    InputError
        Names the card.
    """
    if not card.adapted:
        return
    halves = convert_data(card.adapted, AdaptedTo, source, cure).halves
    if card.architecture != "polar-transformer" or not halves:
        raise InputError(f"{source}: adapted: only a polar-transformer has halves; {cure}")
    for half, known in halves.items():
        counts = min(known.images, known.set_size), max(known.images, known.set_size)
        if not (half.isdecimal() and len(half) < 10 and 1 <= counts[0] <= counts[1] <= MOST_IMAGES):
            raise InputError(f"{source}: adapted: half {half[:20]} is none; {cure}")


def is_later(facts: dict[str, Any]) -> bool:
    """Tell whether a model description is of a format, or of an architecture, that this version does not know."""
    architecture = facts["architecture"]
    unknown = isinstance(architecture, str) and architecture not in ARCHITECTURES
    return bool(facts["format"] != FORMAT or unknown)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
