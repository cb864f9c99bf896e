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
    """Rotate an image in its plane about pixel `(N//2, N//2)`, by quarter turns and three shears in Fourier space.

    Shears keep the power of every row and column, so that noise looks as strong after as before; interpolating
    between pixels would smooth it, and make a neighbour seem cleaner than the particle.

    Parameters
    ----------
    image : ndarray
        `(N, N)`, N even, rows growing with y, columns with x.
    degrees : float
        Counter-clockwise with x to the right and y up.

    Returns
    -------
    ndarray
        `(N, N)`; what was outside the box before is the image's median.
    """
    turns = round(degrees / 90)
    rest = np.deg2rad(degrees - 90 * turns)
    rotated = image
    for _ in range(turns % 4):
        # (x, y) goes to (-y, x); row 0 has no partner, and is cut off below.
        rotated = np.roll(rotated[::-1], 1, axis=0).T
    if rest:
        rotated = shear_rows(rotated, -np.tan(rest / 2))
        rotated = shear_rows(rotated.T, np.sin(rest)).T
        rotated = shear_rows(rotated, -np.tan(rest / 2))
    box, angle = len(image), np.deg2rad(degrees)
    y, x = np.mgrid[:box, :box] - box // 2
    # Where a pixel was before; sines of quarter turns are 1e-16 off.
    before = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
    inside = np.all([np.round(each, 9) >= -(box // 2) for each in before], axis=0)
    inside &= np.all([np.round(each, 9) <= box - 1 - box // 2 for each in before], axis=0)
    return np.where(inside, rotated, np.median(image)).astype(np.float32)


def shear_rows(image, slope):
    """Shift each row of a `(N, N)` image by `slope` times its height above row `N//2`, pixels to the right."""
    heights = np.arange(len(image))[:, None] - len(image) // 2
    frequencies = np.fft.rfftfreq(image.shape[1])[None]
    shifts = np.exp(-2j * np.pi * frequencies * slope * heights)
    return np.fft.irfft(np.fft.rfft(image, axis=1) * shifts, n=image.shape[1], axis=1)


def smooth_image(image, sigma):
    """Blur an image with a Gaussian of `sigma` pixels, through Fourier space; the shape stays `(N, N)`."""
    frequency = np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])
    window = np.exp(-2 * (np.pi * sigma) ** 2 * (frequency[0] ** 2 + frequency[1] ** 2))
    return np.fft.irfft2(np.fft.rfft2(image) * window, s=image.shape).astype(np.float32)
