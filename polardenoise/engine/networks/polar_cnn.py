"""The polar CNN: the polar transformer's convolutions without its attention."""

from dataclasses import dataclass

from torch import Tensor

from polardenoise.engine.imaging.ctf_rings import append_ctf_rings, unit_ctf_rings
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.networks.denoiser import Denoiser
from polardenoise.engine.networks.layers import (
    OUTPUT_SCALE,
    AngularConv,
    smooth_rings,
    stack_angular_blocks,
)
from polardenoise.engine.runtime.devices import full_precision


@dataclass(frozen=True)
class PolarCNNConfig:
    """Sizes of a polar CNN.

    Attributes
    ----------
    box, rings, angles : int
        The polar grid (see `PolarGrid`).
    hidden : int
        Channels.
    length : int
        Angular filter length in steps.
    blocks : int
        Angular blocks.
    regularisation : float
        Tikhonov weight of the inverse polar map.
    """

    box: int = 64
    rings: int = 32
    angles: int = 128
    hidden: int = 128
    length: int = 9
    blocks: int = 8
    regularisation: float = 0.02


class PolarCNN(Denoiser):
    """A single-image network on the polar grid."""

    def __init__(self, config: PolarCNNConfig):
        super().__init__()
        self.config = config
        self.grid = PolarGrid(
            config.box, config.rings, config.angles, regularisation=config.regularisation
        )
        conditioned = config.rings + config.box // 2  # the polar image and the CTF rings
        self.encoder = stack_angular_blocks(
            conditioned, config.hidden, config.length, config.blocks
        )
        self.to_rings = AngularConv(config.hidden, config.rings, config.length)

    def forward(self, images: Tensor, ctf_rings: Tensor | None = None) -> Tensor:
        """Denoise `(sets, images, box, box)`, each image by itself."""
        with full_precision(images.device):
            polar = self.grid.to_polar(images)  # (sets, images, rings, angles)
        ctf_rings = unit_ctf_rings(images) if ctf_rings is None else ctf_rings
        conditioned = append_ctf_rings(polar.flatten(0, 1), ctf_rings.flatten(0, 1))
        estimate = self.to_rings(self.encoder(conditioned))
        with full_precision(images.device):
            estimate = smooth_rings(OUTPUT_SCALE * estimate.to(polar.dtype))
            return self.grid.to_images(estimate.unflatten(0, images.shape[:2]))
