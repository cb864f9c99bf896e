"""The interface of a denoising network."""

from typing import Any

from torch import Tensor, nn


class Denoiser(nn.Module):
    """A network from sets of normalised images to clean estimates of the same shape.

    Images `(sets, images, box, box)` have noise of standard deviation about 1 and background 0; estimates are free of
    the CTF and in the same units. The network is conditioned on each image's CTF by its CTF rings `(sets, images, box
    // 2)`, the mean of |CTF| on each ring of frequencies: a phase-flipped image that lacks low frequencies means
    something else than an image that never had any. Without CTF rings the images have no CTF.

    Attributes
    ----------
    config : dataclass
        The sizes that the network was built with; `box` is one of them.
    """

    config: Any

    def forward(self, images: Tensor, ctf_rings: Tensor | None = None) -> Tensor:
        """Denoise images `(sets, images, box, box)`."""
        raise NotImplementedError

    def denoise_by_passes(self, images: Tensor, ctf_rings: Tensor | None = None) -> list[Tensor]:
        """Give every estimate that the network makes of the images, the last one being the result."""
        return [self(images, ctf_rings)]

    def start_from(self, trained: "Denoiser") -> None:
        """Take over the weights of a trained network of the same architecture.

        Raises
        ------
        ValueError
            If it has other sizes.
        """
        if trained.config != self.config:
            raise ValueError(f"its sizes are {trained.config}, not {self.config}")
        self.load_state_dict(trained.state_dict())
