"""The polar transformer that looks twice: its second attention goes by what its first estimate shows."""

import math

import torch
from torch import Tensor, nn

from polardenoise.engine.attention import attend
from polardenoise.engine.ctf_profiles import flat_profiles
from polardenoise.engine.ctf_weighted import CtfWeightedTransformer
from polardenoise.engine.fourier_rings import build_fourier_rings
from polardenoise.engine.layers import scale_to_unit_norm
from polardenoise.engine.matched_attention import Observed, Trust, attend_in_sets_by_match
from polardenoise.engine.matching import TEMPERATURE, describe_observed
from polardenoise.engine.polar_transformer import Described, PolarConfig


class MatchedTransformer(CtfWeightedTransformer):
    """A CTF-weighted transformer with a second attention over the same features, by matches (`matched_attention`).

    Nothing is learned anew but four scalars; encoder and decoder serve both passes.
    """

    def __init__(self, config: PolarConfig):
        super().__init__(config)
        self.trust_attention = nn.Parameter(torch.tensor(0.5))
        self.trust_match = nn.Parameter(torch.tensor(0.5))
        self.trust_rotation = nn.Parameter(torch.tensor(1.0))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(TEMPERATURE)))

    @classmethod
    def from_ctf_weighted(cls, plain: CtfWeightedTransformer) -> "MatchedTransformer":
        """Start from a trained CTF-weighted transformer, whose estimates become the first."""
        model = cls(plain.config)
        model.load_state_dict(model.state_dict() | plain.state_dict())
        return model

    @property
    def trust(self) -> Trust:
        """The learned scalars."""
        return Trust(
            self.trust_attention,
            self.trust_match,
            self.trust_rotation,
            self.log_temperature.exp(),
        )

    def forward(self, images: Tensor, profiles: Tensor | None = None) -> Tensor:
        """Denoise `(sets, images, box, box)`; images of one set see one another, sets do not."""
        return self.denoise_twice(images, profiles)[1]

    def denoise_twice(
        self, images: Tensor, profiles: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Give the first and the second estimate of `(sets, images, box, box)`."""
        profiles = flat_profiles(images) if profiles is None else profiles
        plain = self.describe(images.flatten(0, 1), profiles.flatten(0, 1))
        query = scale_to_unit_norm(plain.query) * self.attention.log_scale.exp()
        described = Described(
            plain.told, plain.features, query, scale_to_unit_norm(plain.key), plain.value
        )
        first = self.attend_first(described, images.shape[:2])
        second = self.attend_again(described, images, profiles, first)
        return first, second

    def attend_first(self, described: Described, shape: torch.Size) -> Tensor:
        """Estimate the images of sets `(sets, images)` by angular attention: `(sets, images, box, box)`.

        Queries of `described` carry the attention's scale, queries and keys have unit norm otherwise.
        """
        with torch.autocast(described.query.device.type, enabled=False):
            asked = (described.query, described.key, described.value)
            attended = attend(*(features.unflatten(0, shape) for features in asked))
        return self.estimate(described, attended.flatten(0, 1)).unflatten(0, shape)

    def attend_again(
        self, described: Described, images: Tensor, profiles: Tensor, first: Tensor
    ) -> Tensor:
        """Estimate the images of sets again, by matches with the first estimates `(sets, images, box, box)`."""
        shape = images.shape[:2]
        with torch.autocast(images.device.type, enabled=False):
            with torch.no_grad():
                observed = self.observe(
                    images.flatten(0, 1), profiles.flatten(0, 1), first.flatten(0, 1)
                )
            query, key, value = (
                features.unflatten(0, shape)
                for features in (described.query, described.key, described.value)
            )
            attended = attend_in_sets_by_match(query, key, value, observed, self.trust)
        return self.estimate(described, attended.flatten(0, 1)).unflatten(0, shape)

    def observe(self, images: Tensor, profiles: Tensor, estimates: Tensor) -> Observed:
        """Describe images and estimates `(n, box, box)` as matches need them."""
        rings = build_fourier_rings(images.shape[-1])
        return Observed(
            describe_observed(images, profiles, rings),
            profiles,
            rings.describe(estimates.detach().float()),
            rings,
        )
