"""Compiled convolutions: torch makes one pass through memory of a convolution, its norm and its activation."""

import torch
from torch import Tensor, nn

from polardenoise.engine.networks.denoiser import Denoiser
from polardenoise.engine.networks.registry import ARCHITECTURES


def compile_convolutions(model: Denoiser, architecture: str) -> None:
    """Compile the chains of convolutions of a network for training; parameters and their names stay.

    Attention stays as it is: its sizes change with those of the sets. The first step then takes a minute. Results
    differ by rounding. In evaluation the network is as it was: its sizes are others there, and each would be compiled
    for.
    """
    for name in ARCHITECTURES[architecture].convolution_chains:
        compile_for_training(getattr(model, name))


def compile_for_training(chain: nn.Module) -> None:
    """Let a module call compiled code in training, and its own in evaluation."""
    plain = chain.forward
    compiled = torch.compile(plain, dynamic=False)

    def forward(features: Tensor) -> Tensor:
        return compiled(features) if chain.training else plain(features)

    chain.forward = forward
