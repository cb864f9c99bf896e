"""The contrast transfer function of single-particle images, with RELION's sign and angle.

`torch-ctf` does the computation, in micrometres; this module speaks the units of STAR files (Angstrom, degrees,
kV, mm). Protein is bright, so that the transfer is positive at low frequency under focus:
`CTF(k) = -sin(gamma(k))`, `gamma = -pi lambda Z(k) k^2 + pi/2 Cs lambda^3 k^4 - phase shift - arcsin(Q0)`
(RELION's `src/ctf.h`; Rohou & Grigorieff 2015, equations 2 to 5). `rlnCtfBfactor` and `rlnCtfScalefactor`, weights
rather than optics, are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch_ctf import calculate_ctf_2d

from polardenoise.engine.imaging.fourier import filter_images


@dataclass(frozen=True)
class CtfParameters:
    """What the CTFs of `n` particles depend on, in the units of STAR files.

    Attributes
    ----------
    defocus_u, defocus_v : Tensor
        `(n,)` defocus along the two axes of astigmatism, Angstrom, positive under focus.
    defocus_angle : Tensor
        `(n,)` angle from the image's +x axis to the axis of `defocus_u`, degrees, counter-clockwise when y
        points up the rows.
    voltage : Tensor
        `(n,)` acceleration voltage, kV.
    spherical_aberration : Tensor
        `(n,)` Cs, mm.
    amplitude_contrast : Tensor
        `(n,)` fraction of amplitude contrast, 0 to 1.
    phase_shift : Tensor
        `(n,)` shift by a phase plate, degrees.
    """

    defocus_u: Tensor
    defocus_v: Tensor
    defocus_angle: Tensor
    voltage: Tensor
    spherical_aberration: Tensor
    amplitude_contrast: Tensor
    phase_shift: Tensor

    def __len__(self) -> int:
        """Count the particles."""
        return int(self.defocus_u.shape[0])

    def select(self, rows: Tensor | slice) -> CtfParameters:
        """Take the parameters of some particles.

        Parameters
        ----------
        rows : Tensor | slice
            `(m,)` whole numbers, or a slice; numpy arrays and lists will do.

        Returns
        -------
        CtfParameters
            Of `m` particles, in the order of `rows`.
        """
        if not isinstance(rows, slice):
            rows = torch.as_tensor(rows, device=self.defocus_u.device)
        return CtfParameters(*(getattr(self, field.name)[rows] for field in fields(self)))

    def to(self, device: torch.device | str) -> CtfParameters:
        """Move the parameters to a device; `compute_ctf` computes where they are."""
        return CtfParameters(*(getattr(self, field.name).to(device) for field in fields(self)))


def compute_ctf(parameters: CtfParameters, pixel_size: Tensor | float, box: int) -> Tensor:
    """Compute what RELION multiplies the transform of a projection by.

    Parameters
    ----------
    parameters : CtfParameters
        Of `n` particles.
    pixel_size : Tensor | float
        Angstrom per pixel, one for all or `(n,)`.
    box : int
        `N`, pixels.

    Returns
    -------
    Tensor
        `(n, N, N // 2 + 1)` float32 in the layout of `torch.fft.rfft2` (not shifted), on the device of the
        parameters. RELION's values, but for the column at the Nyquist frequency.

    Examples
    --------
    At zero frequency the CTF is the amplitude contrast, protein bright:

    >>> names = ("defocus_u", "defocus_v", "defocus_angle", "voltage", "spherical_aberration")
    >>> values = dict(zip(names, (15000.0, 14000.0, 30.0, 300.0, 2.7)), amplitude_contrast=0.1, phase_shift=0.0)
    >>> parameters = CtfParameters(**{name: torch.tensor([value]) for name, value in values.items()})
    >>> ctf = compute_ctf(parameters, pixel_size=1.5, box=64)
    >>> ctf.shape, round(float(ctf[0, 0, 0]), 3)
    (torch.Size([1, 64, 33]), 0.1)
    """
    to_micrometres = 1e-4
    # torch-ctf takes the root of the astigmatism: name the axes so that u is the longer one.
    u = torch.maximum(parameters.defocus_u, parameters.defocus_v)
    v = torch.minimum(parameters.defocus_u, parameters.defocus_v)
    swapped = parameters.defocus_u < parameters.defocus_v
    ctf = calculate_ctf_2d(
        defocus=(u + v) / 2 * to_micrometres,
        astigmatism=(u - v) / 2 * to_micrometres,
        astigmatism_angle=torch.where(swapped, 90.0, 0.0) + parameters.defocus_angle,
        voltage=parameters.voltage,
        spherical_aberration=parameters.spherical_aberration,
        amplitude_contrast=parameters.amplitude_contrast,
        phase_shift=parameters.phase_shift,
        pixel_size=torch.as_tensor(pixel_size, dtype=torch.float32, device=u.device),
        image_shape=(box, box),
        rfft=True,
        fftshift=False,
    )
    if box % 2 == 0:
        # The last column stands for +N/2 and -N/2 at once: the mean of both keeps real images real, so that
        # flipping twice changes nothing.
        last = ctf[..., -1]
        ctf[..., -1] = (last + last.flip(-1).roll(1, dims=-1)) / 2
    return ctf


def apply_ctf(images: Tensor, ctf: Tensor) -> Tensor:
    """Multiply the transforms of images by a CTF.

    Parameters
    ----------
    images : Tensor
        `(..., N, N)` real images.
    ctf : Tensor
        `(..., N, N // 2 + 1)` real, in the layout of `torch.fft.rfft2`.

    Returns
    -------
    Tensor
        `(..., N, N)` real images.
    """
    return filter_images(images, ctf)


def phase_flip(images: Tensor, ctf: Tensor) -> Tensor:
    """Make the CTF of images positive: turn the sign of the frequencies where it is negative.

    Parameters
    ----------
    images : Tensor
        `(..., N, N)` real images that carry the signed CTF.
    ctf : Tensor
        `(..., N, N // 2 + 1)` that CTF. Its zeros count as positive.

    Returns
    -------
    Tensor
        `(..., N, N)`, with the energy of the input. Flipping twice changes nothing.
    """
    return apply_ctf(images, torch.where(ctf < 0, -1.0, 1.0).to(images.dtype))
