"""Resample and shift images through their Fourier transforms.

Images are `(..., N, N)`, `N` even, with their centre at pixel `(N // 2, N // 2)`. Sample positions scale with the
box, so that the centre stays the centre: pixel `N // 2` becomes pixel `M // 2`.
"""

import torch
from torch import Tensor
from torch_fourier_shift import fourier_shift_image_2d


def fourier_crop(images: Tensor, box: int) -> Tensor:
    """Sample images more coarsely by keeping their low frequencies only.

    Parameters
    ----------
    images : Tensor
        `(..., N, N)` real images, `N` even.
    box : int
        Even `M <= N`, the new size in pixels. The pixel size grows by `N / M`.

    Returns
    -------
    Tensor
        `(..., M, M)`. Grey values are kept: a constant image stays the same constant. The two frequencies
        `+-M / 2`, one sample in the small box, are added up: this is what undoes `fourier_pad`.

    Raises
    ------
    ValueError
        If a size is odd, the images are not square, or `box` is larger than the images.
    """
    size = _square_even_size(images, box)
    if box > size:
        raise ValueError(f"cannot crop a box of {size} px to {box} px")
    if box == size:
        return images
    half = box // 2
    spectrum = torch.fft.rfft2(images, norm="forward")  # (..., N, N // 2 + 1)
    spectrum = spectrum[..., : half + 1]
    # Rows in fftfreq order: 0 .. M/2 - 1, then -M/2 .. -1.
    cropped = torch.cat([spectrum[..., :half, :], spectrum[..., size - half :, :]], dim=-2)
    cropped[..., half, :] += spectrum[..., half, :]
    # The column -M/2 is not stored in a half transform: it is the conjugate of column +M/2 mirrored in y.
    nyquist = cropped[..., half]
    cropped[..., half] = nyquist + nyquist.flip(-1).roll(1, dims=-1).conj()
    return torch.fft.irfft2(cropped, s=(box, box), norm="forward")


def fourier_pad(images: Tensor, box: int) -> Tensor:
    """Sample images more finely by adding zeros beyond their highest frequency.

    Parameters
    ----------
    images : Tensor
        `(..., M, M)` real images, `M` even.
    box : int
        Even `N >= M`, the new size in pixels. The pixel size shrinks by `M / N`.

    Returns
    -------
    Tensor
        `(..., N, N)`: the trigonometric interpolation of the images, grey values kept; the Nyquist frequency
        is shared equally between `+M / 2` and `-M / 2`. `fourier_crop(fourier_pad(x, N), M) == x`.

    Raises
    ------
    ValueError
        If a size is odd, the images are not square, or `box` is smaller than the images.
    """
    size = _square_even_size(images, box)
    if box < size:
        raise ValueError(f"cannot pad a box of {size} px to {box} px")
    if box == size:
        return images
    half = size // 2
    spectrum = torch.fft.rfft2(images, norm="forward")  # (..., M, M // 2 + 1)
    padded = spectrum.new_zeros((*images.shape[:-2], box, box // 2 + 1))
    padded[..., :half, : half + 1] = spectrum[..., :half, :]
    padded[..., box - half :, : half + 1] = spectrum[..., half:, :]
    padded[..., box - half, :] *= 0.5
    padded[..., half, :] = padded[..., box - half, :]
    padded[..., half] *= 0.5
    return torch.fft.irfft2(padded, s=(box, box), norm="forward")


def shift_images(images: Tensor, shifts: Tensor) -> Tensor:
    """Move the content of images by a phase ramp, with wrap-around.

    Parameters
    ----------
    images : Tensor
        `(..., N, N)` real images.
    shifts : Tensor
        `(..., 2)` shifts in pixels, in the order `(x, y)`; positive moves the content towards larger x
        (columns) and y (rows). A RELION origin is the opposite: `rlnOriginX` of +3 means that the particle
        lies 3 px towards -x, and that shifting by +3 centres it.

    Returns
    -------
    Tensor
        `(..., N, N)`. Exact for whole pixels; for fractions, exact below the Nyquist frequency.
    """
    return fourier_shift_image_2d(images, shifts.to(images.dtype).flip(-1))


def _square_even_size(images: Tensor, box: int) -> int:
    """Give the side of square, even images; refuse what the centre convention does not cover."""
    rows, columns = images.shape[-2:]
    if rows != columns or columns % 2 or box % 2 or box < 2:
        raise ValueError(
            f"square images and even boxes are needed, not {rows} x {columns} to {box}"
        )
    return int(columns)
