"""Gaussian images with the second moments of given ones: what a linear filter would have made of noise.

A denoiser leaves noise fewer degrees of freedom than it had: smooth blobs about the centre have tens of them, white
noise has a thousand. Aligned to any reference, whichever it is, what has fewer of them correlates with it more. These
images have the same covariance as the denoised ones and nothing else in common with them: what half maps of them show
comes from the covariance, and what those of the denoised images show beyond it, from what the denoiser draws into each.
"""

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.null_conditions import split_count


def draw_alike(images: Tensor, generator: np.random.Generator) -> Tensor:
    """Draw Gaussian images with the covariance of images of two halves, each half from its own.

    Parameters
    ----------
    images : Tensor
        `(n, N, N)` CTF-free, N even, the first half of them one half.
    generator : numpy.random.Generator
        Draws the weights.

    Returns
    -------
    Tensor
        `(n, N, N)`: sums, with independent normal weights, of the half's images (less their mean) and of these turned
        by 90, 180 and 270 degrees, as the covariance of noise knows no direction.
    """
    drawn = []
    for half in split_count(len(images)):
        centred = images[half] - images[half].mean(0)
        turned = [centred]
        for _ in range(3):
            turned.append(turn_quarter(turned[-1]))
        pool = torch.cat(turned).flatten(1)
        shape = (len(centred), len(pool))
        weights = torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))
        drawn.append((weights @ pool / len(pool) ** 0.5).unflatten(1, centred.shape[1:]))
    return torch.cat(drawn)


def turn_quarter(images: Tensor) -> Tensor:
    """Turn images `(..., N, N)` by 90 degrees about pixel (N // 2, N // 2), N even, from +x to +y.

    Row and column 0 have no counterpart at the other edge: those of the result are 0.
    """
    turned = torch.zeros_like(images)
    turned[..., 1:, 1:] = images[..., 1:, 1:].transpose(-1, -2).flip(-1)
    return turned
