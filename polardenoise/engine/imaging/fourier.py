"""Fourier filtering, resampling and shifts of images.

Images are `(..., N, N)` with their centre at pixel `(N // 2, N // 2)`, RELION's convention for even and odd boxes. The
field of view stays, and the centre stays the centre: pixel `N // 2` becomes pixel `M // 2`.
"""

import torch
from torch import Tensor
from torch_fourier_shift import fourier_shift_image_2d


def fourier_crop(images: Tensor, box: int) -> Tensor:
    """Sample images more coarsely by keeping their low frequencies only.

    Parameters
    ----------
    images : Tensor
        `(..., N, N)` real images.
    box : int
        `M <= N`, the new size in pixels. The pixel size grows by `N / M`.

    Returns
    -------
    Tensor
        `(..., M, M)`. Grey values are kept: a constant image stays the same constant. If `M` is even, the two
        frequencies `+-M / 2`, one sample in the small box, are added up: this is what undoes `fourier_pad`.

    Examples
    --------
    >>> images = torch.full((3, 64, 64), 2.0)
    >>> small = fourier_crop(images, 32)
    >>> small.shape, bool((small - 2).abs().max() < 1e-5)
    (torch.Size([3, 32, 32]), True)

    Raises
    ------
    ValueError
        If the images are not square, or `box` is larger than they are.
    """
    size = _square_size(images, box)
    if box > size:
        raise ValueError(f"cannot crop a box of {size} px to {box} px")
    if box == size:
        return images
    spectrum = torch.fft.rfft2(images, norm="forward")  # (..., N, N // 2 + 1)
    spectrum = _move_centre(spectrum[..., : box // 2 + 1], size, box)
    half, positive = box // 2, (box + 1) // 2
    # Rows in fftfreq order: the frequencies from 0, then those from -(M // 2) to -1.
    cropped = torch.cat([spectrum[..., :positive, :], spectrum[..., size - half :, :]], dim=-2)
    if box % 2 == 0:
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
        `(..., M, M)` real images.
    box : int
        `N >= M`, the new size in pixels. The pixel size shrinks by `M / N`.

    Returns
    -------
    Tensor
        `(..., N, N)`: the trigonometric interpolation of the images, grey values kept; the Nyquist frequency of an even
        box is shared equally between `+M / 2` and `-M / 2`. `fourier_crop(fourier_pad(x, N), M) == x`.

    Raises
    ------
    ValueError
        If the images are not square, or `box` is smaller than they are.
    """
    size = _square_size(images, box)
    if box < size:
        raise ValueError(f"cannot pad a box of {size} px to {box} px")
    if box == size:
        return images
    half, positive = size // 2, (size + 1) // 2
    spectrum = torch.fft.rfft2(images, norm="forward")  # (..., M, M // 2 + 1)
    padded = spectrum.new_zeros((*images.shape[:-2], box, box // 2 + 1))
    padded[..., :positive, : half + 1] = spectrum[..., :positive, :]
    padded[..., box - half :, : half + 1] = spectrum[..., positive:, :]
    if size % 2 == 0:
        padded[..., box - half, :] *= 0.5
        padded[..., half, :] = padded[..., box - half, :]
        padded[..., half] *= 0.5
    return torch.fft.irfft2(_move_centre(padded, size, box), s=(box, box), norm="forward")


def filter_images(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply the transforms of images.

    Parameters
    ----------
    images : Tensor
        `(..., N, N)` real images.
    factors : Tensor
        `(..., N, N // 2 + 1)` real, in the layout of `torch.fft.rfft2`.

    Returns
    -------
    Tensor
        `(..., N, N)` real images.
    """
    return torch.fft.irfft2(torch.fft.rfft2(images) * factors, s=images.shape[-2:])


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


def _move_centre(spectrum: Tensor, size: int, box: int) -> Tensor:
    """Move what lies at the centre of `size` pixels to that of `box` pixels: not the same place where one is odd.

    `spectrum` is `(..., rows, columns)` of a half transform, rows in fftfreq order, columns from 0.
    """
    if size % 2 == 0 and box % 2 == 0:
        return spectrum
    shift = box // 2 / box - size // 2 / size  # in parts of the field of view
    rows, columns = spectrum.shape[-2:]
    ky = torch.fft.fftfreq(rows, 1 / rows, dtype=spectrum.real.dtype, device=spectrum.device)
    kx = torch.arange(columns, dtype=spectrum.real.dtype, device=spectrum.device)
    angle = -2 * torch.pi * shift * (ky[:, None] + kx)
    return spectrum * torch.polar(torch.ones_like(angle), angle)


def _square_size(images: Tensor, box: int) -> int:
    """Give the side of square images; refuse others."""
    rows, columns = images.shape[-2:]
    if rows != columns or box < 2:
        raise ValueError(f"square images and boxes are needed, not {rows} x {columns} to {box}")
    return int(columns)
