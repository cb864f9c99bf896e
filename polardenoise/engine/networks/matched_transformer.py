"""The polar transformer that looks again: later attentions go by what its earlier estimates show."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from polardenoise.engine.imaging.ctf_profiles import flat_profiles
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import describe_observed
from polardenoise.engine.networks.ctf_weighted import CtfWeightedTransformer
from polardenoise.engine.networks.evidence_attention import Trust, attend_in_sets_by_match
from polardenoise.engine.networks.polar_transformer import Described, PolarConfig
from polardenoise.engine.networks.template_evidence import observe

#: What the scalars are before they are learned, chosen on validation molecules.
FIRST_TRUST = {
    "attention": 0.3,
    "match": 0.35,
    "attention_rotation": 0.1,
    "match_rotation": 1.0,
}

#: Scalars are learned in this unit. A step of Adam moves each number by its learning rate; what a filter's thousand
#: weights do together in a hundred steps, a scalar alone would take all of the training for.
TRUST_PACE = 30.0


@dataclass(frozen=True)
class MatchedConfig(PolarConfig):
    """Sizes of a polar transformer that looks again.

    Attributes
    ----------
    looks : int
        How often: the first time by attention, then by matches with the estimates of the time before.
    """

    looks: int = 3


class MatchedTransformer(CtfWeightedTransformer):
    """A CTF-weighted transformer with further attentions over the same features, by matches (`evidence_attention`).

    Nothing is learned anew but four scalars a look; encoder and decoder serve all of them.
    """

    config: MatchedConfig

    def __init__(self, config: MatchedConfig):
        if config.looks < 2:
            raise ValueError(
                f"looks {config.looks}: a network that looks once is a polar-transformer-ctf"
            )
        super().__init__(config)
        # Each is what it begins with times exp(pace * parameter): it stays positive.
        self.trust_steps = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(config.looks - 1)) for name in FIRST_TRUST}
        )

    @classmethod
    def from_ctf_weighted(cls, plain: CtfWeightedTransformer) -> "MatchedTransformer":
        """Start from a trained CTF-weighted transformer, whose estimates become the first."""
        model = cls(MatchedConfig(**asdict(plain.config)))
        model.load_state_dict(model.state_dict() | plain.state_dict())
        return model

    def list_trust(self) -> list[Trust]:
        """List the learned scalars of the second look, the third, and so on."""
        learned = {
            name: FIRST_TRUST[name] * (TRUST_PACE * steps).exp()
            for name, steps in self.trust_steps.items()
        }
        return [
            Trust(**{name: values[number] for name, values in learned.items()})
            for number in range(self.config.looks - 1)
        ]

    def forward(self, images: Tensor, profiles: Tensor | None = None) -> Tensor:
        """Denoise `(sets, images, box, box)`; images of one set see one another, sets do not."""
        return self.denoise_by_looks(images, profiles)[-1]

    def denoise_by_looks(self, images: Tensor, profiles: Tensor | None = None) -> list[Tensor]:
        """Give the estimates of all looks at `(sets, images, box, box)`, the first one first."""
        profiles = flat_profiles(images) if profiles is None else profiles
        described = self.describe_for_attention(images.flatten(0, 1), profiles.flatten(0, 1))
        return self.look(described, images, profiles)

    def look(self, described: Described, images: Tensor, profiles: Tensor) -> list[Tensor]:
        """Estimate images as `PolarTransformer.look` does, then again by matches with what came of it."""
        estimates = super().look(described, images, profiles)
        for trust in self.list_trust():
            estimates.append(self.look_again(described, images, profiles, estimates[-1], trust))
        return estimates

    def look_again(
        self,
        described: Described,
        images: Tensor,
        profiles: Tensor,
        estimates: Tensor,
        trust: Trust,
    ) -> Tensor:
        """Estimate the images of sets by matches with earlier estimates `(sets, images, box, box)`."""
        shape = images.shape[:2]
        with torch.autocast(images.device.type, enabled=False):
            with torch.no_grad():
                rings = build_fourier_rings(images.shape[-1])
                shown, by_image = estimates.flatten(0, 1).float(), profiles.flatten(0, 1)
                described_images = describe_observed(images.flatten(0, 1), by_image, rings)
                observed = observe(described_images, by_image, rings.describe(shown), rings)
            query, key, value = (
                features.unflatten(0, shape)
                for features in (described.query, described.key, described.value)
            )
            attended = attend_in_sets_by_match(query, key, value, observed, trust)
        return self.estimate(described, attended.flatten(0, 1)).unflatten(0, shape)
