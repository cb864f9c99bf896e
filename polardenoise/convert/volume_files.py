"""Volumes of a project as files that the engine reads: MRC, with the pixel size that Scipion knows."""

import hashlib
import os
import shutil

import mrcfile
from pwem.emlib.image import ImageHandler

ENGINE_FORMATS = (".mrc", ".map")
# Relative difference of pixel sizes that rounding in a header explains.
PIXEL_SIZE_TOLERANCE = 1e-3


def prepare_volume(volume, folder):
    """Give a volume's file, or a copy where its format or its header would mislead the engine.

    Parameters
    ----------
    volume : Volume
        Its sampling rate, Angstrom per pixel, is taken for true.
    folder : str
        Where a copy goes; made when one is needed.

    Returns
    -------
    str
        Path of an MRC file whose header has the volume's pixel size.
    """
    path = volume.getFileName().split(":")[0]
    pixel_size = volume.getSamplingRate()
    if path.lower().endswith(ENGINE_FORMATS):
        with mrcfile.open(path, permissive=True, header_only=True) as file:
            stated = float(file.voxel_size.x)
        if not pixel_size or abs(stated - pixel_size) <= PIXEL_SIZE_TOLERANCE * pixel_size:
            return path
    os.makedirs(folder, exist_ok=True)
    stem = os.path.splitext(os.path.basename(path))[0].replace(" ", "_")
    # The same name each time: a training that is continued has to find the sources that it began with.
    which = hashlib.sha256(f"{volume.getFileName()} {pixel_size}".encode()).hexdigest()[:8]
    copy = os.path.join(folder, f"{stem}_{which}.mrc")
    if path.lower().endswith(ENGINE_FORMATS):
        shutil.copyfile(path, copy)
    else:
        ImageHandler().convert(volume, copy)
    with mrcfile.open(copy, mode="r+", permissive=True) as file:
        file.set_volume()
        file.voxel_size = pixel_size
    return copy
