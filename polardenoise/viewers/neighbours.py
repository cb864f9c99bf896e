"""Who was matched to whom: the neighbours in the file of `polardenoise denoise --matches`."""

from dataclasses import dataclass
from typing import Any

import numpy as np

# Stands where an image has fewer neighbours than others.
NOBODY = -1


@dataclass(frozen=True)
class Neighbourhood:
    """The neighbours of the particles of one file.

    Attributes
    ----------
    ids : ndarray
        `(n,)` Scipion's id of the particle of each row.
    neighbours : ndarray
        `(n, k)` rows of this file; -1 where there are fewer.
    weights : ndarray
        `(n, k)` how much each neighbour counted.
    degrees : ndarray
        `(n, k)` counter-clockwise rotation (x right, y up) that takes the neighbour onto the particle.
    """

    ids: Any
    neighbours: Any
    weights: Any
    degrees: Any

    def get_neighbours(self, particle_id, count):
        """List the neighbours of a particle that counted most.

        Parameters
        ----------
        particle_id : int
            Scipion's id.
        count : int
            How many at most.

        Returns
        -------
        list of (int, float, float)
            Id, weight and degrees, the heaviest first; the particle itself is left out.

        Raises
        ------
        KeyError
            If the particle is not one of this file.
        """
        rows = np.flatnonzero(self.ids == particle_id)
        if not len(rows):
            raise KeyError(particle_id)
        row = rows[0]
        found = []
        for place in np.argsort(-self.weights[row], kind="stable"):
            neighbour = self.neighbours[row, place]
            if neighbour not in (NOBODY, row):
                weight, degrees = self.weights[row, place], self.degrees[row, place]
                found.append((int(self.ids[neighbour]), float(weight), float(degrees)))
        return found[:count]


def read_neighbourhood(path, ids):
    """Read the neighbours in a file of matches.

    Parameters
    ----------
    path : str
        The `.npz`.
    ids : sequence of int
        Scipion's ids of the particles, in the order of the rows of the STAR file that was denoised.

    Returns
    -------
    Neighbourhood

    Raises
    ------
    ValueError
        If the file is about another number of particles.
    """
    with np.load(path, allow_pickle=False) as arrays:
        neighbours = arrays["neighbours"]
        if len(neighbours) != len(ids):
            raise ValueError(f"{path} is about {len(neighbours)} particles, not {len(ids)}.")
        return Neighbourhood(
            np.asarray(ids), neighbours, arrays["weights"], arrays["in_plane_degrees"]
        )
