"""The networks of the ablation table: the polar transformer with one thing done otherwise.

All make one pass, with the CTF-weighted average replaced by a plain one (`PlainAverage`), as the table began; each
class changes that network in one respect and says in which.
"""

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polardenoise.engine.imaging.ctf_rings import append_ctf_rings
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.polar_grid import (
    PolarGrid,
    build_sampling_matrix,
    ring_radii,
    solve_least_squares,
)
from polardenoise.engine.networks.evidence_attention import LearnedEvidenceWeights
from polardenoise.engine.networks.layers import (
    OUTPUT_SCALE,
    AngularConv,
    scale_to_unit_norm,
    smooth_rings,
    stack_angular_blocks,
)
from polardenoise.engine.networks.polar_transformer import (
    FIRST_SCALE,
    Encoded,
    PolarTransformer,
    PolarTransformerConfig,
)

#: Channels of the 2D convolutions: three times the multiplications of the angular ones at 64 hidden channels.
PLANE_CHANNELS = 16


class PlainAverage(PolarTransformer):
    """The attended average is that of the raw polar images, whatever their CTFs."""

    def __init__(self, config: PolarTransformerConfig):
        super().__init__(replace(config, passes=1))
        del self.log_floor
        gathered = config.rings + config.box // 2 + config.hidden + config.value + config.rings
        self.decoder = stack_angular_blocks(gathered, config.hidden, config.length, config.after)
        self.average_gain = nn.Parameter(torch.full((config.rings,), 0.5))

    def encode(self, images: Tensor, ctf_rings: Tensor) -> Encoded:
        """As the polar transformer's, with raw polar images in the values."""
        encoded = super().encode(images, ctf_rings)
        learned = encoded.value[:, : self.config.value]
        polar = encoded.conditioned[:, : self.config.rings]
        return replace(encoded, value=torch.cat([learned, polar], dim=1))

    def decode(self, encoded: Encoded, attended: Tensor) -> Tensor:
        """Estimate the clean images `(n, box, box)` from what they are and what they have gathered."""
        gathered = torch.cat([encoded.conditioned, encoded.features, attended], dim=1)
        estimate = self.to_rings(self.decoder(gathered))
        average = attended[:, -self.config.rings :] * self.average_gain[:, None]
        with torch.autocast(attended.device.type, enabled=False):
            estimate = smooth_rings(OUTPUT_SCALE * estimate.to(attended.dtype) + average)
            return self.grid.to_images(estimate)


class WithoutRotationSearch(PlainAverage):
    """Attends to images as they lie: no search over rotations."""

    def attend(self, encoded: Encoded, shape: tuple[int, int] | torch.Size) -> Tensor:
        """Ordinary attention: cosine logits of whole images, and their weighted average."""
        query, key, value = (
            features.flatten(1).unflatten(0, shape)
            for features in (encoded.query, encoded.key, encoded.value)
        )
        with torch.autocast(query.device.type, enabled=False):
            shares = (query @ key.mT).softmax(-1)  # (sets, images, images)
            return (shares @ value).flatten(0, 1).view_as(encoded.value)


class DotProductLogits(PlainAverage):
    """Dot products instead of cosines, as in Vaswani et al. (2017); the scale is learned from `1 / sqrt(D T)`."""

    def __init__(self, config: PolarTransformerConfig):
        super().__init__(config)
        self.log_scale = nn.Parameter(torch.tensor(0.0))

    def encode(self, images: Tensor, ctf_rings: Tensor) -> Encoded:
        """As the polar transformer's, queries and keys with the norms that they have."""
        encoded = super().encode(images, ctf_rings)
        query, key = (
            convolution(encoded.features).to(encoded.query.dtype)
            for convolution in (self.to_query, self.to_key)
        )
        scale = self.log_scale.exp() / (query.shape[-2] * query.shape[-1]) ** 0.5
        return replace(encoded, query=query * scale, key=key)


