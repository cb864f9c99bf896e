"""The table of network architectures: what the command line, the forms and the trainings offer.

Both wings import it, and `counts`: it needs neither torch nor Scipion, and says only where a network's class is.
`polardenoise.engine.networks.registry` builds networks from it. A new architecture is a module with the network and its
configuration, and an entry here. How a network starts from a trained one is its own matter: `Denoiser.start_from`.
"""

from dataclasses import dataclass, field
from typing import Any, Dict, Tuple


@dataclass(frozen=True)
class Architecture:
    """One network architecture.

    Attributes
    ----------
    module, network, config : str
        Module, the `Denoiser` in it, and the frozen dataclass of its sizes, of which `box` is one.
    joint : bool
        Whether the images of a set are denoised together. A joint network has the methods of `PolarTransformer`: the
        search for neighbours calls them.
    description : str
        What the training form says of it.
    tiny : dict
        Sizes of the preset "tiny", for images of 32 px.
    recipe : dict
        Settings of a training recipe that this network needs otherwise than `Recipe` has them.
    convolution_chains : tuple of str
        Submodules that are chains of convolutions: these can be compiled.
    """

    module: str
    network: str
    config: str
    joint: bool
    description: str
    tiny: Dict[str, Any]
    recipe: Dict[str, Any] = field(default_factory=dict)
    convolution_chains: Tuple[str, ...] = ()


#: The shipped model that is used unless another one is named, and its architecture, which a training makes.
DEFAULT_MODEL = "base"
DEFAULT_ARCHITECTURE = "polar-transformer"

_NETWORKS = "polardenoise.engine.networks"

#: By the name that model.json and `--architecture` use. Projects store places in this order: new ones come last.
ARCHITECTURES: Dict[str, Architecture] = {
    "polar-transformer": Architecture(
        module=f"{_NETWORKS}.polar_transformer",
        network="PolarTransformer",
        config="PolarTransformerConfig",
        joint=True,
        description="the images of a set are denoised together, compared at every in-plane rotation; "
        "the network of *base*.",
        tiny={
            "box": 32,
            "rings": 16,
            "angles": 64,
            "hidden": 32,
            "query": 16,
            "value": 32,
            "before": 2,
            "after": 2,
        },
        convolution_chains=("encoder", "decoder"),
    ),
    "polar-cnn": Architecture(
        module=f"{_NETWORKS}.polar_cnn",
        network="PolarCNN",
        config="PolarCNNConfig",
        joint=False,
        description="one image at a time, on the polar grid; for comparison.",
        tiny={"box": 32, "rings": 16, "angles": 64, "hidden": 32, "blocks": 4},
        convolution_chains=("encoder",),
    ),
    "dncnn": Architecture(
        module=f"{_NETWORKS}.dncnn",
        network="DnCNN",
        config="DnCNNConfig",
        joint=False,
        description="one image at a time, 3 x 3 convolutions; for comparison.",
        tiny={"box": 32, "depth": 5, "channels": 16},
        # Batch norm must see many molecules, SNRs and CTFs at once: with whole sets in a batch the network
        # learns to read the conditions off the batch, and fails with the running averages of inference.
        recipe={"images_per_set": (2,)},
        convolution_chains=("layers",),
    ),
    "unet": Architecture(
        module=f"{_NETWORKS}.unet",
        network="UNet",
        config="UNetConfig",
        joint=False,
        description="one image at a time, 3 x 3 convolutions at several resolutions; for comparison.",
        tiny={"box": 32, "channels": 8, "levels": 3},
    ),
}


def is_joint(name: str) -> bool:
    """Tell whether an architecture denoises the images of a set together."""
    return ARCHITECTURES[name].joint
