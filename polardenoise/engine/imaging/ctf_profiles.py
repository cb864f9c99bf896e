"""Each image's CTF as the networks are told it: the mean of |CTF| over each ring of frequencies."""

import torch
from torch import Tensor

from polardenoise.engine.imaging.rings import ring_index


def flat_profiles(images: Tensor) -> Tensor:
    """Give the CTF profiles of images `(sets, images, box, box)` without a CTF: ones, `(sets, images, box // 2)`."""
    return images.new_ones(*images.shape[:2], images.shape[-1] // 2)


def append_profiles(polar: Tensor, profiles: Tensor) -> Tensor:
    """Append each image's CTF profile to its rings, the same at every angle, as no rotation changes it.

    Parameters
    ----------
    polar : Tensor
        `(n, rings, angles)`.
    profiles : Tensor
        `(n, box // 2)`.

    Returns
    -------
    Tensor
        `(n, rings + box // 2, angles)`, what a polar CNN is told.
    """
    constant = profiles.to(polar.dtype)[..., None].expand(*profiles.shape, polar.shape[-1])
    return torch.cat([polar, constant], dim=1)


def append_planes(images: Tensor, profiles: Tensor | None) -> Tensor:
    """Stack each image and its CTF profile, one constant plane a ring of frequencies.

    Parameters
    ----------
    images : Tensor
        `(sets, images, box, box)`.
    profiles : Tensor or None
        `(sets, images, box // 2)`; None without a CTF.

    Returns
    -------
    Tensor
        `(sets * images, 1 + box // 2, box, box)`, what a network of 2D convolutions is told; channels last, the layout
        that the CPU and tensor-core convolutions work in.
    """
    profiles = flat_profiles(images) if profiles is None else profiles
    planes = profiles.to(images.dtype)[..., None, None].expand(-1, -1, -1, *images.shape[-2:])
    told = torch.cat([images[:, :, None], planes], dim=2).flatten(0, 1)
    return told.to(memory_format=torch.channels_last)


def filter_by_rings(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply the transforms of images `(n, box, box)` by `(n, box // 2)` factors, one a ring of frequencies.

    Frequencies past the last ring, in the corners, take the last factor.
    """
    box = images.shape[-1]
    ring = ring_index(box).clamp_max(box // 2 - 1).to(images.device)
    # (n, box, box // 2 + 1)
    return torch.fft.irfft2(torch.fft.rfft2(images) * factors[:, ring], s=(box, box))
