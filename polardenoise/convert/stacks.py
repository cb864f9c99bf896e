"""Stacks for the engine: where they lie, or converted where the engine does not read their format."""

import logging
import os

import numpy as np
from pwem.constants import NO_INDEX

logger = logging.getLogger(__name__)

# What the engine reads in place (MRC in its spellings); anything else is converted first.
ENGINE_FORMATS = (".mrc", ".mrcs", ".map", ".st")

# What the header of a stack says, in one of its labels, that the engine has denoised (`engine.runtime.file_kinds`).
DENOISED_LABEL = b"polardenoise denoise: denoised images"
HEADER_BYTES, LABELS_BEGIN = 1024, 224


class StackLocator:
    """Say where the engine finds an image: where it lies, or in a converted stack.

    Parameters
    ----------
    folder : str
        For converted stacks; made when the first one comes.
    pixel_size : float
        Angstrom per pixel, for their headers.
    """

    def __init__(self, folder, pixel_size):
        self.folder = folder
        self.pixel_size = pixel_size
        self.known = {}

    def __call__(self, index, path):
        """Return the location `(number from 1, path)` of the image at `index` of `path`."""
        if path not in self.known:
            self.known[path] = self.find(path)
        return (1 if index == NO_INDEX else index), self.known[path]

    def find(self, path):
        """Return the path that the engine reads for a stack, after converting it where needed."""
        # Scipion may say a file's kind after a colon, as in particles.mrc:mrcs.
        plain, _, kind = path.partition(":")
        readable = plain.lower().endswith(ENGINE_FORMATS) or kind in ("mrc", "mrcs")
        if readable and not any(character.isspace() for character in plain):
            return plain
        os.makedirs(self.folder, exist_ok=True)
        stem = os.path.splitext(os.path.basename(plain))[0].replace(" ", "_")
        target = os.path.join(self.folder, f"{len(self.known) + 1:05d}_{stem}.mrcs")
        if readable:
            os.symlink(os.path.abspath(plain), target)
        else:
            convert_stack(plain, target, self.pixel_size)
        return target


def is_denoised_stack(path):
    """Tell whether the header of a stack says that its images are denoised; a file that is not there says nothing."""
    try:
        with open(path.partition(":")[0], "rb") as file:
            return DENOISED_LABEL in file.read(HEADER_BYTES)[LABELS_BEGIN:]
    except OSError:
        return False


def convert_stack(source, target, pixel_size):
    """Write a stack of another format as an MRC stack, image by image.

    Parameters
    ----------
    source : str
        Whatever Scipion's ImageHandler reads: SPIDER, HDF5, TIFF, IMAGIC...
    target : str
        `.mrcs`, float32.
    pixel_size : float
        Angstrom per pixel.
    """
    import mrcfile
    from pwem.emlib.image import ImageHandler

    handler = ImageHandler()
    columns, rows, sections, images = handler.getDimensions(source)
    count = max(sections, images)
    logger.info("Converting %s (%d images) to %s", source, count, target)
    with mrcfile.new_mmap(target, (count, rows, columns), mrc_mode=2, overwrite=True) as stack:
        for index in range(count):
            stack.data[index] = np.asarray(handler.read((index + 1, source)).getData())
        stack.set_image_stack()
        stack.voxel_size = pixel_size
        stack.update_header_stats()
