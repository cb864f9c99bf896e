"""The polar transformer whose attended average is a group's Wiener solution."""

import math

import torch
from torch import Tensor, nn

from polardenoise.engine.imaging.ctf_profiles import filter_by_rings
from polardenoise.engine.imaging.polar_grid import disk_mask
from polardenoise.engine.networks.polar_transformer import (
    OUTPUT_SCALE,
    Described,
    PolarConfig,
    PolarTransformer,
    smooth_rings,
    stack_angular_blocks,
)

#: Tikhonov weight of the inverse polar map of the attended average: what noise it holds, its own filter takes away.
FAITHFUL = 1e-3

#: Floor under the CTF's power that the training starts from.
FLOOR = 0.5


class CtfWeightedTransformer(PolarTransformer):
    """A polar transformer in which images of different defocus complete one another's zeros.

    Beside the features, the image times its own |CTF| is attended, and the CTF's power by rings of frequency. With
    attention weights `a` their quotient, `sum a |CTF| y / (sum a |CTF|^2 + floor)` with a learned floor in each ring,
    is the Wiener solution of the group that the image attends to, and where its estimate starts from.
    """

    disk: Tensor

    def __init__(self, config: PolarConfig):
        super().__init__(config)
        half = config.box // 2
        told = config.rings + half
        gathered = told + config.hidden + config.value + config.rings + half
        self.decoder = stack_angular_blocks(gathered, config.hidden, config.length, config.after)
        self.log_floor = nn.Parameter(torch.full((half,), math.log(FLOOR)))
        self.average_gain = nn.Parameter(torch.ones(config.rings))
        self.faithful = config.make_grid(FAITHFUL)
        self.register_buffer("disk", disk_mask(config.box, config.box / 2 - 0.5), persistent=False)

    @classmethod
    def from_plain(cls, plain: PolarTransformer) -> "CtfWeightedTransformer":
        """Start from a trained polar transformer: without a CTF it denoises as that one does."""
        model = cls(plain.config)
        weights = plain.state_dict()
        first = weights["decoder.0.conv.conv.weight"]
        rings, half = plain.config.rings, plain.config.box // 2
        widened = torch.cat([first, first.new_zeros(len(first), half, first.shape[-1])], dim=1)
        # Without a CTF the floor divides the average by this.
        widened[:, -rings - half : -half] *= 1 + FLOOR
        weights["decoder.0.conv.conv.weight"] = widened
        weights["average_gain"] = weights["average_gain"] * (1 + FLOOR)
        model.load_state_dict(weights | {"log_floor": model.log_floor.data})
        return model

    def describe(self, images: Tensor, profiles: Tensor) -> Described:
        """Compute what each image asks, answers and gives: features, the image times its CTF, and the CTF's power."""
        plain = super().describe(images, profiles)
        with torch.autocast(images.device.type, enabled=False):
            weighted = self.grid.to_polar(filter_by_rings(images, profiles))
        power = profiles.square().to(weighted.dtype)[..., None]
        power = power.expand(*profiles.shape, weighted.shape[-1])
        features = plain.value[:, : self.config.value]
        value = torch.cat([features, weighted, power], dim=1)
        return Described(plain.told, plain.features, plain.query, plain.key, value)

    def estimate(self, described: Described, attended: Tensor) -> Tensor:
        """Estimate the clean images `(n, box, box)` from what they are and what they have gathered.

        Parameters
        ----------
        described : Described
            Of the images.
        attended : Tensor
            `(n, value + rings + box // 2, angles)`.
        """
        sizes = [self.config.value, self.config.rings, self.config.box // 2]
        learned, weighted, power = attended.split(sizes, dim=1)
        with torch.autocast(attended.device.type, enabled=False):
            factors = 1 / (power.mean(-1) + self.log_floor.exp())  # (n, box // 2)
            solved = filter_by_rings(self.faithful.to_images(weighted), factors) * self.disk
            average = self.grid.to_polar(solved)
        gathered = [described.told, described.features, learned, average, power]
        estimate = self.to_rings(self.decoder(torch.cat(gathered, dim=1)))
        with torch.autocast(attended.device.type, enabled=False):
            estimate = OUTPUT_SCALE * estimate.to(attended.dtype)
            return self.grid.to_images(
                smooth_rings(estimate + average * self.average_gain[:, None])
            )
