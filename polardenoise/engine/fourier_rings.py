"""Images on rings of their Fourier transform: where rotation, CTF and comparison are all diagonal.

A plane wave is a sum of circular harmonics (Jacobi-Anger), so that the transform of an image on the ring of `k` cycles
per box has the angular modes

    c_m(k) = sum_x f(x) (-i)^m J_m(2 pi k r / N) exp(-i m phi),        x = (r cos phi, r sin phi).

Turning the image counter-clockwise by `alpha` multiplies mode `m` by `exp(-i m alpha)`, a CTF multiplies a ring, and
the inner product of two images is a sum over both: comparing images at all rotations is a matrix product per mode.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.special import jv
from torch import Tensor

#: Share of the Nyquist frequency that images are compared up to: beyond it there is next to no signal at SNRs where
#: anything is to be gained by denoising, but half of the noise.
HIGHEST_FREQUENCY = 0.625

#: Angular modes a ring: twice its number, as many as a particle of two thirds of the box shows on the outermost one.
MODES_PER_RING = 2


@dataclass(frozen=True)
class FourierRings:
    """Rings of 1, 2, ... cycles per box and angular modes 0, 1, ... of real images.

    Attributes
    ----------
    box : int
        Side of the images in pixels.
    matrix : Tensor
        `(2 * rings * modes, box * box)`: real parts of the coefficients of every pixel, then the imaginary parts,
        scaled so that the inner product of coefficients (see `weights`) is that of pixels.
    rings, modes : int
        Numbers of both.
    """

    box: int
    matrix: Tensor
    rings: int
    modes: int

    def describe(self, images: Tensor) -> Tensor:
        """Compute the coefficients of images.

        Parameters
        ----------
        images : Tensor
            `(n, box, box)` float32.

        Returns
        -------
        Tensor
            `(2, modes, n, rings)` float32: real and imaginary parts.
        """
        matrix = self.matrix.to(images.device)
        flat = images.flatten(1) @ matrix.T  # (n, 2 * rings * modes)
        parts = flat.view(len(images), 2, self.rings, self.modes)
        return parts.permute(1, 3, 0, 2).contiguous()

    def weights(self, device: torch.device) -> Tensor:
        """Weight of each mode `(modes,)` in an inner product: mode -m, the conjugate of mode m, counts with it."""
        weights = torch.full((self.modes,), 2.0, device=device)
        weights[0] = 1.0
        return weights

    def noise_energies(self) -> Tensor:
        """Give the mean energy of white noise of variance 1 on each ring, `(rings,)`."""
        squares = self.matrix.square().sum(1).view(2, self.rings, self.modes).sum(0)
        return (squares * self.weights(squares.device)).sum(-1)

    def ring_energies(self, described: Tensor) -> Tensor:
        """Give the energy of each image on each ring, `(n, rings)`, from `(2, modes, n, rings)`."""
        weights = self.weights(described.device)[None, :, None, None]
        return (described.square() * weights).sum((0, 1))


@lru_cache(maxsize=4)
def build_fourier_rings(box: int) -> FourierRings:
    """Build the rings of images of a box size; pixels outside the disk of radius `box / 2 - 1/2` do not count."""
    rings = max(2, int(HIGHEST_FREQUENCY * box / 2))
    modes = MODES_PER_RING * rings + 1
    along = np.arange(box) - box // 2
    y, x = np.meshgrid(along, along, indexing="ij")
    radius, angle = np.hypot(x, y).ravel(), np.arctan2(y, x).ravel()
    inside = radius <= box / 2 - 0.5
    order = np.arange(modes)
    # Area of a ring of the Fourier transform, in samples of the discrete transform, whose squares sum to box^2 times
    # those of the pixels; the integral over the ring of the squares of a sum of modes is the sum of their squares.
    area = np.sqrt(2 * np.pi * np.arange(1, rings + 1)) / box
    matrix = np.zeros((2, rings, modes, box * box), dtype=np.float32)
    turning = np.exp(-1j * order[:, None] * (angle[inside] + np.pi / 2))  # (-i)^m exp(-i m phi)
    for ring in range(rings):
        bessel = jv(order[:, None], 2 * np.pi * (ring + 1) / box * radius[inside])
        waves = area[ring] * bessel * turning  # (modes, pixels)
        matrix[0, ring][:, inside], matrix[1, ring][:, inside] = waves.real, waves.imag
    return FourierRings(box, torch.from_numpy(matrix.reshape(-1, box * box)), rings, modes)
