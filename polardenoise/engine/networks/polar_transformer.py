"""The polar transformer: joint denoising of a set of images by angular attention (arXiv 2506.11283, section 4).

    polar    = P images                                     polar map
    features = encoder(polar, CTF rings)                    polar CNN
    query, key, value = angular convolutions of features
    attended = angular attention(query, key, value)         who shows the same, and at which rotation
    estimate = P^-1 decoder(polar, features, attended)      polar CNN and least-squares inverse

Two things go beyond the paper. Beside learned values, each image times its own |CTF| is attended, and its |CTF|^2:
their quotient is the Wiener average of the images that an image attends to, in which images of different defocus
complete one another's zeros, and the estimate starts from it. And the network makes several passes: after the first it
knows what the images show, and the further ones attend by that evidence (`evidence_attention`) and decode again.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from polardenoise.engine.imaging.ctf_rings import (
    append_ctf_rings,
    filter_by_rings,
    unit_ctf_rings,
)
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.mirror_parity import mirror_samples
from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import compute_image_harmonics
from polardenoise.engine.networks.angular_attention import attend
from polardenoise.engine.networks.denoiser import Denoiser
from polardenoise.engine.networks.evidence_attention import (
    EvidenceWeights,
    LearnedEvidenceWeights,
    attend_in_sets_by_evidence,
)
from polardenoise.engine.networks.layers import (
    OUTPUT_SCALE,
    AngularConv,
    scale_to_unit_norm,
    smooth_rings,
    stack_angular_blocks,
)
from polardenoise.engine.networks.template_evidence import TemplateComparison, prepare_comparison
from polardenoise.engine.runtime.devices import full_precision

#: Tikhonov weight of the inverse polar map of the attended average: what noise it holds, its own filter takes away.
AVERAGE_REGULARISATION = 1e-3

#: What the learned floor of the Wiener average begins with, in units of the CTF's power.
FIRST_FLOOR = 0.5

#: What a block that is put behind trained ones begins with: by how much its norm is scaled.
QUIET_BLOCK = 0.05

#: What the inverse temperature of the attention begins with.
FIRST_SCALE = 20.0


@dataclass(frozen=True)
class PolarTransformerConfig:
    """Sizes of a polar transformer.

    Attributes
    ----------
    box, rings, angles : int
        The polar grid (see `PolarGrid`).
    hidden : int
        Channels of the polar CNNs.
    query : int
        Channels of the attention's queries and keys.
    value : int
        Channels of the learned values; the Wiener average is attended beside them.
    length : int
        Angular filter length in steps.
    before, after : int
        Angular blocks of the encoder and of the decoder.
    regularisation : float
        Tikhonov weight of the inverse polar map of the estimate. Twenty times that of a faithful round trip: the
        inverse amplifies a rough estimate by at most 3.5, without which training does not settle.
    passes : int
        Estimates made of the images: the first by attention, each further one by the evidence of the one before.
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
    passes: int = 3


@dataclass(frozen=True)
class Encoded:
    """What the network computes of each image by itself, before images see one another.

    Attributes
    ----------
    conditioned : Tensor
        `(n, rings + box // 2, angles)`: the polar image and the CTF rings.
    features : Tensor
        `(n, hidden, angles)`, in the precision of the convolutions.
    query, key : Tensor
        `(n, query, angles)`, of unit norm; the query is multiplied by the scale of the logits.
    value : Tensor
        `(n, value + rings + box // 2, angles)`: learned values, the polar image times |CTF|, and |CTF|^2.

    In a cluster (`neighbours.encoded_cluster`), key and value may be twice as many: those of the images, then those of
    the mirrored images.
    """

    conditioned: Tensor
    features: Tensor
    query: Tensor
    key: Tensor
    value: Tensor

    def select(self, images: Tensor | slice) -> "Encoded":
        """Take some of the images."""
        return Encoded(
            self.conditioned[images],
            self.features[images],
            self.query[images],
            self.key[images],
            self.value[images],
        )


