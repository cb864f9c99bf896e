"""The networks: polar transformer, polar CNN and the single-image DnCNN and U-Net they are judged against.

Every network maps sets of normalised images `(sets, images, box, box)` to clean estimates of the same shape: noise of
standard deviation about 1 and background 0 in, the CTF-free clean signal in the same units out. It is told each image's
CTF by its ring profile `(sets, images, box // 2)`, the mean of |CTF| over each ring of frequencies: flipped images
without low frequencies mean something else than images that have none to show. No profile means no CTF.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from polardenoise.engine.ctf_profiles import append_planes, append_profiles, flat_profiles
from polardenoise.engine.layers import AngularAttention, AngularBlock, AngularConv
from polardenoise.engine.polar import PolarGrid
from polardenoise.engine.unet import UNet, UNetConfig

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

    def make_grid(self) -> PolarGrid:
        """Build the polar grid of these sizes."""
        return PolarGrid(self.box, self.rings, self.angles, regularisation=self.regularisation)


@dataclass(frozen=True)
class DnCNNConfig:
    """Sizes of a DnCNN: `depth` 3 x 3 convolutions of `channels` channels."""

    box: int = 64
    depth: int = 14
    channels: int = 32


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


class DnCNN(nn.Module):
    """The single-image convolutional denoiser of Zhang et al. (2017), predicting the clean image.

    The original predicts the noise and subtracts it, which at SNR 0.05 means carrying twenty times the signal's power
    through every layer; predicting the signal is the stronger baseline here.
    """

    def __init__(self, config: DnCNNConfig):
        super().__init__()
        self.config = config
        told = 1 + config.box // 2  # the image and the CTF's profile, one constant plane a ring
        layers: list[nn.Module] = [nn.Conv2d(told, config.channels, 3, padding=1), nn.ReLU()]
        for _ in range(config.depth - 2):
            layers += [
                nn.Conv2d(config.channels, config.channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(config.channels),
                nn.ReLU(),
            ]
        layers.append(nn.Conv2d(config.channels, 1, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor, profiles: Tensor | None = None) -> Tensor:
        """Denoise `(sets, images, box, box)`, each image by itself."""
        estimate = self.layers(append_planes(images, profiles))
        return estimate[:, 0].to(images.dtype).unflatten(0, images.shape[:2])


Denoiser = PolarTransformer | PolarCNN | DnCNN | UNet

#: Network class and configuration class by the name that the command line and model.json use.
ARCHITECTURES: dict[str, tuple[type, type]] = {
    "polar-transformer": (PolarTransformer, PolarConfig),
    "polar-cnn": (PolarCNN, PolarConfig),
    "dncnn": (DnCNN, DnCNNConfig),
    "unet": (UNet, UNetConfig),
}


def build_model(architecture: str, sizes: dict[str, Any]) -> Denoiser:
    """Build an untrained network.

    Parameters
    ----------
    architecture : str
        A key of `ARCHITECTURES`.
    sizes : dict
        Fields of the architecture's configuration; what is left out takes its default.

    Raises
    ------
    KeyError
        If the architecture is unknown.
    TypeError
        If a size is unknown.
    """
    network, config = ARCHITECTURES[architecture]
    return network(config(**sizes))


def describe_sizes(model: Denoiser) -> dict[str, Any]:
    """Sizes of a network as `build_model` takes them."""
    return asdict(model.config)


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
