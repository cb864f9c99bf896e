"""Angular attention without the Fourier transform: every rotated key and value is met one by one.

`attend_direct` is the definition, as a reader of the paper expects it. `attend_by_matrix_product` is the same sum laid
out for BLAS and tensor cores; it serves small sets. `attend_by_convolution` hands the sums over angles to the
convolution library. The last two are the yardsticks that angular attention by FFT is timed against.
"""

import torch
from torch import Tensor

#: Numbers of rotated copies that `attend_by_matrix_product` lays out at once: 16 MB of float32, one core's share of the
#: caches. Halving or doubling it makes a product over 128 images of 128 angles 5 to 50 % slower.
COPIES_AT_ONCE = 2**22


def attend_direct(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Angular attention as it is written in the paper: the reference of every other form.

    `2 K^2 T^2 (D + C)` FLOP, and every rotated key and value in memory.

    Parameters
    ----------
    query, key : Tensor
        `(..., images, D, angles)`; any scale of the logits is already in the query.
    value : Tensor
        `(..., images, C, angles)`.

    Returns
    -------
    Tensor
        `(..., images, C, angles)`.
    """
    angles = query.shape[-1]
    rotations = range(angles)
    # Rotation s of a feature is a roll by s: rolled[..., j, s, d, t] = k_j[d, t - s].
    rotated_key = torch.stack([key.roll(s, -1) for s in rotations], dim=-3)
    logits = torch.einsum("...idt,...jsdt->...ijs", query, rotated_key)
    weights = softmax_over_images_and_rotations(logits)
    rotated_value = torch.stack([value.roll(s, -1) for s in rotations], dim=-3)
    return torch.einsum("...ijs,...jsct->...ict", weights, rotated_value)


def attend_by_matrix_product(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Angular attention as two matrix products, a few keys with all their rotations at a time.

    Same parameters and result as `attend_direct`.
    """
    images, angles = key.shape[-3], key.shape[-1]
    flat_query = query.flatten(-2)  # (..., queries, D T)
    parts = [
        flat_query @ lay_out_rotations(some).mT
        for some in key.split(count_images_at_once(key), dim=-3)
    ]
    logits = torch.cat(parts, dim=-1)  # (..., queries, keys T)
    weights = logits.softmax(-1)
    at_once = count_images_at_once(value)
    out = torch.zeros_like(value[..., :1, :, :]).flatten(-2)
    for first in range(0, images, at_once):
        rotated = lay_out_rotations(value[..., first : first + at_once, :, :])
        out = out + weights[..., first * angles : (first + at_once) * angles] @ rotated
    return out.unflatten(-1, value.shape[-2:])


def softmax_over_images_and_rotations(logits: Tensor) -> Tensor:
    """Softmax of `(..., queries, keys, angles)` over keys and rotations together."""
    return logits.flatten(-2).softmax(-1).unflatten(-1, logits.shape[-2:])


def count_images_at_once(features: Tensor) -> int:
    """Count the images of `(..., images, channels, angles)` whose rotated copies are laid out at once."""
    copies = features[..., 0, :, :].numel() * features.shape[-1]
    return max(1, COPIES_AT_ONCE // copies)


def lay_out_rotations(features: Tensor) -> Tensor:
    """Lay out every image at every rotation: `(..., images, channels, T)` to `(..., images T, channels T)`.

    Row `(j, w)` is image `j` rotated by `-w` steps: in this order the copies are the windows of one turn and a bit.
    """
    windows = repeat_turn(features).unfold(
        -1, features.shape[-1], 1
    )  # (..., images, channels, w, T)
    return windows.transpose(-3, -2).flatten(-2).flatten(-3, -2)


def repeat_turn(features: Tensor) -> Tensor:
    """Continue `(..., angles)` for a second turn less one step: `(..., 2 angles - 1)`."""
    return torch.cat([features, features[..., :-1]], dim=-1)
