"""The convolutions of a network, compiled by torch: their norms and activations then move through memory once."""

from polardenoise.engine.models import Denoiser

#: Parts of the networks that are chains of convolutions, by the name they have there. Attention stays as it is: its
#: sizes change with those of the sets.
CHAINS = ("encoder", "decoder", "layers")


def compile_convolutions(model: Denoiser) -> None:
    """Compile the chains of convolutions of a network where they are; parameters and their names stay.

    The first step of each size then takes up to a minute. Results differ by rounding.
    """
    for name in CHAINS:
        if (chain := getattr(model, name, None)) is not None:
            chain.compile(dynamic=False)
