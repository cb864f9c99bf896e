"""Networks by the name of their architecture."""

from dataclasses import asdict
from importlib import import_module
from typing import Any, cast

from polardenoise.architectures import ARCHITECTURES, is_joint
from polardenoise.engine.networks.denoiser import Denoiser
from polardenoise.engine.networks.polar_transformer import PolarTransformer

__all__ = [
    "ARCHITECTURES",
    "as_joint",
    "build_model",
    "describe_sizes",
    "is_joint",
    "start_model_from",
]


def build_model(architecture: str, sizes: dict[str, Any]) -> Denoiser:
    """Build an untrained network.

    Parameters
    ----------
    architecture : str
        A key of `ARCHITECTURES`.
    sizes : dict
        Fields of the architecture's configuration; what is left out takes its default.

    Raises
    ------
    KeyError
        If the architecture is unknown.
    TypeError
        If a size is unknown.

    Examples
    --------
    Joint networks take sets of images, `(sets, images, box, box)`; an untrained one runs as a trained one does:

    >>> import torch
    >>> model = build_model("polar-transformer", {**ARCHITECTURES["polar-transformer"].tiny, "passes": 1})
    >>> with torch.inference_mode():
    ...     model(torch.zeros(1, 6, 32, 32)).shape
    torch.Size([1, 6, 32, 32])
    """
    entry = ARCHITECTURES[architecture]
    module = import_module(entry.module)
    network, config = getattr(module, entry.network), getattr(module, entry.config)
    return network(config(**sizes))


def start_model_from(trained: Denoiser, architecture: str, sizes: dict[str, Any]) -> Denoiser:
    """Build a network that starts with the weights of a trained one of the same architecture.

    Parameters
    ----------
    trained : Denoiser
        The network to start from.
    architecture : str
        Its key of `ARCHITECTURES`.
    sizes : dict
        Where the new network's sizes differ from those of the trained one.

    Raises
    ------
    TypeError
        If a size is unknown.
    ValueError
        If the architecture cannot start from a network of other sizes.
    """
    model = build_model(architecture, describe_sizes(trained) | sizes)
    model.start_from(trained)
    return model


def describe_sizes(model: Denoiser) -> dict[str, Any]:
    """Sizes of a network as `build_model` takes them."""
    return asdict(model.config)


def as_joint(model: Denoiser) -> PolarTransformer:
    """Take a network of a joint architecture for what it is: one with the methods of a polar transformer."""
    return cast(PolarTransformer, model)
