"""The polar CNN: the polar transformer without its attention."""

import torch
from torch import Tensor, nn

from polardenoise.engine.imaging.ctf_profiles import append_profiles, flat_profiles
from polardenoise.engine.networks.layers import AngularConv
from polardenoise.engine.networks.polar_transformer import (
    OUTPUT_SCALE,
    PolarConfig,
    smooth_rings,
    stack_angular_blocks,
)


class PolarCNN(nn.Module):
    """The polar transformer without its attention: a single-image network on the polar grid."""

    def __init__(self, config: PolarConfig):
        super().__init__()
        self.config = config
        self.grid = config.make_grid()
        self.encoder = stack_angular_blocks(
            config.rings + config.box // 2,
            config.hidden,
            config.length,
            config.before + config.after,
        )
        self.to_rings = AngularConv(config.hidden, config.rings, config.length)

    def forward(self, images: Tensor, profiles: Tensor | None = None) -> Tensor:
        """Denoise `(sets, images, box, box)`, each image by itself."""
        with torch.autocast(images.device.type, enabled=False):
            polar = self.grid.to_polar(images)  # (sets, images, rings, angles)
        profiles = flat_profiles(images) if profiles is None else profiles
        told = append_profiles(polar.flatten(0, 1), profiles.flatten(0, 1))
        estimate = self.to_rings(self.encoder(told))
        with torch.autocast(images.device.type, enabled=False):
            estimate = smooth_rings(OUTPUT_SCALE * estimate.to(polar.dtype))
            return self.grid.to_images(estimate.unflatten(0, images.shape[:2]))