class PolarTransformer(Denoiser):
    """Joint denoising of sets of images by angular attention; the head of this file shows how."""

    config: PolarTransformerConfig
    disk: Tensor

    def __init__(self, config: PolarTransformerConfig):
        super().__init__()
        if config.passes < 1:
            raise ValueError(f"passes {config.passes}: a network makes at least one")
        self.config = config
        box, rings, hidden, length = config.box, config.rings, config.hidden, config.length
        ctf_rings = box // 2
        self.grid = PolarGrid(box, rings, config.angles, regularisation=config.regularisation)
        self.average_grid = PolarGrid(
            box, rings, config.angles, regularisation=AVERAGE_REGULARISATION
        )
        self.register_buffer("disk", disk_mask(box, box / 2 - 0.5), persistent=False)

        conditioned = rings + ctf_rings
        self.encoder = stack_angular_blocks(conditioned, hidden, length, config.before)
        self.to_query = AngularConv(hidden, config.query, length)
        self.to_key = AngularConv(hidden, config.query, length)
        self.to_value = AngularConv(hidden, config.value, length)
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))

        gathered = conditioned + hidden + config.value + rings + ctf_rings
        self.decoder = stack_angular_blocks(gathered, hidden, length, config.after)
        self.to_rings = AngularConv(hidden, rings, length)
        self.log_floor = nn.Parameter(torch.full((ctf_rings,), math.log(FIRST_FLOOR)))
        self.average_gain = nn.Parameter(torch.ones(rings))
        self.evidence_weights = LearnedEvidenceWeights(config.passes - 1)

    def forward(self, images: Tensor, ctf_rings: Tensor | None = None) -> Tensor:
        """Denoise `(sets, images, box, box)`; images of one set see one another, sets do not."""
        return self.denoise_by_passes(images, ctf_rings)[-1]

    def denoise_by_passes(self, images: Tensor, ctf_rings: Tensor | None = None) -> list[Tensor]:
        """Give the estimates `(sets, images, box, box)` of all passes, the first one first."""
        ctf_rings = unit_ctf_rings(images) if ctf_rings is None else ctf_rings
        encoded = self.encode(images.flatten(0, 1), ctf_rings.flatten(0, 1))
        return self.estimate_by_passes(encoded, images, ctf_rings)

    def estimate_by_passes(
        self, encoded: Encoded, images: Tensor, ctf_rings: Tensor
    ) -> list[Tensor]:
        """Give the estimates of all passes at images that are encoded already.

        Parameters
        ----------
        encoded : Encoded
            Of the images of one set after another.
        images, ctf_rings : Tensor
            What was encoded, `(sets, images, box, box)` and `(sets, images, box // 2)`.

        Returns
        -------
        list of Tensor
            `(sets, images, box, box)` each.
        """
        shape = images.shape[:2]
        estimates = [self.decode(encoded, self.attend(encoded, shape)).unflatten(0, shape)]
        for evidence_weights in self.evidence_weights.list_passes():
            comparison = self.compare_with_templates(images, ctf_rings, estimates[-1])
            attended = self.attend_by_evidence(encoded, shape, comparison, evidence_weights)
            estimates.append(self.decode(encoded, attended).unflatten(0, shape))
        return estimates

    def encode(self, images: Tensor, ctf_rings: Tensor) -> Encoded:
        """Compute features, queries, keys and values of images `(n, box, box)` with CTF rings `(n, box // 2)`."""
        # The polar map, like attention and its transforms, is in single precision whatever the convolutions use.
        with full_precision(images.device):
            polar = self.grid.to_polar(images)  # (n, rings, angles)
            weighted = self.grid.to_polar(filter_by_rings(images, ctf_rings))
        conditioned = append_ctf_rings(polar, ctf_rings)
        features = self.encoder(conditioned)
        query, key, learned = (
            convolution(features).to(polar.dtype)
            for convolution in (self.to_query, self.to_key, self.to_value)
        )
        power = ctf_rings.square().to(polar.dtype)[..., None]
        power = power.expand(*ctf_rings.shape, polar.shape[-1])
        return Encoded(
            conditioned=conditioned,
            features=features,
            query=scale_to_unit_norm(query) * self.log_scale.exp(),
            key=scale_to_unit_norm(key),
            value=torch.cat([learned, weighted, power], dim=1),
        )

    def encode_mirrored(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Compute keys and values of the mirrored images of encoded ones, as `encode` gives them, up to rounding."""
        conditioned = mirror_samples(encoded.conditioned)
        features = self.encoder(conditioned)
        key, learned = (
            convolution(features).to(conditioned.dtype)
            for convolution in (self.to_key, self.to_value)
        )
        weighted_and_power = mirror_samples(encoded.value[:, self.config.value :])
        return scale_to_unit_norm(key), torch.cat([learned, weighted_and_power], dim=1)

    def attend(self, encoded: Encoded, shape: tuple[int, int] | torch.Size) -> Tensor:
        """Let each image gather, from all images of its set at all rotations, what they know about it.

        Parameters
        ----------
        encoded : Encoded
            Of `shape` (sets, images), one set after another.

        Returns
        -------
        Tensor
            `(n, value + rings + box // 2, angles)`.
        """
        query, key, value = (
            features.unflatten(0, shape) for features in (encoded.query, encoded.key, encoded.value)
        )
        with full_precision(query.device):
            return attend(query, key, value).flatten(0, 1)

    def attend_by_evidence(
        self,
        encoded: Encoded,
        shape: tuple[int, int] | torch.Size,
        comparison: TemplateComparison,
        evidence_weights: EvidenceWeights,
    ) -> Tensor:
        """Let each image gather as `attend` does, by the evidence of earlier estimates."""
        query, key, value = (
            features.unflatten(0, shape) for features in (encoded.query, encoded.key, encoded.value)
        )
        with full_precision(query.device):
            return attend_in_sets_by_evidence(
                query, key, value, comparison, evidence_weights
            ).flatten(0, 1)

    @torch.no_grad()
    def compare_with_templates(
        self, images: Tensor, ctf_rings: Tensor, estimates: Tensor
    ) -> TemplateComparison:
        """Prepare images for the comparison with earlier estimates, all `(sets, images, box, box)`."""
        rings = build_fourier_rings(self.config.box)
        images, ctf_rings, estimates = (
            one.flatten(0, 1) for one in (images, ctf_rings, estimates.float())
        )
        with full_precision(images.device):
            image_harmonics = compute_image_harmonics(images, ctf_rings, rings)
            templates = rings.to_harmonics(estimates)
            return prepare_comparison(image_harmonics, ctf_rings, templates, rings)

    def decode(self, encoded: Encoded, attended: Tensor) -> Tensor:
        """Estimate the clean images `(n, box, box)` from what they are and what they have gathered.

        Parameters
        ----------
        encoded : Encoded
            Of the images.
        attended : Tensor
            `(n, value + rings + box // 2, angles)`.
        """
        sizes = [self.config.value, self.config.rings, self.config.box // 2]
        learned, weighted, power = attended.split(sizes, dim=1)
        average = self.solve_wiener_average(weighted, power)
        gathered = [encoded.conditioned, encoded.features, learned, average, power]
        estimate = self.to_rings(self.decoder(torch.cat(gathered, dim=1)))
        with full_precision(attended.device):
            estimate = OUTPUT_SCALE * estimate.to(attended.dtype)
            estimate = smooth_rings(estimate + average * self.average_gain[:, None])
            return self.grid.to_images(estimate)

    def solve_wiener_average(self, weighted: Tensor, power: Tensor) -> Tensor:
        """Divide the attended images by the attended power of their CTFs and a learned floor, ring by ring.

        Parameters
        ----------
        weighted : Tensor
            `(n, rings, angles)`: attention-weighted sums of polar images times |CTF|.
        power : Tensor
            `(n, box // 2, angles)`: of |CTF|^2, the same at every angle.

        Returns
        -------
        Tensor
            `(n, rings, angles)`.
        """
        with full_precision(weighted.device):
            factors = 1 / (power.mean(-1) + self.log_floor.exp())  # (n, box // 2)
            average = filter_by_rings(self.average_grid.to_images(weighted), factors)
            return self.grid.to_polar(average * self.disk)

    def start_from(self, trained: Denoiser) -> None:
        """Take over the weights of a trained polar transformer of fewer blocks, or of another number of passes.

        Evidence weights of passes that it does not make are what they begin with. Blocks that it does not have come
        last in their chain and begin by adding next to nothing (`QUIET_BLOCK`).

        Raises
        ------
        ValueError
            If its other sizes differ, or it has more blocks.
        """
        config = self.config
        grown = {"passes": config.passes, "before": config.before, "after": config.after}
        shrinks = trained.config.before > config.before or trained.config.after > config.after
        if replace(trained.config, **grown) != config or shrinks:
            raise ValueError(f"its sizes are {trained.config}, not {config}")
        weights = trained.state_dict()
        for name, start in self.state_dict().items():
            if name not in weights:  # of a block that only this network has
                weights[name] = start * QUIET_BLOCK if name.endswith("norm.weight") else start
        for name, own in self.evidence_weights.state_dict(prefix="evidence_weights.").items():
            known = weights[name][: len(own)]
            weights[name] = torch.cat([known, own[len(known) :]])
        self.load_state_dict(weights)
