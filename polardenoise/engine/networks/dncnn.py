"""The DnCNN: the single-image network of 2D convolutions that joint denoising is judged against."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polardenoise.engine.imaging.ctf_rings import append_ctf_planes
from polardenoise.engine.networks.denoiser import Denoiser


@dataclass(frozen=True)
class DnCNNConfig:
    """Sizes of a DnCNN: `depth` 3 x 3 convolutions of `channels` channels."""

    box: int = 64
    depth: int = 14
    channels: int = 32


class DnCNN(Denoiser):
    """The single-image convolutional denoiser of Zhang et al. (2017), predicting the clean image.

    The original predicts the noise and subtracts it, which at SNR 0.05 means carrying twenty times the signal's power
    through every layer; predicting the signal is the stronger baseline here.
    """

    def __init__(self, config: DnCNNConfig):
        super().__init__()
        self.config = config
        conditioned = 1 + config.box // 2  # the image and its CTF rings, one constant plane a ring
        layers: list[nn.Module] = [nn.Conv2d(conditioned, config.channels, 3, padding=1), nn.ReLU()]
        for _ in range(config.depth - 2):
            layers += [
                nn.Conv2d(config.channels, config.channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(config.channels),
                nn.ReLU(),
            ]
        layers.append(nn.Conv2d(config.channels, 1, 3, padding=1))
        self.layers = nn.Sequential(*layers)
        # As its input: a training step takes two thirds of the time.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor, ctf_rings: Tensor | None = None) -> Tensor:
        """Denoise `(sets, images, box, box)`, each image by itself."""
        estimate = self.layers(append_ctf_planes(images, ctf_rings))
        return estimate[:, 0].to(images.dtype).unflatten(0, images.shape[:2])
