"""The structure of amorphous ice: noise of the specimen, which the microscope images as it images the particle.

Water molecules lie at random: their projected potential is white at the frequencies of a particle image. Seen through
the CTF it shows Thon rings and vanishes where the particle's signal does, unlike the noise of counting
(Baxter, Grassucci, Gao & Frank 2009, J. Struct. Biol. 166, 126: structural noise, before the CTF, and shot noise).
"""

import numpy as np
import torch
from torch import Tensor


def draw_ice(count: int, transfer: Tensor, generator: np.random.Generator) -> Tensor:
    """Draw images of ice.

    Parameters
    ----------
    count : int
        How many.
    transfer : Tensor
        `(N, N // 2 + 1)` or `(count, N, N // 2 + 1)`, what the transform of the projected potential is multiplied by:
        CTF, envelope, MTF; in the layout of `torch.fft.rfft2`, box even.
    generator : numpy.random.Generator
        White noise is drawn from it image by image.

    Returns
    -------
    Tensor
        `(count, N, N)` float32, mean 0, each drawn from noise of variance 1.
    """
    box = transfer.shape[-2]
    white = torch.from_numpy(generator.standard_normal((count, box, box), dtype=np.float32))
    # The first and the last column of the half transform stand for themselves, the others for two.
    twice = torch.full((box // 2 + 1,), 2.0)
    twice[0] = twice[-1] = 1.0
    variance = (transfer.square() * twice).sum((-2, -1), keepdim=True) / box**2
    return torch.fft.irfft2(torch.fft.rfft2(white) * (transfer / variance.sqrt()), s=(box, box))