class DenseGrid(nn.Module):
    """Any linear map of images to rings and angles, and one back, as two matrices."""

    forward_matrix: Tensor
    inverse_matrix: Tensor

    def __init__(self, forward: Tensor, inverse: Tensor, box: int, rings: int, angles: int):
        super().__init__()
        self.box, self.rings, self.angles = box, rings, angles
        self.register_buffer("forward_matrix", forward.float(), persistent=False)
        self.register_buffer("inverse_matrix", inverse.float(), persistent=False)

    def to_polar(self, images: Tensor) -> Tensor:
        """Map images `(..., box, box)` to `(..., rings, angles)`."""
        polar = images.flatten(-2) @ self.forward_matrix.to(images.dtype).T
        return polar.unflatten(-1, (self.rings, self.angles))

    def to_images(self, polar: Tensor) -> Tensor:
        """Map `(..., rings, angles)` to images `(..., box, box)`."""
        images = polar.flatten(-2) @ self.inverse_matrix.to(polar.dtype).T
        return images.unflatten(-1, (self.box, self.box))


class BilinearMap(PlainAverage):
    """The polar map by bilinear interpolation; its inverse is still the least-squares one."""

    def __init__(self, config: PolarTransformerConfig):
        super().__init__(config)
        forward = sample_bilinearly(self.grid)
        inverse = solve_least_squares(forward.double(), config.box, config.regularisation)
        self.grid = DenseGrid(forward, inverse, config.box, config.rings, config.angles)


def sample_bilinearly(grid: PolarGrid) -> Tensor:
    """Bilinear weights of every pixel for every polar sample, `(rings * angles, box * box)`, ring weights included."""
    radii = ring_radii(grid.box, grid.rings)
    theta = 2 * torch.pi * torch.arange(grid.angles, dtype=torch.float64) / grid.angles
    offset = torch.arange(grid.box, dtype=torch.float64) - grid.box // 2

    def weigh_along_axis(positions: Tensor) -> Tensor:
        return (1 - (positions.flatten()[:, None] - offset).abs()).clamp_min(0)

    along_x = weigh_along_axis(radii[:, None] * torch.cos(theta))
    along_y = weigh_along_axis(radii[:, None] * torch.sin(theta))
    weights = torch.sqrt(radii * (grid.box / 2 - 0.5) / grid.rings * 2 * torch.pi / grid.angles)
    matrix = along_y[:, :, None] * along_x[:, None, :]  # (samples, box, box)
    matrix *= weights.repeat_interleave(grid.angles)[:, None, None]
    return matrix.flatten(1).float()


class BareAdjoint(PlainAverage):
    """Back from the polar grid by the adjoint of the map instead of its least-squares inverse."""

    def __init__(self, config: PolarTransformerConfig):
        super().__init__(config)
        sizes = (config.box, config.rings, config.angles)
        forward = build_sampling_matrix(*sizes, self.grid.sigma)
        self.grid = DenseGrid(forward, forward.T.contiguous(), *sizes)


class WithoutRawValues(PlainAverage):
    """Only learned features are attended, not the raw polar images beside them."""

    def encode(self, images: Tensor, ctf_rings: Tensor) -> Encoded:
        """As the polar transformer's, the raw polar image left out of the values."""
        encoded = super().encode(images, ctf_rings)
        learned = encoded.value.clone()
        learned[:, -self.config.rings :] = 0
        return replace(encoded, value=learned)


class NotConditioned(PlainAverage):
    """Phase flipping alone: the network is not conditioned on the CTF."""

    def forward(self, images: Tensor, ctf_rings: Tensor | None = None) -> Tensor:
        """Denoise `(sets, images, box, box)` as if there were no CTF."""
        return super().forward(images, None)

    def denoise_by_passes(self, images: Tensor, ctf_rings: Tensor | None = None) -> list[Tensor]:
        """Give the one estimate, as if there were no CTF."""
        return super().denoise_by_passes(images, None)


class TwoBlocks(PlainAverage):
    """Attention twice: what was gathered passes two angular blocks, and new queries are made of it."""

    repeats = 1

    def __init__(self, config: PolarTransformerConfig):
        super().__init__(config)
        gathered = config.hidden + config.value + config.rings
        length = config.length
        self.digest = nn.ModuleList(
            stack_angular_blocks(gathered, config.hidden, length, 2) for _ in range(self.repeats)
        )
        self.again = nn.ModuleList(
            nn.ModuleList(
                AngularConv(config.hidden, channels, length)
                for channels in (config.query, config.query, config.value)
            )
            for _ in range(self.repeats)
        )
        self.log_scales = nn.Parameter(torch.full((self.repeats,), FIRST_SCALE).log())

    def estimate_by_passes(
        self, encoded: Encoded, images: Tensor, ctf_rings: Tensor
    ) -> list[Tensor]:
        """Give the one estimate, `(sets, images, box, box)`."""
        shape = images.shape[:2]
        raw = encoded.value[:, -self.config.rings :]
        attended = self.attend(encoded, shape)
        for digest, heads, log_scale in zip(self.digest, self.again, self.log_scales, strict=True):
            features = encoded.features + digest(
                torch.cat([encoded.features, attended.to(encoded.features.dtype)], 1)
            )
            query, key, value = (head(features).to(raw.dtype) for head in heads)
            encoded = Encoded(
                encoded.conditioned,
                features,
                scale_to_unit_norm(query) * log_scale.exp(),
                scale_to_unit_norm(key),
                torch.cat([value, raw], dim=1),
            )
            attended = self.attend(encoded, shape)
        return [self.decode(encoded, attended).unflatten(0, shape)]


