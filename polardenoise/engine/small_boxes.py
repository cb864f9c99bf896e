"""Images smaller than the network's box: padding leaves high frequencies empty, which no network was trained on."""

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.background import measure_background
from polardenoise.engine.fourier import fourier_crop, fourier_pad


def pad_with_noise(images: Tensor, box: int, rows: np.ndarray) -> Tensor:
    """Pad images in Fourier space and fill what is beyond their frequencies with noise of their own level.

    Parameters
    ----------
    images : Tensor
        `(m, N, N)`.
    box : int
        `M > N`, pixels.
    rows : ndarray
        `(m,)` rows of the images, which fix the draws: an image gets the same noise in whatever chunk it comes.

    Returns
    -------
    Tensor
        `(m, M, M)`. Cropping it to `N` gives the images again.
    """
    drawn = np.stack(
        [np.random.default_rng([row]).standard_normal((box, box), np.float32) for row in rows]
    )
    noise = torch.from_numpy(drawn).to(images)
    size = images.shape[-1]
    # White noise has the same power at every frequency: its deviation goes with the box.
    level = measure_background(images).deviation * box / size
    beyond = noise - fourier_pad(fourier_crop(noise, size), box)
    return fourier_pad(images, box) + level * beyond
