"""A larger DnCNN that starts as good as a trained smaller one."""

import math

import torch
from torch import Tensor, nn

from polardenoise.engine.networks.dncnn import DnCNN, DnCNNConfig
from polardenoise.engine.runtime.errors import InputError


def grow_dncnn(small: DnCNN, config: DnCNNConfig) -> DnCNN:
    """Start a deeper and wider DnCNN from a trained one: in evaluation it denoises as that one does.

    New channels read all others and are read by new ones only; new convolutions, put before the last, pass the old
    channels on. Both learn from there, as the networks of Chen, Goodfellow and Shlens (2016, Net2Net) do.

    Raises
    ------
    InputError
        If the larger one is not larger, or has another box.
    """
    old = small.config
    if config.box != old.box or config.depth < old.depth or config.channels < old.channels:
        raise InputError(
            f"sizes {config}: a DnCNN can only grow from the one of --init ({old}); give sizes as large or larger"
        )
    grown = DnCNN(config)
    from_convolutions, from_norms = (
        find_layers(small, nn.Conv2d),
        find_layers(small, nn.BatchNorm2d),
    )
    convolutions, norms = find_layers(grown, nn.Conv2d), find_layers(grown, nn.BatchNorm2d)
    with torch.no_grad():
        for layer, source in zip(convolutions[: old.depth - 1], from_convolutions, strict=False):
            copy_channels(layer, source)
        for layer, source in zip(norms, from_norms, strict=False):
            copy_channels(layer, source)
        for convolution, norm in zip(
            convolutions[old.depth - 1 : -1], norms[old.depth - 2 :], strict=True
        ):
            pass_channels_on(convolution, norm, from_norms[-1])
        copy_channels(convolutions[-1], from_convolutions[-1])
    return grown


def find_layers(model: DnCNN, kind: type[nn.Module]) -> list[nn.Module]:
    """Layers of a kind, first to last."""
    return [layer for layer in model.layers if isinstance(layer, kind)]


def copy_channels(layer: nn.Module, source: nn.Module) -> None:
    """Copy a smaller layer into the first channels of a larger one; these do not read the new channels."""
    weights = source.state_dict()
    for name, tensor in layer.state_dict().items():
        small = weights[name]
        if tensor.dim() == 0:
            tensor.copy_(small)  # how many batches a norm has seen
            continue
        tensor[: len(small)] = 0.0
        tensor[tuple(slice(size) for size in small.shape)] = small


def pass_channels_on(convolution: nn.Module, norm: nn.Module, before: nn.Module) -> None:
    """Let a new convolution and its norm pass on the channels that a trained norm and a ReLU have made."""
    assert isinstance(before, nn.BatchNorm2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(convolution, nn.Conv2d)
    channels = before.num_features
    convolution.weight[:channels] = 0.0
    for channel in range(channels):
        convolution.weight[channel, channel, 1, 1] = 1.0
    mean, variance = rectify_gaussian(before.bias, before.weight.abs())
    norm.running_mean[:channels] = mean  # type: ignore[index]
    norm.running_var[:channels] = variance  # type: ignore[index]
    norm.bias[:channels] = mean
    norm.weight[:channels] = (variance + norm.eps).sqrt()


def rectify_gaussian(mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of `max(0, x)` for normal x, as channels behind a batch norm nearly are."""
    score = mean / deviation.clamp(min=1e-12)
    density = (-0.5 * score.square()).exp() / math.sqrt(2 * math.pi)
    share = 0.5 * (1 + torch.erf(score / math.sqrt(2)))
    first = mean * share + deviation * density
    second = (mean.square() + deviation.square()) * share + mean * deviation * density
    return first, (second - first.square()).clamp(min=0.0)
