"""Pixels that no particle and no noise explains: hot, dead or broken ones, and X-rays.

One pixel of 10^6 outweighs all others of its image, at every frequency, and by way of the neighbours those of other
images. It is replaced by what surrounds it. What is so far out is not a matter of taste: the limit is eight times what
one pixel in a hundred exceeds, 20 standard deviations of normal noise; images without such pixels stay bit for bit.
"""

import numpy as np
import torch
from torch import Tensor

#: A pixel is hot if it differs from the median by so many times what this share of the pixels does not exceed.
FACTOR, SHARE = 8.0, 0.99

#: The largest difference from the mean in standard deviations: with less, no pixel is hot. (With a share of 0.01 of the
#: pixels hot and all others 0 it is 9.9, with fewer more.)
SUSPICIOUS = 7.5

#: What surrounds a pixel: so many pixels to either side.
AROUND = 2


def replace_hot_pixels(images: Tensor) -> tuple[Tensor, np.ndarray]:
    """Replace hot pixels by the median of what surrounds them.

    Parameters
    ----------
    images : Tensor
        `(m, N, N)`; not changed.

    Returns
    -------
    Tensor
        `(m, N, N)`: `images` itself where no pixel is hot.
    ndarray
        `(m,)` int64 how many were, in each image.
    """
    counts = np.zeros(len(images), dtype=np.int64)
    wide = images.double().flatten(1)  # squares of 3e38 are to be finite
    largest = (wide - wide.mean(1, keepdim=True)).abs().amax(1)
    suspects = torch.nonzero(largest > SUSPICIOUS * wide.std(1)).squeeze(1).tolist()
    replaced = images
    for number in suspects:
        image = images[number].cpu().numpy()
        hot = find_hot_pixels(image)
        counts[number] = hot.sum()
        if hot.any():
            replaced = images.clone() if replaced is images else replaced
            replaced[number] = torch.from_numpy(fill_from_around(image, hot)).to(images)
    return replaced, counts


def find_hot_pixels(image: np.ndarray) -> np.ndarray:
    """Tell which pixels of an image `(N, N)` are hot, `(N, N)` bool."""
    apart = np.abs(image.astype(np.float64) - np.median(image))
    limit = FACTOR * np.quantile(apart, SHARE)
    return apart > limit if limit else np.zeros_like(apart, dtype=bool)


def fill_from_around(image: np.ndarray, hot: np.ndarray) -> np.ndarray:
    """Give hot pixels of an image the median of the others around them, that of the image where all around are hot."""
    filled = image.copy()
    for y, x in zip(*np.nonzero(hot), strict=True):
        window = (
            slice(max(y - AROUND, 0), y + AROUND + 1),
            slice(max(x - AROUND, 0), x + AROUND + 1),
        )
        others = image[window][~hot[window]]
        filled[y, x] = np.median(others if others.size else image)
    return filled
