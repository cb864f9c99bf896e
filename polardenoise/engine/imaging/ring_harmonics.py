"""Circular harmonics of images on rings of their Fourier transform: rotation, CTF and comparison are diagonal.

A plane wave is a sum of circular harmonics (Jacobi-Anger), so that the transform of an image on the ring of `k` cycles
per box has the angular modes

    c_m(k) = sum_x f(x) (-i)^m J_m(2 pi k r / N) exp(-i m phi),        x = (r cos phi, r sin phi).

Turning the image counter-clockwise by `alpha` multiplies mode `m` by `exp(-i m alpha)`, a CTF multiplies a ring, and
the inner product of two images is a sum over both: comparing images at all rotations is a matrix product per mode.
Opposite pixels enter even modes by their sum and odd modes by their difference, which halves the work twice.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import jv
from torch import Tensor

from polardenoise.engine.runtime.devices import CPU, keep_made

#: Share of the Nyquist frequency that images are compared up to: beyond it there is next to no signal at SNRs where
#: anything is to be gained by denoising, but half of the noise.
HIGHEST_FREQUENCY = 0.625

#: Angular modes a ring: twice its number, as many as a particle of two thirds of the box shows on the outermost one.
MODES_PER_RING = 2

#: Coefficients below this share of the largest ones are taken as nothing.
SMALLEST = 1e-9


@dataclass(frozen=True)
class FourierRings:
    """Rings of 1, 2, ... cycles per box and angular modes 0, 1, ... of real images.

    Attributes
    ----------
    box : int
        Side of the images in pixels.
    pixels, opposite : Tensor
        `(p,)` int64 pixels of one half of the disk, flat, and those opposite to them. The centre, opposite to itself,
        counts with half its value in each.
    even, odd : Tensor
        `(p, 2 * modes * rings)`: what a sum or a difference of opposite pixels adds to the coefficients of even or odd
        modes (real parts, then imaginary ones), scaled so that the inner product of coefficients (see `weights`) is
        that of pixels.
    rings, modes : int
        Numbers of both.
    """

    box: int
    pixels: Tensor
    opposite: Tensor
    even: Tensor
    odd: Tensor
    rings: int
    modes: int

    def to_harmonics(self, images: Tensor) -> Tensor:
        """Compute the harmonics of images: the coefficients of their circular harmonics.

        Parameters
        ----------
        images : Tensor
            `(n, box, box)` float32.

        Returns
        -------
        Tensor
            `(2, modes, n, rings)` float32: real and imaginary parts.
        """
        flat, device = images.flatten(1), images.device
        on_device = self if self.even.device == device else build_fourier_rings(self.box, device)
        here, there = flat[:, on_device.pixels], flat[:, on_device.opposite]
        harmonics = images.new_empty(2, self.modes, len(images), self.rings)
        for parity, seen, matrix in (
            (0, here + there, on_device.even),
            (1, here - there, on_device.odd),
        ):
            parts = seen @ matrix  # (n, 2 * modes of this parity * rings)
            harmonics[:, parity::2] = parts.view(len(images), 2, -1, self.rings).movedim(0, 2)
        return harmonics

    def mirror(self, harmonics: Tensor) -> Tensor:
        """Give the harmonics of images `(2, modes, n, rings)` mirrored in y: `(-1)^m` times the conjugate of mode m."""
        signs = harmonics.new_ones(2, self.modes)
        signs[0, 1::2] = -1
        signs[1, 0::2] = -1
        return harmonics * signs[:, :, None, None]

    def append_mirrored(self, harmonics: Tensor) -> Tensor:
        """Append those of the mirrored images to harmonics `(2, modes, n, rings)`: `(2, modes, 2 n, rings)`."""
        return torch.cat([harmonics, self.mirror(harmonics)], 2)

    def weights(self, device: torch.device) -> Tensor:
        """Weight of each mode `(modes,)` in an inner product: mode -m, the conjugate of mode m, counts with it."""
        return weigh_modes(self.modes, device)

    def noise_energies(self) -> Tensor:
        """Give the mean energy of white noise of variance 1 on each ring, `(rings,)`."""
        squares = torch.empty(self.modes, self.rings)
        # A pixel and its opposite enter with the same weight each; the centre, counted twice by half, adds nothing here
        # that matters: 1 of some 3,000 pixels.
        for parity, matrix in (0, self.even), (1, self.odd):
            squares[parity::2] = 2 * matrix.square().sum(0).view(2, -1, self.rings).sum(0)
        return (squares * self.weights(squares.device)[:, None]).sum(0)

    def ring_energies(self, harmonics: Tensor) -> Tensor:
        """Give the energy of each image on each ring, `(n, rings)`, from `(2, modes, n, rings)`."""
        weights = self.weights(harmonics.device)[None, :, None, None]
        return (harmonics.square() * weights).sum((0, 1))


@keep_made(8)
def weigh_modes(modes: int, device: torch.device) -> Tensor:
    """Weight of each mode in an inner product, as `FourierRings.weights`."""
    weights = torch.full((modes,), 2.0)
    weights[0] = 1.0
    return weights.to(device)


@keep_made(8)
def build_fourier_rings(box: int, device: torch.device = CPU) -> FourierRings:
    """Build the rings of images of a box size; pixels outside the disk of radius `box / 2 - 1/2` do not count.

    Harmonics are computed on the device of the images, wherever the rings are.
    """
    if device != CPU:
        made = build_fourier_rings(box)
        tensors = ("pixels", "opposite", "even", "odd")
        return replace(made, **{name: getattr(made, name).to(device) for name in tensors})
    rings = max(2, int(HIGHEST_FREQUENCY * box / 2))
    order = np.arange(MODES_PER_RING * rings + 1)
    y, x = find_half_disk(box)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    centre = box // 2
    # Area of a ring of the Fourier transform, in samples of the discrete transform, whose squares sum to box^2 times
    # those of the pixels; the integral over the ring of the squares of a sum of modes is the sum of their squares.
    ring = np.arange(1, rings + 1)
    area = np.sqrt(2 * np.pi * ring) / box
    # Pixels lie on few circles: each is computed once.
    circles, circle = np.unique(radius, return_inverse=True)
    bessel = bessel_functions(2 * np.pi / box * circles[:, None] * ring, len(order))[:, circle]
    turning = np.exp(-1j * angle[:, None] * order) * (-1j) ** order  # (pixels, modes)
    waves = area * bessel.transpose(1, 0, 2) * turning[..., None]  # (pixels, modes, rings)
    waves[(x == 0) & (y == 0)] /= 2
    # High orders near the centre are below the smallest normal numbers, with which arithmetic takes ten times as long.
    waves[np.abs(waves) < SMALLEST * area.max()] = 0
    parts = np.stack([waves.real, waves.imag], 1).astype(np.float32)  # (pixels, 2, modes, rings)
    return FourierRings(
        box,
        torch.from_numpy((y + centre) * box + x + centre),
        torch.from_numpy((centre - y) * box + centre - x),
        torch.from_numpy(np.ascontiguousarray(parts[:, :, 0::2])).flatten(1),
        torch.from_numpy(np.ascontiguousarray(parts[:, :, 1::2])).flatten(1),
        rings,
        len(order),
    )


def find_half_disk(box: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the pixels `(y, x)` from the centre of one half of the disk; each one's opposite is in the other half."""
    along = np.arange(-(box // 2), box - box // 2)
    y, x = (one.ravel() for one in np.meshgrid(along, along, indexing="ij"))
    upper = (np.hypot(x, y) <= box / 2 - 0.5) & ((y > 0) | ((y == 0) & (x >= 0)))
    return y[upper], x[upper]


def bessel_functions(arguments: np.ndarray, orders: int) -> np.ndarray:
    """Bessel functions J_0 ... J_(orders - 1) of `(...)` arguments, `(orders, ...)`."""
    return np.stack([jv(order, arguments) for order in range(orders)])
