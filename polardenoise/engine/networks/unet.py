"""The U-Net (Ronneberger et al. 2015): a single-image network that sees the whole box, as a baseline."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polardenoise.engine.imaging.ctf_rings import append_ctf_planes
from polardenoise.engine.networks.denoiser import Denoiser


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of a U-Net.

    Attributes
    ----------
    box : int
        Box size in pixels, a multiple of `2 ** (levels - 1)`.
    channels : int
        Channels at full resolution; twice as many at each level below.
    levels : int
        Resolutions, each half of the one above.
    """

    box: int = 64
    channels: int = 32
    levels: int = 4


class UNetBlock(nn.Module):
    """Two 3 x 3 convolutions, each with group norm and ReLU.

    Group norm, as in the polar networks: a batch norm would read the conditions of a whole set off its batch.
    """

    def __init__(self, channels_in: int, channels_out: int, groups: int = 8):
        super().__init__()
        layers: list[nn.Module] = []
        for entering in (channels_in, channels_out):
            layers += [
                nn.Conv2d(entering, channels_out, 3, padding=1, bias=False),
                nn.GroupNorm(groups, channels_out),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Map `(n, channels_in, height, width)` to `(n, channels_out, height, width)`."""
        return self.layers(images)


class UNet(Denoiser):
    """Down to an eighth of the box and up again, with what each level saw handed across; predicts the clean image."""

    def __init__(self, config: UNetConfig):
        super().__init__()
        if config.box % 2 ** (config.levels - 1):
            raise ValueError(f"box {config.box} cannot be halved {config.levels - 1} times")
        self.config = config
        conditioned = 1 + config.box // 2  # the image and its CTF rings
        channels = [config.channels * 2**level for level in range(config.levels)]
        self.down = nn.ModuleList(
            UNetBlock(a, b) for a, b in zip([conditioned, *channels], channels, strict=False)
        )
        self.up = nn.ModuleList(UNetBlock(below + here, here) for here, below in pairwise(channels))
        self.to_image = nn.Conv2d(config.channels, 1, 1)

    def forward(self, images: Tensor, ctf_rings: Tensor | None = None) -> Tensor:
        """Denoise `(sets, images, box, box)`, each image by itself."""
        features = append_ctf_planes(images, ctf_rings)
        seen = []
        for level, block in enumerate(self.down):
            if level:
                features = F.avg_pool2d(features, 2)
            features = block(features)
            seen.append(features)
        for here, block in zip(reversed(seen[:-1]), reversed(self.up), strict=True):
            larger = F.interpolate(features, scale_factor=2, mode="nearest")
            features = block(torch.cat([larger, here], dim=1))
        estimate = self.to_image(features)
        return estimate[:, 0].to(images.dtype).unflatten(0, images.shape[:2])
