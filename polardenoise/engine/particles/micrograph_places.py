"""Where in which micrograph the boxes of particles lie, as far as the file says so.

Coordinates are pixels of the micrograph, boxes are pixels of the images: without the size of the former nobody can tell
whether two boxes overlap. RELION 4 and 5 write `rlnMicrographPixelSize`, the pixel of the micrograph that was picked;
3.1 writes only `rlnMicrographOriginalPixelSize`, the pixel of its movie, which is the smaller one where the movie was
binned: boxes are then taken for larger than they are, and a few images too many are kept apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polardenoise.counts import choose_verb, word_count
from polardenoise.engine.particles.cryosparc.column_names import name_columns
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.particles.star_columns import LIMITS
from polardenoise.engine.particles.token_numbers import number_tokens

#: The surer one first.
PIXEL_SIZE_LABELS = ("rlnMicrographPixelSize", "rlnMicrographOriginalPixelSize")

#: What programs write where a micrograph has no name.
NO_NAMES = ("", "None", "none", "null")

#: No micrograph has so many pixels along a side; farther out, numbers are broken.
LARGEST_COORDINATE = 1e6

#: A pixel size that the magnification gives is another one than the images' from here on.
OTHER_SIZE = 1e-2


@dataclass(frozen=True)
class MicrographPlaces:
    """The places of `n` boxes.

    Attributes
    ----------
    micrograph : ndarray
        `(n,)` int64 number of the micrograph from 0; -1 where it, or the place in it, is not known.
    centre : ndarray
        `(n, 2)` x, y in pixels of the micrograph; of meaning only where there is a micrograph.
    reach : ndarray
        `(n,)` half the box, in the same pixels.
    doubt : str
        What could not be checked, and why; empty where all could be.
    """

    micrograph: np.ndarray
    centre: np.ndarray
    reach: np.ndarray
    doubt: str


def find_places(particles: ParticleSet) -> MicrographPlaces:
    """Find where the boxes of a set lie; nothing that is wrong with it stops a run, since only this needs it."""
    count = len(particles)
    x, y = (particles.numbers(f"rlnCoordinate{axis}") for axis in "XY")
    names = particles.column("rlnMicrographName")
    if names is None or x is None or y is None:
        missing = ("rlnMicrographName",) if names is None else ("rlnCoordinateX", "rlnCoordinateY")
        named = name_columns(particles.star_path, *missing)
        return know_nothing(count, f"overlaps were not checked: the file has no {named}")
    centre = np.stack([x, y], 1)
    # No box has its centre in a corner of its micrograph: zeros stand for nothing.
    has_name = np.fromiter((name not in NO_NAMES for name in names), dtype=bool, count=count)
    known = (np.abs(centre) <= LARGEST_COORDINATE).all(1) & centre.any(1) & has_name
    if known.sum() > 1 and (centre[known] == centre[known][0]).all():
        return know_nothing(count, "overlaps were not checked: all coordinates are the same")
    size, doubt = find_micrograph_pixel_size(particles)
    if size is None:
        return know_nothing(count, doubt)
    if not known.all():
        count = int((~known).sum())
        have = choose_verb(count, "has", "have")
        some = (
            f"{word_count(count, 'particle')} {have} no coordinates of a micrograph: overlaps of "
            f"{choose_verb(count, 'it', 'them')} were not checked"
        )
        doubt = f"{doubt}; {some}" if doubt else some
    micrograph = number_tokens(names)
    centre = np.where(known[:, None], centre, 0.0)
    reach = 0.5 * particles.box * particles.pixel_size / size
    return MicrographPlaces(np.where(known, micrograph, -1), centre, reach, doubt)


def know_nothing(count: int, doubt: str) -> MicrographPlaces:
    """Give the places of `count` boxes of which none is known."""
    return MicrographPlaces(np.full(count, -1), np.zeros((count, 2)), np.zeros(count), doubt)


def find_micrograph_pixel_size(particles: ParticleSet) -> tuple[np.ndarray | None, str]:
    """Find the pixel size of the micrographs in Angstrom, `(n,)`, and what is in doubt about it.

    Where no column says it, the coordinates are taken for pixels of the images: that is the largest pixel that they can
    have, so that no two images are kept apart without need. Not where something says that the images were binned: then
    None.
    """
    least, most = LIMITS["pixel size"]
    for label in PIXEL_SIZE_LABELS:
        found = particles.numbers(label)
        if found is not None and ((found >= least) & (found <= most)).all():
            return found, ""
    unknown = f"the file states no usable {name_columns(particles.star_path, PIXEL_SIZE_LABELS[0])}"
    if says_binned(particles):
        return None, f"overlaps were not checked: {unknown}, and the images were binned"
    taken = "coordinates were taken for pixels of the images"
    return (
        particles.pixel_size,
        f"{taken} ({unknown}): if these were binned, overlaps were not checked",
    )


def says_binned(particles: ParticleSet) -> bool:
    """Tell whether anything says that pixels of the micrographs are not those of the images."""
    binning = particles.numbers("rlnMicrographBinning")
    if binning is not None and (binning != 1).any():
        return True
    detector = particles.numbers("rlnDetectorPixelSize")
    magnification = particles.numbers("rlnMagnification")
    if detector is None or magnification is None:
        return False
    with np.errstate(all="ignore"):
        size = detector * 1e4 / magnification
        other = np.abs(size / particles.pixel_size - 1) > OTHER_SIZE
    return bool((other & np.isfinite(size) & (size > 0)).any())
