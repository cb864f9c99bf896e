"""CTF rings: the mean of |CTF| on each ring of frequencies, what the networks are conditioned on."""

import torch
from torch import Tensor

from polardenoise.engine.imaging.fourier import filter_images
from polardenoise.engine.imaging.rings import count_columns, ring_index


def unit_ctf_rings(images: Tensor) -> Tensor:
    """Give the CTF rings of images `(sets, images, box, box)` without a CTF: ones, `(sets, images, box // 2)`."""
    return images.new_ones(*images.shape[:2], images.shape[-1] // 2)


def append_ctf_rings(polar: Tensor, ctf_rings: Tensor) -> Tensor:
    """Append each image's CTF rings to its polar image, constant over the angle, as no rotation changes them.

    Parameters
    ----------
    polar : Tensor
        `(n, rings, angles)`.
    ctf_rings : Tensor
        `(n, box // 2)`.

    Returns
    -------
    Tensor
        `(n, rings + box // 2, angles)`, the conditioned input of a polar network.
    """
    constant = ctf_rings.to(polar.dtype)[..., None].expand(*ctf_rings.shape, polar.shape[-1])
    return torch.cat([polar, constant], dim=1)


def append_ctf_planes(images: Tensor, ctf_rings: Tensor | None) -> Tensor:
    """Append each image's CTF rings to it, one constant plane a ring.

    Parameters
    ----------
    images : Tensor
        `(sets, images, box, box)`.
    ctf_rings : Tensor or None
        `(sets, images, box // 2)`; None without a CTF.

    Returns
    -------
    Tensor
        `(sets * images, 1 + box // 2, box, box)`, the conditioned input of a network of 2D convolutions; channels last,
        the layout that the CPU and tensor-core convolutions work in.
    """
    ctf_rings = unit_ctf_rings(images) if ctf_rings is None else ctf_rings
    planes = ctf_rings.to(images.dtype)[..., None, None].expand(-1, -1, -1, *images.shape[-2:])
    conditioned = torch.cat([images[:, :, None], planes], dim=2).flatten(0, 1)
    return conditioned.to(memory_format=torch.channels_last)


def filter_by_rings(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply the transforms of images `(n, box, box)` by `(n, box // 2)` factors, one a ring of frequencies.

    Frequencies past the last ring, in the corners, take the last factor.
    """
    return filter_images(images, lay_out_rings(factors, images.shape[-1]))


def whiten(images: Tensor, ctf_rings: Tensor, noise_power: Tensor | None) -> tuple[Tensor, Tensor]:
    """Make the noise of images white, of variance 1.

    Parameters
    ----------
    images : Tensor
        `(n, box, box)`.
    ctf_rings : Tensor
        `(n, box // 2)` |CTF| by ring.
    noise_power : Tensor or None
        `(box // 2,)` power of the noise on each ring; None where it is white already.

    Returns
    -------
    tuple of Tensor
        The images, and the |CTF| by which they now show the molecule.
    """
    if noise_power is None:
        return images, ctf_rings
    factors = noise_power.rsqrt()
    return filter_by_rings(images, factors[None]), ctf_rings * factors


def weigh_by_noise(ctf_rings: Tensor, noise_power: Tensor | None) -> Tensor:
    """Give the rings `(n, box // 2)` that images as they are get multiplied by where they are compared.

    Such that what comes out is the product with white noise of `whiten`; parameters are as it has them.
    """
    return ctf_rings if noise_power is None else ctf_rings / noise_power


def lay_out_rings(factors: Tensor, box: int) -> Tensor:
    """Lay factors `(n, box // 2)` of rings out over half transforms, `(n, box, box // 2 + 1)`; corners as above."""
    return factors[:, ring_index(box, factors.device).clamp_max(box // 2 - 1)]


def average_over_transform(ring_power: Tensor) -> Tensor:
    """Average powers `(..., N // 2)` on rings over all frequencies of an image, as `filter_by_rings` lays them out."""
    box = 2 * ring_power.shape[-1]
    power = ring_power[..., ring_index(box, ring_power.device).clamp_max(box // 2 - 1)]
    return (power * count_columns(box, power.device)).sum((-2, -1)) / box**2
