"""Images known analytically, so that they can be rotated without interpolation."""

import math

import numpy as np
import torch


def draw_smooth_images(count, seed, box=64, rotation=0.0, widest_frequency=0.15):
    """Draw sums of Gabor functions with nothing above half Nyquist, and the same turned by `rotation` radians.

    Each is a wave of at most `widest_frequency` cycles a pixel under a Gaussian of 5 to 7 px, inside the disk: the
    half Nyquist of 0.25 cycles a pixel is three standard deviations away from every wave.

    Returns
    -------
    tuple of Tensor
        `(count, box, box)` float64, the second counter-clockwise (+x to +y) by `rotation`.
    """
    generator = np.random.default_rng(seed)
    axis = torch.arange(box, dtype=torch.float64) - box // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    # The value at p of the rotated image is the value at R^-1 p of the image.
    back_x = math.cos(rotation) * x + math.sin(rotation) * y
    back_y = -math.sin(rotation) * x + math.cos(rotation) * y
    plain, turned = torch.zeros(count, box, box).double(), torch.zeros(count, box, box).double()
    for image in range(count):
        for _ in range(8):
            radius, azimuth = (
                box / 7 * math.sqrt(generator.random()),
                generator.uniform(0, 2 * math.pi),
            )
            frequency = widest_frequency * math.sqrt(generator.random())
            direction, phase = generator.uniform(0, 2 * math.pi, 2)
            width = box / 64 * generator.uniform(5, 7)

            def gabor(u, v, r=radius, a=azimuth, f=frequency, d=direction, p=phase, w=width):
                u, v = u - r * math.cos(a), v - r * math.sin(a)
                wave = torch.cos(2 * math.pi * f * (u * math.cos(d) + v * math.sin(d)) + p)
                return wave * torch.exp(-(u**2 + v**2) / (2 * w**2))

            plain[image] += gabor(x, y)
            turned[image] += gabor(back_x, back_y)
    return plain, turned


def relative_norm(difference, reference):
    """L2 norm of the difference over that of the reference."""
    return float(torch.linalg.vector_norm(difference) / torch.linalg.vector_norm(reference))