class ThreeBlocks(TwoBlocks):
    """Attention three times."""

    repeats = 2


class PlaneBlock(nn.Module):
    """A 2D convolution on the polar grid, circular along the angle, with group norm, ReLU and a skip."""

    def __init__(self, channels_in: int, channels_out: int, length: int):
        super().__init__()
        self.margin = length // 2
        self.conv = nn.Conv2d(channels_in, channels_out, (3, length), padding=(1, 0))
        self.norm = nn.GroupNorm(8, channels_out)
        self.skips = channels_in == channels_out

    def forward(self, planes: Tensor) -> Tensor:
        """Map `(n, channels_in, rings, angles)` to `(n, channels_out, rings, angles)`."""
        padded = F.pad(planes, (self.margin, self.margin, 0, 0), mode="circular")
        activated = F.relu(self.norm(self.conv(padded)))
        return planes + activated if self.skips else activated


class PlaneNetwork(nn.Module):
    """2D convolutions on the polar grid in place of a chain of angular blocks.

    Channels of the chain's input that are images of all rings, or constants, become planes; an angular convolution puts
    the planes' rings together at the end, for the parts of the network that work on channels.
    """

    def __init__(self, channels_in: int, config: PolarTransformerConfig, count: int):
        super().__init__()
        self.rings = config.rings
        planes_in = -(-channels_in // config.rings)
        self.missing = planes_in * config.rings - channels_in
        planes = [planes_in] + [PLANE_CHANNELS] * count
        self.blocks = nn.Sequential(*(PlaneBlock(a, b, config.length) for a, b in pairwise(planes)))
        self.join = AngularConv(PLANE_CHANNELS * config.rings, config.hidden, 1)

    def forward(self, polar: Tensor) -> Tensor:
        """Map `(n, channels_in, angles)` to `(n, hidden, angles)`."""
        padded = F.pad(polar, (0, 0, 0, self.missing))
        return self.join(self.blocks(padded.unflatten(1, (-1, self.rings))).flatten(1, 2))


class PlaneConvolutions(PlainAverage):
    """2D convolutions over rings and angles instead of angular ones over all rings at once."""

    def __init__(self, config: PolarTransformerConfig):
        super().__init__(config)
        conditioned = config.rings + config.box // 2
        self.encoder = PlaneNetwork(conditioned, config, config.before)
        gathered = conditioned + config.hidden + config.value + config.rings
        self.decoder = PlaneNetwork(gathered, config, config.after)


class FourierGrid(DenseGrid):
    """The image's transform on rings of frequency: real parts, then imaginary parts, each a ring of the polar image.

    A rotation of the image is the same circular shift as on the real-space grid, a CTF multiplies a ring. White
    noise of variance 1 has variance 1 in every sample. The inverse is the regularised least-squares one on the disk.
    """

    def __init__(self, box: int, rings: int, angles: int, regularisation: float):
        frequency = (torch.arange(rings, dtype=torch.float64) + 0.5) * 0.5 / rings
        theta = 2 * torch.pi * torch.arange(angles, dtype=torch.float64) / angles
        offset = torch.arange(box, dtype=torch.float64) - box // 2
        along_x = (frequency[:, None] * torch.cos(theta)).flatten()[:, None] * offset
        along_y = (frequency[:, None] * torch.sin(theta)).flatten()[:, None] * offset
        phase = -2 * torch.pi * (along_y[:, :, None] + along_x[:, None, :])
        disk = disk_mask(box, box / 2 - 0.5)
        waves = torch.polar(disk.double().expand_as(phase), phase).flatten(1)
        matrix = torch.cat([waves.real, waves.imag]) * (2 / disk.sum()) ** 0.5
        weights = frequency.sqrt().repeat_interleave(angles).repeat(2)[:, None]
        weights = weights / torch.linalg.matrix_norm(weights * matrix, 2)
        inverse = solve_least_squares(weights * matrix, box, regularisation) * weights.T
        super().__init__(matrix, inverse, box, 2 * rings, angles)
        # Angular modes that an image of this box shows on a ring, and a few for its edge.
        carried = 2 * torch.pi * frequency * box / 2 + 4
        modes = (torch.arange(angles // 2 + 1) <= carried[:, None]).repeat(2, 1)
        self.register_buffer("modes", modes, persistent=False)

    def truncate(self, polar: Tensor) -> Tensor:
        """Leave out the angular modes that a ring cannot carry."""
        return torch.fft.irfft(torch.fft.rfft(polar) * self.modes, n=self.angles)


class InFourierSpace(PolarTransformer):
    """The polar representation in Fourier space, where a CTF is diagonal, with CTF-weighted attended values."""

    def __init__(self, config: PolarTransformerConfig):
        nn.Module.__init__(self)
        self.config = config = replace(config, passes=1)
        hidden, length, half, rings = config.hidden, config.length, config.box // 2, config.rings
        self.grid = FourierGrid(config.box, rings, config.angles, 1e-3)
        conditioned = 2 * rings + half
        self.encoder = stack_angular_blocks(conditioned, hidden, length, config.before)
        self.to_query = AngularConv(hidden, config.query, length)
        self.to_key = AngularConv(hidden, config.query, length)
        self.to_value = AngularConv(hidden, config.value, length)
        self.log_scale = nn.Parameter(torch.tensor(FIRST_SCALE).log())
        gathered = conditioned + hidden + config.value + 2 * rings + half
        self.decoder = stack_angular_blocks(gathered, hidden, length, config.after)
        self.to_rings = AngularConv(hidden, 2 * rings, length)
        self.log_floor = nn.Parameter(torch.zeros(rings))
        self.evidence_weights = LearnedEvidenceWeights(0)

    def encode(self, images: Tensor, ctf_rings: Tensor) -> Encoded:
        """Compute features, queries, keys and values, as the polar transformer does."""
        with torch.autocast(images.device.type, enabled=False):
            polar = self.grid.to_polar(images)  # (n, 2 rings, angles)
        conditioned = append_ctf_rings(polar, ctf_rings)
        features = self.encoder(conditioned)
        weighted = polar * self.at_rings(ctf_rings)[..., None].repeat(1, 2, 1)
        power = ctf_rings.square()[..., None].expand(*ctf_rings.shape, polar.shape[-1])
        value = torch.cat([self.to_value(features).to(polar.dtype), weighted, power], dim=1)
        query, key = (
            scale_to_unit_norm(convolution(features).to(polar.dtype))
            for convolution in (self.to_query, self.to_key)
        )
        return Encoded(conditioned, features, query * self.log_scale.exp(), key, value)

    def at_rings(self, ctf_rings: Tensor) -> Tensor:
        """Give CTF rings `(n, box // 2)`, at whole cycles per box, at the rings' frequencies, `(n, rings)`."""
        next_one = torch.cat([ctf_rings[:, 1:], ctf_rings[:, -1:]], dim=1)
        between = 0.5 * (ctf_rings + next_one)  # at half cycles
        return F.interpolate(between[:, None], size=self.config.rings, mode="nearest")[:, 0]

    def decode(self, encoded: Encoded, attended: Tensor) -> Tensor:
        """Estimate the clean images from what they are and what they have gathered."""
        value, rings = self.config.value, self.config.rings
        weighted, power = attended[:, value : value + 2 * rings], attended[:, value + 2 * rings :]
        floor = self.log_floor.exp() + self.at_rings(power.mean(-1))
        average = weighted / floor.repeat(1, 2)[..., None]
        gathered = torch.cat([attended[:, :value], average, power], dim=1)
        estimate = self.to_rings(
            self.decoder(torch.cat([encoded.conditioned, encoded.features, gathered], dim=1))
        )
        with torch.autocast(attended.device.type, enabled=False):
            estimate = self.grid.truncate(OUTPUT_SCALE * estimate.to(attended.dtype) + average)
            return self.grid.to_images(estimate)
