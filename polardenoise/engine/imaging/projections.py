"""Projections of a volume, by the Fourier slice theorem.

The transform of a projection is the central slice of the volume's transform (Bracewell 1956). :func:`prepare_volume`
transforms a volume once and :func:`take_projections` takes slices only, at the frequencies of the image rather than of
the padded volume: the images of torch-fourier-slice's `project_3d_to_2d`, which transforms the volume for every call,
in a fifth of the time. The tests hold them against that library.

Volumes are `(N, N, N)`, axes z, y, x, images `(N, N)`; the centre is at N // 2. A projection is the sum along the
viewing direction: protein stays bright. Angles are RELION's (:mod:`.euler_angles`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from polardenoise.engine.imaging.euler_angles import matrices_from_angles


@dataclass(frozen=True)
class VolumeTransform:
    """The transform of a volume, ready to take slices from.

    Attributes
    ----------
    coefficients : Tensor
        `(1, 2, D + 1, D + 1, D // 2 + 1)` float32: real and imaginary part of the transform of the volume padded to D
        and divided by sinc^2 (which trilinear interpolation will multiply it by), frequencies z and y from -D / 2 to
        +D / 2 (the same sample twice), x >= 0.
    box : int
        N.
    """

    coefficients: Tensor
    box: int

    def to(self, device: torch.device | str) -> VolumeTransform:
        """Move to a device."""
        return VolumeTransform(self.coefficients.to(device), self.box)


def prepare_volume(volume: Tensor, padding: int = 2) -> VolumeTransform:
    """Transform a volume once, for many projections.

    Parameters
    ----------
    volume : Tensor
        `(N, N, N)`. What lies outside the sphere of radius N / 2 is left out: turned, it would leave the image.
    padding : int
        D is this times N (rounded up to even). 2 is good to 3e-4 of the energy of a projection, where
        interpolation is worst, and takes 8 MB at 64 px; 3 is good to 6e-5 and takes 28 MB.

    Returns
    -------
    VolumeTransform
        On the volume's device.
    """
    box = volume.shape[-1]
    padded_box = padding * box + (padding * box) % 2
    position = torch.arange(box, dtype=torch.float32, device=volume.device) - box // 2
    squared = position**2
    distance = squared[:, None, None] + squared[None, :, None] + squared[None, None, :]
    sinc = torch.sinc(position / padded_box) ** 2
    corrected = volume.float() * (distance <= (box / 2) ** 2)
    corrected = corrected / (sinc[:, None, None] * sinc[None, :, None] * sinc[None, None, :])
    before = padded_box // 2 - box // 2
    padded = F.pad(corrected, [before, padded_box - box - before] * 3)
    transform = torch.fft.rfftn(torch.fft.ifftshift(padded))
    transform = torch.fft.fftshift(transform, dim=(0, 1))
    transform = torch.cat([transform, transform[:1]])
    transform = torch.cat([transform, transform[:, :1]], dim=1)
    coefficients = torch.view_as_real(transform).permute(3, 0, 1, 2)[None]
    return VolumeTransform(coefficients.contiguous(memory_format=torch.channels_last_3d), box)


def take_projections(
    transform: VolumeTransform, angles: Tensor, magnification: Tensor | None = None
) -> Tensor:
    """Project a prepared volume along the given directions.

    Parameters
    ----------
    transform : VolumeTransform
        From :func:`prepare_volume`.
    angles : Tensor
        `(n, 3)` rot, tilt, psi in degrees.
    magnification : Tensor, optional
        `(n,)` scale `a` of the molecule in each image, 0 < a <= 1. The density is `f(x / a)`: as dense as before and
        smaller, so that its transform is `a^3 F(a k)` and its projection `a P(x / a)`.

    Returns
    -------
    Tensor
        `(n, N, N)` float32 on the transform's device; nothing at or above the Nyquist frequency.
    """
    device = transform.coefficients.device
    matrices = matrices_from_angles(angles.double()).to(device, torch.float32)
    if magnification is None:
        return project_at(transform, matrices)
    scale = magnification.to(device, torch.float32)[:, None, None]
    return project_at(transform, matrices * scale) * scale**3


def project_at(transform: VolumeTransform, matrices: Tensor) -> Tensor:
    """Project a prepared volume at the poses `(n, 3, 3)` that rotation matrices give: `(n, N, N)` float32.

    The matrices carry image coordinates into volume coordinates, as `matrices_from_angles` gives them; a factor on one
    scales its frequencies. Nothing comes at or above the Nyquist frequency.
    """
    box, device = transform.box, transform.coefficients.device
    plane, known = list_slice_frequencies(box, device)
    frequencies = matrices[:, :, :2] @ plane  # (n, 3, m) x, y, z in cycles per pixel

    # A transform of real data is known by its half x >= 0; the other half is its conjugate.
    mirrored = torch.where(frequencies[:, 0] < 0, -1.0, 1.0)
    frequencies = frequencies * mirrored[:, None]
    # Places in the array, as grid_sample counts them: -1 the first sample, +1 the last.
    grid = torch.stack(
        [frequencies[:, 0] * 4 - 1, frequencies[:, 1] * 2, frequencies[:, 2] * 2], dim=-1
    )
    samples = F.grid_sample(
        transform.coefficients, grid[None, None], mode="bilinear", align_corners=True
    )[0, :, 0]  # (2, n, m)
    slices = torch.zeros(len(matrices), box * (box // 2 + 1), dtype=torch.complex64, device=device)
    slices[:, known] = torch.complex(samples[0], samples[1] * mirrored)
    images = torch.fft.irfft2(slices.reshape(-1, box, box // 2 + 1), s=(box, box))
    return torch.fft.fftshift(images, dim=(-2, -1))


def list_slice_frequencies(box: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """List the frequencies of an image below Nyquist.

    Parameters
    ----------
    box : int
        N.
    device : torch.device
        Where they are wanted. They are found on the CPU: no GPU is waited for.

    Returns
    -------
    plane : Tensor
        `(2, m)` frequencies x, y in cycles per pixel.
    known : Tensor
        `(m,)` their places in a flattened `(N, N // 2 + 1)` half transform.
    """
    along_y = torch.fft.fftfreq(box)[:, None].expand(-1, box // 2 + 1)
    along_x = torch.fft.rfftfreq(box)[None, :].expand(box, -1)
    known = torch.nonzero(((along_x**2 + along_y**2) < 0.25 * (1 - 1e-6)).ravel()).squeeze(1)
    plane = torch.stack([along_x.ravel()[known], along_y.ravel()[known]])
    return plane.to(device), known.to(device)
