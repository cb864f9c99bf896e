"""Draws: recorrupted images that have gone through the network up to its last decoder, from which numbers are learned.

All that images see of one another (search, recentring, attention) is computed as `denoise` computes it, from the images
that are denoised alone. What is held against the target then depends on the adapted numbers through the decoder only.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.adapt.recorruption import ClusterImages, NoisyPair, recorrupt
from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.neighbours.centred_denoising import (
    CentredCluster,
    denoise_centred_cluster,
)
from polardenoise.engine.networks.polar_transformer import Encoded, PolarTransformer
from polardenoise.engine.runtime.devices import mixed_precision


@dataclass(frozen=True)
class NetworkSettings:
    """How networks are run: device, precision of the convolutions, images denoised together, seed."""

    device: torch.device
    precision: torch.dtype
    images_per_set: int
    seed: int


@dataclass(frozen=True)
class Draw:
    """Images before the last decoder, and what their estimates are held against.

    Attributes
    ----------
    conditioned, features, attended : Tensor
        `(n, channels, angles)`, see `Encoded` and `PolarTransformer.attend`.
    ctf_rings : Tensor
        `(n, box // 2)`.
    target : Tensor
        `(n, box, box)`, moved to where the network has moved the images.
    scale : float
        What estimates are multiplied by to be in the units of the target.
    """

    conditioned: Tensor
    features: Tensor
    attended: Tensor
    ctf_rings: Tensor
    target: Tensor
    scale: float

    def __len__(self) -> int:
        """Count the images."""
        return len(self.target)

    def select(self, places: Tensor) -> Draw:
        """Take some of the images."""
        return Draw(
            self.conditioned[places],
            self.features[places],
            self.attended[places],
            self.ctf_rings[places],
            self.target[places],
            self.scale,
        )


def denoise_cluster(
    model: PolarTransformer, images: Tensor, cluster: ClusterImages, computing: NetworkSettings
) -> CentredCluster:
    """Denoise images `(n, box, box)` that stand for those of a cluster, as `denoise` does."""
    device = computing.device
    with torch.inference_mode(), mixed_precision(device, computing.precision):
        return denoise_centred_cluster(
            model,
            images.to(device),
            cluster.ctf_rings.to(device),
            computing.images_per_set,
            computing.seed,
            cluster.shared,
            noise_power=None if cluster.left_power is None else cluster.left_power.to(device),
        )


def gather_draw(
    model: PolarTransformer, pair: NoisyPair, cluster: ClusterImages, computing: NetworkSettings
) -> Draw:
    """Run the network over a pair up to its last decoder."""
    centred = denoise_cluster(model, pair.seen, cluster, computing)
    encoded = centred.cluster.encoded
    # What was moved is compared where it was moved to: white noise stays white, and the target does not know where.
    target = shift_images(pair.target.to(computing.device), -centred.displacements)
    kept = torch.bfloat16  # a thousandth of what is gathered, and half of the memory
    # Clones: what inference mode has made takes part in no gradient.
    return Draw(
        encoded.conditioned.to(kept).clone(),
        encoded.features.to(kept).clone(),
        centred.denoised.attention.attended.to(kept).clone(),
        cluster.ctf_rings.to(computing.device),
        target.clone(),
        pair.scale,
    )


def draw_pair(
    model: PolarTransformer, cluster: ClusterImages, number: int, computing: NetworkSettings
) -> Draw:
    """Recorrupt a cluster for the time `number`, and run the network over it."""
    return gather_draw(model, recorrupt(cluster, computing.seed + number), cluster, computing)


def decode_draw(model: PolarTransformer, draw: Draw, computing: NetworkSettings) -> Tensor:
    """Estimate the images of a draw, `(n, box, box)` in the units of its target; the decoder takes a gradient."""
    # All that decoding asks of an encoding.
    encoded = SimpleNamespace(conditioned=draw.conditioned.float(), features=draw.features.float())
    with mixed_precision(computing.device, computing.precision):
        estimates = model.decode(cast(Encoded, encoded), draw.attended.float())
    return draw.scale * estimates.float()


def measure_losses(estimates: Tensor, ctf_rings: Tensor, target: Tensor) -> Tensor:
    """Mean square per pixel of the disk between estimates, seen through their CTFs, and the target: `(n,)`."""
    box = target.shape[-1]
    disk = disk_mask(box, box / 2 - 1, target.device)
    residuals = (filter_by_rings(estimates, ctf_rings) - target) * disk
    return residuals.square().sum((1, 2)) / disk.sum()


def hold_out(cluster: ClusterImages, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide the images of a cluster into those that are learned from and those that are judged by, `(m,)` places.

    Images that share pixels are on one side; at least a share of all is held out.
    """
    generator = np.random.default_rng([seed, 14, cluster.half])
    fold = cluster.shared.fold
    order = generator.permutation(np.unique(fold))
    counts = np.array([int((fold == one).sum()) for one in order])
    held = order[: int(np.searchsorted(np.cumsum(counts), share * len(fold))) + 1]
    out = np.isin(fold, held)
    return np.flatnonzero(~out), np.flatnonzero(out)
