"""Sums of images in Fourier space, in two halves, and the volume that both of them speak for.

What two halves of the images show alike is signal. Where, and how finely, differs: a molecule fills a part of its box,
and its core is seen to finer detail than what moves. So both volumes are cut into bands of frequencies, and in each
band every place keeps the share that the halves agree on there, a Wiener filter that nothing has to be told.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from polardenoise.engine.imaging.backprojection import (
    MASK_EDGE,
    Backprojection,
    begin_backprojection,
    complete_sums,
    frequency_radius,
    insert_slices,
    mask_softly_outside_sphere,
    take_back,
)
from polardenoise.engine.imaging.ctf_rings import lay_out_rings

#: Bands of frequencies end at these shares of the Nyquist frequency, the last at Nyquist, and overlap by this share.
BANDS, OVERLAP = (0.125, 0.22, 0.34, 0.5), 0.15
#: How far around a place the halves are compared: this part of the wavelength at the end of its band.
REACH = 0.5
#: A frequency that few images have measured counts as if this share of the mean had measured nothing there.
UNMEASURED = 0.1


@dataclass(frozen=True)
class HalfSums:
    """Sums over images, every other one in the second half.

    Attributes
    ----------
    halves : tuple of Backprojection
        Two.
    """

    halves: tuple[Backprojection, Backprojection]

    def add_images(self, images: Tensor, ctf_rings: Tensor, frames: Tensor) -> None:
        """Add images `(n, box, box)` at their frames `(n, 3, 3)`, in place.

        They are at their centres, phases flipped, noise of variance 1; their |CTF| is `(n, box // 2)` by ring.
        """
        abs_ctf = lay_out_rings(ctf_rings, images.shape[-1])
        slices = torch.fft.rfft2(torch.fft.ifftshift(images, dim=(-2, -1))) * abs_ctf
        for half, sums in enumerate(self.halves):
            own = slice(half, None, 2)
            insert_slices(sums, slices[own], abs_ctf[own].square(), frames[own])

    def __add__(self, other: "HalfSums") -> "HalfSums":
        """Add what other images sum up to."""
        first, second = (
            Backprojection(own.box, own.sums + others.sums)
            for own, others in zip(self.halves, other.halves, strict=True)
        )
        return HalfSums((first, second))


def begin_sums(box: int, device: torch.device) -> HalfSums:
    """Begin with no images of `box` pixels."""
    return HalfSums((begin_backprojection(box, device), begin_backprojection(box, device)))


def solve_volume(sums: HalfSums) -> Tensor:
    """Give the volume `(box, box, box)`, zyx, that both halves of the images speak for."""
    first, second = (average_images(half) for half in sums.halves)
    return keep_what_agrees(first, second)


def average_images(backprojection: Backprojection) -> Tensor:
    """Average the images at each frequency, `(box, box, box)`; what few have measured is drawn to nothing."""
    box = backprojection.box
    numerator, weight = complete_sums(backprojection)
    volume = take_back(numerator / (weight + UNMEASURED * average_shells(weight) + 1e-6))
    return mask_softly_outside_sphere(volume, box / 2 - MASK_EDGE, MASK_EDGE)


def average_shells(values: Tensor) -> Tensor:
    """Give each frequency of a half transform `(M, M, M // 2 + 1)` the average of its shell."""
    shells = frequency_radius(values.shape[0], values.device).round().long().flatten()
    sums = torch.bincount(shells, values.flatten().double())
    counts = torch.bincount(shells).clamp_min(1)
    return (sums / counts)[shells].view_as(values).to(values.dtype)


def keep_what_agrees(first: Tensor, second: Tensor) -> Tensor:
    """Average two volumes `(N, N, N)` of independent noise, each band and place by the share that agrees."""
    box = first.shape[-1]
    radius = frequency_radius(box, first.device)
    spectra = [torch.fft.rfftn(one) for one in (first, second)]
    kept = torch.zeros_like(first)
    below = torch.zeros_like(radius)
    ends = [share * box / 2 for share in BANDS]
    for end in (*ends, None):
        up_to = (
            torch.ones_like(radius) if end is None else ((end - radius) / (OVERLAP * end)).sigmoid()
        )
        one, other = (torch.fft.irfftn(full * (up_to - below), s=first.shape) for full in spectra)
        mean = (one + other) / 2
        reach = REACH * box / (ends[-1] if end is None else end)
        near = torch.exp(-2 * (torch.pi * reach / box * radius).square())
        alike, all_of_it = (
            torch.fft.irfftn(torch.fft.rfftn(power) * near, s=first.shape)
            for power in (one * other, mean.square())
        )
        # The products of noise are as often negative: what seems to agree beyond all there is, is all of it.
        share = alike.clamp_min(0) / all_of_it.clamp_min(torch.finfo(first.dtype).tiny)
        kept += mean * share.clamp_max(1)
        below = up_to
    return kept
