"""The networks of the quality benchmark: where their weights are, and training those that are nowhere."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.common.places import CHECKPOINTS, find_structures
from benchmarks.common.tables import Row
from benchmarks.quality.images import check_unseen
from polardenoise.engine.networks.checkpoint import (
    ModelCard,
    find_model,
    list_shipped_models,
    load_model,
    read_card,
)
from polardenoise.engine.networks.registry import is_joint
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.files import write_json
from polardenoise.engine.train.options import TrainingPlan
from polardenoise.engine.train.run import run_training

TRAINING_PHANTOMS = "phantom:0-119"

#: A training stops after the step in which its minutes are over; cards round them.
ENOUGH = 0.99


@dataclass(frozen=True)
class Network:
    """A network of the benchmark.

    Attributes
    ----------
    title : str
        Its column of the table.
    name : str
        Of its folder, or of the shipped model.
    architecture : str
        As for `polardenoise train`.
    sizes : dict
        Where they differ from the architecture's defaults.
    shipped_only : bool
        Whether it is what it is because of how it was trained, and is not trained by the benchmark.
    """

    title: str
    name: str
    architecture: str
    sizes: dict[str, Any] = field(default_factory=dict)
    shipped_only: bool = False


NETWORKS = (
    Network("DnCNN 17x64", "base-dncnn", "dncnn", shipped_only=True),
    Network("U-Net", "unet", "unet"),
    Network("polar CNN", "polar-cnn", "polar-cnn"),
    Network("polar transformer, 50 min", "polar-transformer-50", "polar-transformer"),
    Network("polar transformer, base", "base", "polar-transformer", shipped_only=True),
)


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with its weights.

    Attributes
    ----------
    network : Network
        Which.
    folder : Path
        Of the model.
    card : ModelCard
        What it is and was trained on.
    """

    network: Network
    folder: Path
    card: ModelCard

    @property
    def is_joint(self) -> bool:
        """Whether images see one another."""
        return is_joint(self.card.architecture)


def gather_networks(
    checkpoints: Path | None,
    own: Path,
    trains: bool,
    minutes: float,
    sources: list[str],
    command: list[str],
) -> tuple[list[TrainedNetwork], list[str]]:
    """Find the networks, and train those that are missing where that is asked for.

    Parameters
    ----------
    checkpoints : Path or None
        Folder with a model folder a network; None: that of the source tree.
    own : Path
        Folder of what is trained here; killed at any moment, a training goes on.
    trains : bool
        Whether networks that are missing are trained.
    minutes : float
        How long.
    sources : list of str
        The molecules that will be judged: no network may have seen them.
    command : list of str
        What was typed, for the models' cards.

    Returns
    -------
    list of TrainedNetwork
        In the order of `NETWORKS`.
    list of str
        A line for each that is left out.

    Raises
    ------
    InputError
        If a model is damaged or has seen a test molecule, or there is none at all.
    """
    found, left_out = [], []
    for network in NETWORKS:
        folder = find_network(network, checkpoints or CHECKPOINTS, own, minutes)
        if folder is None and trains and not network.shipped_only:
            folder = train_network(network, own, minutes, command)
        if folder is None:
            left_out.append(
                f"{network.title}: left out, no trained {network.name} here; the full preset trains it"
            )
            continue
        card = read_card(folder)
        if card.architecture != network.architecture:
            raise InputError(
                f"{folder}: is a {card.architecture}, not a {network.architecture}; name other --checkpoints"
            )
        check_unseen(card, sources)
        found.append(TrainedNetwork(network, folder, card))
    if not found:
        raise InputError(f"--checkpoints {checkpoints}: holds no network of the benchmark")
    return found, left_out


def find_network(network: Network, checkpoints: Path, own: Path, minutes: float) -> Path | None:
    """Find the folder of a trained network: in the checkpoints, trained here to the end, or shipped."""
    if holds_model(checkpoints / network.name):
        return find_model(str(checkpoints / network.name))
    if holds_model(own / network.name):
        folder = find_model(str(own / network.name))
        if read_card(folder).trained_on.get("minutes", 0) >= ENOUGH * minutes:
            return folder
    return find_model(network.name) if network.name in list_shipped_models() else None


def holds_model(folder: Path) -> bool:
    """Tell whether a folder is a model's, or a training's that has written one."""
    return any((one / "model.json").is_file() for one in (folder, folder / "model"))


def train_network(network: Network, own: Path, minutes: float, command: list[str]) -> Path:
    """Train a network with its architecture's recipe, or go on training it; the folder of the model."""
    folder = own / network.name
    recipe = own / f"{network.name}.json"
    write_json(recipe, {"sizes": network.sizes})
    manifest = find_structures() / "MANIFEST.tsv"
    print(f"{network.title}: no weights here, training for {minutes:g} minutes", flush=True)
    run_training(
        TrainingPlan(
            sources=(TRAINING_PHANTOMS, *([str(manifest)] if manifest.is_file() else [])),
            output=folder,
            architecture=network.architecture,
            recipe=recipe,
            resume=(folder / "resume" / "state.json").exists(),
            minutes=minutes,
            command=tuple(command),
        )
    )
    return folder / "model"


def describe_networks(networks: list[TrainedNetwork]) -> list[Row]:
    """Make the table of what each network is and was trained on."""
    rows: list[Row] = []
    for one in networks:
        trained = one.card.trained_on
        model, _ = load_model(str(one.folder))
        rows.append(
            {
                "network": one.network.title,
                "model": one.network.name,
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "images": trained.get("images"),
                "minutes": trained.get("minutes"),
                "continued from": trained.get("init"),
                "threads": trained.get("threads"),
                "weights (SHA-256)": one.card.weights_sha256[:12],
            }
        )
    return rows


def state_recipe(networks: list[TrainedNetwork]) -> dict[str, Any]:
    """State what each network was trained on in full, by its title, for the JSON."""
    return {
        one.network.title: {
            "folder": one.folder.name,
            "weights_sha256": one.card.weights_sha256,
            "sizes": one.card.sizes,
            **{
                name: one.card.trained_on.get(name)
                for name in ("images", "steps", "minutes", "threads", "init", "seed", "machine")
            },
            "recipe": json.loads(json.dumps(one.card.trained_on.get("recipe"))),
        }
        for one in networks
    }
