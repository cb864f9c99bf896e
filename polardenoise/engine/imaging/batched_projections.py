"""Projections of many molecules at once: one gather for all images of a training step.

The transforms of all molecules lie in one tensor, so that images of different molecules are taken together, by a few
large operations; on a GPU a step then costs about as many launches as one image would. The interpolation is that of
:func:`.projections.take_projections`, which takes one molecule and is what the tests hold this against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from polardenoise.engine.imaging.projections import list_slice_frequencies, prepare_volume


@dataclass(frozen=True)
class TransformStack:
    """The transforms of volumes of one box, sample after sample.

    Attributes
    ----------
    samples : Tensor
        `(molecules * (D + 1) * (D + 1) * (D // 2 + 1), 2)` float32: real and imaginary parts of
        `VolumeTransform.coefficients`, x fastest. 170 molecules of 64 px take 1.5 GB at D = 128.
    molecules, padded_box, box : int
        How many volumes; D; N.
    """

    samples: Tensor
    molecules: int
    padded_box: int
    box: int


def stack_transforms(volumes: Sequence[Tensor], device: torch.device) -> TransformStack:
    """Transform volumes `(N, N, N)` one by one into a stack on a device; at least one volume."""
    box = volumes[0].shape[-1]
    stack = None
    for place, volume in enumerate(volumes):
        coefficients = prepare_volume(volume.to(device)).coefficients[
            0
        ]  # (2, D + 1, D + 1, D // 2 + 1)
        if stack is None:
            stack = torch.empty(len(volumes), *coefficients.shape[1:], 2, device=device)
        stack[place] = coefficients.permute(1, 2, 3, 0)
    assert stack is not None
    return TransformStack(stack.reshape(-1, 2), len(volumes), int(stack.shape[1]) - 1, box)


def take_spectra(stack: TransformStack, molecules: Tensor, matrices: Tensor) -> Tensor:
    """Take the transforms of projections.

    Parameters
    ----------
    stack : TransformStack
        From :func:`stack_transforms`.
    molecules : Tensor
        `(n,)` whole numbers: the molecule of each image.
    matrices : Tensor
        `(n, 3, 3)` rotations as `matrices_from_angles` gives them, times the molecule's magnification `a`,
        0 < a <= 1: the samples are `F(a k)`; a molecule as dense as before has `a^3` times these.

    Returns
    -------
    Tensor
        `(n, N, N // 2 + 1)` complex64 in the layout of `torch.fft.rfft2`, zero at and above the Nyquist frequency. The
        particle is centred on pixel 0; :func:`.projections.take_projections` moves it to pixel N // 2.
    """
    box, padded_box = stack.box, stack.padded_box
    plane, known = list_slice_frequencies(box, matrices.device)
    frequencies = (matrices[:, :, :2].float() @ plane) * padded_box  # (n, 3, m) x, y, z in samples
    # A transform of real data is known by its half x >= 0; the other half is its conjugate.
    mirrored = torch.where(frequencies[:, 0] < 0, -1.0, 1.0)
    frequencies = frequencies * mirrored[:, None]
    lower = frequencies.floor()
    weight_x, weight_y, weight_z = (frequencies - lower).unbind(1)  # of the upper neighbours
    x, y, z = lower.to(torch.int32).unbind(1)
    half, rows, columns = padded_box // 2, padded_box + 1, padded_box // 2 + 1
    molecule = molecules.to(torch.int32)[:, None] * rows
    first = ((molecule + z + half) * rows + y + half) * columns + x

    places = torch.empty(*first.shape, 8, dtype=torch.int32, device=first.device)
    weights = torch.empty(*first.shape, 8, device=first.device)
    corner = 0
    for step_z, along_z in ((0, 1 - weight_z), (rows * columns, weight_z)):
        for step_y, along_y in ((0, along_z * (1 - weight_y)), (columns, along_z * weight_y)):
            for step_x, weight in ((0, along_y * (1 - weight_x)), (1, along_y * weight_x)):
                places[..., corner] = first + (step_z + step_y + step_x)
                weights[..., corner] = weight
                corner += 1
    samples = F.embedding_bag(
        places.flatten(0, 1), stack.samples, per_sample_weights=weights.flatten(0, 1), mode="sum"
    ).unflatten(0, first.shape)  # (n, m, 2)
    spectra = matrices.new_zeros(len(matrices), box * (box // 2 + 1), dtype=torch.complex64)
    spectra[:, known] = torch.complex(samples[..., 0], samples[..., 1] * mirrored)
    return spectra.unflatten(1, (box, box // 2 + 1))
