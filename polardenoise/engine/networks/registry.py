"""The networks by name: polar transformer, polar CNN and the single-image DnCNN and U-Net they are judged against.

Every network maps sets of normalised images `(sets, images, box, box)` to clean estimates of the same shape: noise of
standard deviation about 1 and background 0 in, the CTF-free clean signal in the same units out. It is told each image's
CTF by its ring profile `(sets, images, box // 2)`, the mean of |CTF| over each ring of frequencies: flipped images
without low frequencies mean something else than images that have none to show. No profile means no CTF.
"""

from dataclasses import asdict
from typing import Any

from polardenoise.engine.networks.ctf_weighted import CtfWeightedTransformer
from polardenoise.engine.networks.dncnn import DnCNN, DnCNNConfig
from polardenoise.engine.networks.matched_transformer import MatchedConfig, MatchedTransformer
from polardenoise.engine.networks.polar_cnn import PolarCNN
from polardenoise.engine.networks.polar_transformer import Described, PolarConfig, PolarTransformer
from polardenoise.engine.networks.unet import UNet, UNetConfig

__all__ = [
    "ARCHITECTURES",
    "CtfWeightedTransformer",
    "Denoiser",
    "Described",
    "DnCNN",
    "MatchedConfig",
    "MatchedTransformer",
    "PolarCNN",
    "PolarConfig",
    "PolarTransformer",
    "UNet",
    "build_model",
    "describe_sizes",
]

Denoiser = PolarTransformer | PolarCNN | DnCNN | UNet

#: Network class and configuration class by the name that the command line and model.json use.
ARCHITECTURES: dict[str, tuple[type, type]] = {
    "polar-transformer": (PolarTransformer, PolarConfig),
    "polar-transformer-ctf": (CtfWeightedTransformer, PolarConfig),
    "polar-transformer-matched": (MatchedTransformer, MatchedConfig),
    "polar-cnn": (PolarCNN, PolarConfig),
    "dncnn": (DnCNN, DnCNNConfig),
    "unet": (UNet, UNetConfig),
}


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
    """
    network, config = ARCHITECTURES[architecture]
    return network(config(**sizes))


def describe_sizes(model: Denoiser) -> dict[str, Any]:
    """Sizes of a network as `build_model` takes them."""
    return asdict(model.config)
