"""Exponential moving average of a network's weights over the steps of a training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """Copy all weights and buffers of a network, by name."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def choose_decay(longest: float, step: int) -> float:
    """Choose what an average keeps of itself at a step: little at first, `longest` in the end.

    Parameters
    ----------
    longest : float
        The recipe's `averaging`, 0 to 1; 0.999 averages over about 1,000 steps.
    step : int
        Steps taken before this one. Until the average is as long as the training so far, `(1 + step) / (10 + step)`
        keeps the first weights from lasting in it.
    """
    return min(longest, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(average: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    """Move an average towards the weights as they are: `average = decay average + (1 - decay) weights`, in place.

    Buffers that count are taken as they are.
    """
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            average[name].lerp_(tensor, 1 - decay)
        else:
            average[name].copy_(tensor)


@contextmanager
def averaged_weights(model: nn.Module, average: dict[str, Tensor] | None) -> Iterator[None]:
    """Give a network its averaged weights for a while, and then its own back, bit for bit; None: leave it as it is."""
    if average is None:
        yield
        return
    own = copy_weights(model)
    model.load_state_dict(average)
    try:
        yield
    finally:
        model.load_state_dict(own)
