"""The convolutions of a network, compiled by torch: their norms and activations then move through memory once."""

import torch
from torch import Tensor, nn

from polardenoise.engine.networks.registry import Denoiser

#: Parts of the networks that are chains of convolutions, by the name they have there. Attention stays as it is: its
#: sizes change with those of the sets.
CHAINS = ("encoder", "decoder", "layers")


def compile_convolutions(model: Denoiser) -> None:
    """Compile the chains of convolutions of a network for training; parameters and their names stay.

    The first step then takes a minute. Results differ by rounding. In evaluation the network is as it was: its sizes
    are others there, and each would be compiled for.
    """
    for name in CHAINS:
        if (chain := getattr(model, name, None)) is not None:
            compile_for_training(chain)


def compile_for_training(chain: nn.Module) -> None:
    """Let a module call compiled code in training, and its own in evaluation."""
    plain = chain.forward
    compiled = torch.compile(plain, dynamic=False)

    def forward(features: Tensor) -> Tensor:
        return compiled(features) if chain.training else plain(features)

    chain.forward = forward  # type: ignore[method-assign]
