"""What the attention found in a set, from the file of `polardenoise denoise --matches`.

Arrays of one row a particle, in the order of the STAR file that was denoised, and of one a class. Classes
lie within one random half; `class_twin` names the most similar class of the other half.
"""

import numpy as np

PARTICLE_ARRAYS = ("half", "class_number", "class_in_plane_degrees", "score")
CLASS_ARRAYS = ("class_averages", "class_half", "class_size", "class_twin")


class Matches:
    """Classes and scores of one or several files, joined.

    Attributes
    ----------
    ids : ndarray
        `(n,)` int64 ids of the particles, ascending within a file.
    class_number : ndarray
        `(n,)` int64, from 1; 0 for a particle in no class.
    class_in_plane_degrees : ndarray
        `(n,)` counter-clockwise rotation that takes the class average onto the particle.
    score : ndarray
        `(n,)` 0 to 1, higher is more consistent.
    class_averages : ndarray
        `(classes, box, box)` float32.
    class_half, class_size, class_twin : ndarray
        `(classes,)` int64; a twin of 0 is none.
    pixel_size : float
        Angstrom per pixel of the averages.
    """

    def __init__(self, ids, pixel_size, arrays):
        self.ids = ids
        self.pixel_size = pixel_size
        for name in (*PARTICLE_ARRAYS, *CLASS_ARRAYS):
            setattr(self, name, arrays[name])


def read_matches(path, ids):
    """Read one file.

    Parameters
    ----------
    path : str
        The `.npz`.
    ids : ndarray
        `(n,)` ids of the rows of the STAR file.

    Returns
    -------
    Matches
        Of these particles.

    Raises
    ------
    ValueError
        If it is not the file of these particles.
    """
    with np.load(path) as file:
        missing = [
            name for name in (*PARTICLE_ARRAYS, *CLASS_ARRAYS, "pixel_size") if name not in file
        ]
        if missing:
            raise ValueError(f"{path} has no {', '.join(missing)}: denoise again.")
        arrays = {name: file[name] for name in (*PARTICLE_ARRAYS, *CLASS_ARRAYS)}
        pixel_size = float(file["pixel_size"])
    for name in PARTICLE_ARRAYS:
        if len(arrays[name]) != len(ids):
            raise ValueError(
                f"{path} speaks of {len(arrays[name])} particles, not of {len(ids)}: denoise again."
            )
    classes = len(arrays["class_averages"])
    if arrays["class_number"].max(initial=0) > classes:
        raise ValueError(
            f"{path} puts particles into classes that it does not have: denoise again."
        )
    return Matches(np.asarray(ids), pixel_size, arrays)


def join_matches(parts):
    """Join the matches of chunks: classes are numbered on.

    Parameters
    ----------
    parts : list of Matches
        Of different particles, at least one.

    Returns
    -------
    Matches
        Of all particles.
    """
    joined = {name: [] for name in (*PARTICLE_ARRAYS, *CLASS_ARRAYS)}
    before = 0
    for part in parts:
        for name, lists in joined.items():
            values = getattr(part, name)
            if name in ("class_number", "class_twin"):
                values = np.where(values > 0, values + before, 0)
            lists.append(values)
        before += len(part.class_averages)
    arrays = {name: np.concatenate(values) for name, values in joined.items()}
    return Matches(np.concatenate([part.ids for part in parts]), parts[0].pixel_size, arrays)
