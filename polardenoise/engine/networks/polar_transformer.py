"""The polar transformer: joint denoising of a set of images by angular attention."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from polardenoise.engine.imaging.ctf_profiles import append_profiles, flat_profiles
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.networks.angular_attention import attend
from polardenoise.engine.networks.layers import (
    AngularAttention,
    AngularBlock,
    AngularConv,
    scale_to_unit_norm,
)

#: The last angular convolution speaks in this unit. Signals are a few tenths of the noise, while one step of Adam moves
#: the sum over a filter's thousand weights by about its learning rate times a thousand: in units of the noise that is
#: as much as the signal, and the training would only settle at the end of the decay.
OUTPUT_SCALE = 0.1


@dataclass(frozen=True)
class PolarConfig:
    """Sizes of a polar network.

    Attributes
    ----------
    box, rings, angles : int
        The polar grid (see `PolarGrid`).
    hidden : int
        Channels of the polar CNNs.
    query : int
        Channels of the attention's queries and keys.
    value : int
        Channels of the attended features; the raw polar image is attended beside them.
    length : int
        Angular filter length in steps.
    before, after : int
        Angular blocks before and after the attention.
    regularisation : float
        Tikhonov weight of the inverse polar map. Twenty times that of a faithful round trip: it bounds by 3.5 how much
        the inverse amplifies a rough estimate; with less, training at the usual learning rates does not settle.
    """

    box: int = 64
    rings: int = 32
    angles: int = 128
    hidden: int = 128
    query: int = 64
    value: int = 128
    length: int = 9
    before: int = 4
    after: int = 4
    regularisation: float = 0.02

    def make_grid(self, regularisation: float | None = None) -> PolarGrid:
        """Build the polar grid of these sizes; with another regularisation of its inverse where one is given."""
        weight = self.regularisation if regularisation is None else regularisation
        return PolarGrid(self.box, self.rings, self.angles, regularisation=weight)


class PolarTransformer(nn.Module):
    """Joint denoising of a set of images by angular attention (arXiv 2506.11283, section 4).

    Polar map, a polar CNN, one angular attention over the set, a second polar CNN over (noisy polar image, features,
    attended values), and the least-squares inverse of the polar map.
    """

    def __init__(self, config: PolarConfig):
        super().__init__()
        self.config = config
        hidden, length = config.hidden, config.length
        self.grid = config.make_grid()
        told = config.rings + config.box // 2  # the polar image and the CTF's profile
        self.encoder = stack_angular_blocks(told, hidden, length, config.before)
        self.to_query = AngularConv(hidden, config.query, length)
        self.to_key = AngularConv(hidden, config.query, length)
        self.to_value = AngularConv(hidden, config.value, length)
        self.attention = AngularAttention()
        gathered = told + hidden + config.value + config.rings
        self.decoder = stack_angular_blocks(gathered, hidden, length, config.after)
        self.to_rings = AngularConv(hidden, config.rings, length)
        self.average_gain = nn.Parameter(torch.full((config.rings,), 0.5))

    def forward(self, images: Tensor, profiles: Tensor | None = None) -> Tensor:
        """Denoise `(sets, images, box, box)`; images of one set see one another, sets do not."""
        profiles = flat_profiles(images) if profiles is None else profiles
        described = self.describe(images.flatten(0, 1), profiles.flatten(0, 1))
        # The softmax and the transforms of angular attention need single precision, whatever the convolutions use.
        with torch.autocast(images.device.type, enabled=False):
            asked = (described.query, described.key, described.value)
            in_sets = (features.unflatten(0, images.shape[:2]) for features in asked)
            attended = self.attention(*in_sets).flatten(0, 1)
        return self.estimate(described, attended).unflatten(0, images.shape[:2])

    def describe(self, images: Tensor, profiles: Tensor) -> "Described":
        """Compute what each image asks, answers and gives, `images` of `(n, box, box)`, by itself."""
        with torch.autocast(images.device.type, enabled=False):
            polar = self.grid.to_polar(images)  # (n, rings, angles)
        told = append_profiles(polar, profiles)
        features = self.encoder(told)
        value = torch.cat([self.to_value(features), polar.to(features.dtype)], dim=1)
        query, key = self.to_query(features), self.to_key(features)
        return Described(
            told, features, query.to(polar.dtype), key.to(polar.dtype), value.to(polar.dtype)
        )

    def describe_for_attention(self, images: Tensor, profiles: Tensor) -> "Described":
        """Describe images `(n, box, box)` with queries and keys as `attend` takes them: their scale is in the query."""
        plain = self.describe(images, profiles)
        query = scale_to_unit_norm(plain.query) * self.attention.log_scale.exp()
        return replace(plain, query=query, key=scale_to_unit_norm(plain.key))

    def look(self, described: "Described", images: Tensor, profiles: Tensor) -> list[Tensor]:
        """Estimate images `(sets, images, box, box)`, as often as the network looks; the last estimate is the best.

        Parameters
        ----------
        described : Described
            From `describe_for_attention`, of one set after another.
        images, profiles : Tensor
            What was described, `(sets, images, box, box)` and `(sets, images, box // 2)`.
        """
        shape = images.shape[:2]
        with torch.autocast(images.device.type, enabled=False):
            asked = (described.query, described.key, described.value)
            attended = attend(*(features.unflatten(0, shape) for features in asked))
        return [self.estimate(described, attended.flatten(0, 1)).unflatten(0, shape)]

    def estimate(self, described: "Described", attended: Tensor) -> Tensor:
        """Estimate the clean images `(n, box, box)` from what they are and what they have gathered.

        Parameters
        ----------
        described : Described
            Of the images.
        attended : Tensor
            `(n, value + rings, angles)`.
        """
        told, features = described.told, described.features
        estimate = self.to_rings(self.decoder(torch.cat([told, features, attended], dim=1)))
        # The attended raw image, a weighted average of data, is where the estimate starts from.
        average = attended[:, -self.config.rings :] * self.average_gain[:, None]
        with torch.autocast(attended.device.type, enabled=False):
            estimate = smooth_rings(OUTPUT_SCALE * estimate.to(attended.dtype) + average)
            return self.grid.to_images(estimate)


@dataclass(frozen=True)
class Described:
    """What the polar transformer knows of images before they see one another.

    Attributes
    ----------
    told : Tensor
        `(n, rings + box // 2, angles)`: the polar image and the CTF's profile.
    features : Tensor
        `(n, hidden, angles)`, in the precision of the convolutions.
    query, key : Tensor
        `(n, query, angles)`.
    value : Tensor
        `(n, value + rings, angles)`; the raw polar image comes last.
    """

    told: Tensor
    features: Tensor
    query: Tensor
    key: Tensor
    value: Tensor

    def select(self, images: Tensor | slice) -> "Described":
        """Take some of the images."""
        return Described(
            self.told[images],
            self.features[images],
            self.query[images],
            self.key[images],
            self.value[images],
        )


def smooth_rings(polar: Tensor) -> Tensor:
    """Average each ring of `(images, rings, angles)` with its neighbours and fade out the two outermost.

    Weights 1/4, 1/2, 1/4, then 1/2 and 0 at the edge. A polar image that differs from ring to ring, or that ends
    abruptly at the edge of the box, lies outside what the pixel grid can hold, and its inverse depends on the grid's
    orientation: without this an untrained network is equivariant to 2e-2 only, with it to 4e-3.
    """
    padded = torch.cat([polar[:, :1], polar, polar[:, -1:]], dim=1)
    smooth = 0.25 * padded[:, :-2] + 0.5 * polar + 0.25 * padded[:, 2:]
    edge = torch.ones(polar.shape[1], 1, dtype=polar.dtype, device=polar.device)
    edge[-2:, 0] = torch.tensor([0.5, 0.0], dtype=polar.dtype, device=polar.device)
    return smooth * edge


def stack_angular_blocks(channels_in: int, hidden: int, length: int, count: int) -> nn.Sequential:
    """Chain `count` angular blocks from `channels_in` to `hidden` channels."""
    channels = [channels_in] + [hidden] * count
    return nn.Sequential(
        *(AngularBlock(a, b, length) for a, b in zip(channels, channels[1:], strict=False))
    )
