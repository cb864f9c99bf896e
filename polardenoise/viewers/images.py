"""Pixels of Scipion's image items, and what a viewer does to them: grey ranges and in-plane rotation."""

import mrcfile
import numpy as np

# Of the pixels of a panel, per cent: the grey range leaves out the rest, which is white or black then.
DARKEST, BRIGHTEST = 1, 99


def read_image(item):
    """Read the pixels of one image.

    Parameters
    ----------
    item : Image
        An item of a set, with its location `(number from 1, file)`.

    Returns
    -------
    ndarray
        `(N, N)` float32, rows growing with y.

    Raises
    ------
    OSError, ValueError
        If the file is not there any more, or is no image.
    """
    index, path = item.getLocation()
    plain = path.split(":")[0]
    if not plain.lower().endswith((".mrc", ".mrcs", ".map", ".st")):
        return read_other_format(item)
    with mrcfile.mmap(plain, mode="r", permissive=True) as file:
        pixels = file.data if file.data.ndim == 2 else file.data[max(index or 1, 1) - 1]
        return np.array(pixels, dtype=np.float32)


def read_other_format(item):
    """Read an image of a format that only Scipion's readers know (SPIDER, HDF5, TIFF), `(N, N)` float32."""
    from pwem.emlib.image.image_readers import ImageReadersRegistry

    return np.array(ImageReadersRegistry.open(item).getImage(), dtype=np.float32)


def get_grey_range(image):
    """Return the grey range `(black, white)` of an image: its own 1st and 99th percentiles."""
    black, white = np.percentile(image, (DARKEST, BRIGHTEST))
    # An empty image is grey, not a failure of the drawing.
    return (black, white) if white > black else (black - 1.0, black + 1.0)


def rotate_image(image, degrees):
    """Rotate an image in its plane about pixel `(N//2, N//2)`, bilinear.

    Parameters
    ----------
    image : ndarray
        `(N, N)`, rows growing with y, columns with x.
    degrees : float
        Counter-clockwise with x to the right and y up.

    Returns
    -------
    ndarray
        `(N, N)`; what was outside the box before is the image's median.
    """
    box = image.shape[-1]
    angle = np.deg2rad(degrees)
    y, x = np.mgrid[:box, :box] - box // 2
    # Every pixel looks up where it was before the rotation.
    column = np.cos(angle) * x + np.sin(angle) * y + box // 2
    row = -np.sin(angle) * x + np.cos(angle) * y + box // 2
    # Sines of quarter turns are 1e-16 off: whole pixels stay whole, and at the border stay inside.
    column, row = np.round(column, 9), np.round(row, 9)
    inside = (column >= 0) & (column <= box - 1) & (row >= 0) & (row <= box - 1)
    left = np.clip(np.floor(column).astype(int), 0, box - 2)
    below = np.clip(np.floor(row).astype(int), 0, box - 2)
    to_right, up = column - left, row - below
    rotated = (
        image[below, left] * (1 - up) * (1 - to_right)
        + image[below, left + 1] * (1 - up) * to_right
        + image[below + 1, left] * up * (1 - to_right)
        + image[below + 1, left + 1] * up * to_right
    )
    return np.where(inside, rotated, np.median(image)).astype(np.float32)


def smooth_image(image, sigma):
    """Blur an image with a Gaussian of `sigma` pixels, through Fourier space; the shape stays `(N, N)`."""
    frequency = np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])
    window = np.exp(-2 * (np.pi * sigma) ** 2 * (frequency[0] ** 2 + frequency[1] ** 2))
    return np.fft.irfft2(np.fft.rfft2(image) * window, s=image.shape).astype(np.float32)
