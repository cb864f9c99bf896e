"""Particle matches: neighbours, in-plane rotations and scores, what `--matches` writes beside the classes.

Each cluster of neighbours gives its own matches; those of a run are joined into one `.npz` for `--matches`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from polardenoise.engine.imaging.rotation import wrap_degrees
from polardenoise.engine.imaging.rotational_matching import (
    ROTATIONS,
    measure_affinity,
)
from polardenoise.engine.neighbours.companions import choose_neighbours
from polardenoise.engine.neighbours.encoded_cluster import Cluster
from polardenoise.engine.neighbours.scores import ScoredImages, score_images
from polardenoise.engine.neighbours.search import DenoisedCluster, match_cluster, tabulate_weights
from polardenoise.engine.particles.shared_pixels import SharedPixels
from polardenoise.engine.runtime.arrays import save_arrays

#: Most neighbours that are written for an image.
MOST_NEIGHBOURS = 32


@dataclass(frozen=True)
class ClusterMatches:
    """The matches of one cluster; rows and places are those of the cluster's images.

    Attributes
    ----------
    neighbours : ndarray
        `(n, k)` int64 places in the cluster, the nearest first, the image itself not among them; -1 where there are
        fewer.
    weights : ndarray
        `(n, k)` float32 attention weights.
    in_plane_degrees : ndarray
        `(n, k)` float32 counter-clockwise rotation (from +x to +y) that takes the neighbour onto the image.
    score : ndarray
        `(n,)` float32 from 0 to 1, higher is better; see `scores`.
    off_centre : ndarray
        `(n, 2)` float32 pixels, `(x, y)`: how far each particle lies off the centre of its image, as far as its
        neighbours tell. Neighbours are turned about the particle, not about the centre of the image.
    """

    neighbours: np.ndarray
    weights: np.ndarray
    in_plane_degrees: np.ndarray
    score: np.ndarray
    off_centre: np.ndarray


def match_denoised_cluster(
    cluster: Cluster, denoised: DenoisedCluster, displacements: Tensor
) -> ClusterMatches:
    """Match the images of a denoised cluster by the final estimates at the centre; see `CentredCluster`."""
    harmonics = cluster.rings.to_harmonics(denoised.estimates)
    matches = match_cluster(cluster, harmonics)
    affinity = measure_affinity(matches.likelihood, cluster.apart)
    nearest = choose_neighbours(affinity, MOST_NEIGHBOURS + 1, cluster.apart)
    score = score_images(
        ScoredImages(
            matches,
            nearest,
            denoised.estimates,
            harmonics,
            cluster.image_harmonics,
            cluster.ctf_rings,
            cluster.rings,
            displacements,
        )
    )
    others = nearest[:, 1:]
    rotation = matches.rotation.gather(1, others.clamp_min(0)).where(others >= 0, 0)
    return ClusterMatches(
        neighbours=others.cpu().numpy(),
        weights=look_up_weights(denoised, others).cpu().numpy(),
        in_plane_degrees=as_degrees(rotation),
        score=score.cpu().numpy(),
        off_centre=displacements.cpu().numpy(),
    )


def look_up_weights(denoised: DenoisedCluster, others: Tensor) -> Tensor:
    """Look up the attention weight of `(n, k)` neighbours; 0 for those that the attention did not ask, or -1."""
    # What it asked of mirrored images is in places beyond those of the images as they are.
    table = tabulate_weights(denoised.neighbours, denoised.attention.weights)
    return table.gather(1, others.clamp_min(0)).where(others >= 0, 0.0)


def as_degrees(steps: Tensor) -> np.ndarray:
    """Turn steps of rotation into degrees from -180 to 180, float32."""
    return wrap_degrees(steps.cpu().numpy() * (360.0 / ROTATIONS)).astype(np.float32)


def name_matches_file(folder: Path, number: int) -> Path:
    """Name the file with the matches of a cluster."""
    return folder / f"matches.{number:06d}.npz"


def list_matches_files(folder: Path, clusters: int) -> list[Path]:
    """List the files with the matches of the clusters of a run, in their order."""
    return [name_matches_file(folder, number) for number in range(clusters)]


def save_cluster_matches(path: Path, rows: np.ndarray, found: ClusterMatches) -> None:
    """Save the matches of a cluster with the rows of its images, complete or not at all."""
    save_arrays(path, rows=rows, **vars(found))


def join_matches(
    parts: list[Path], halves: np.ndarray, pixel_size: float, shared: SharedPixels
) -> dict[str, Any]:
    """Join the matches of all clusters into arrays of the rows, as `--matches` writes them (see docs/files.rst).

    Parameters
    ----------
    parts : list of Path
        What `save_cluster_matches` has written.
    halves : ndarray
        `(n,)` the half of each row.
    pixel_size : float
        Of the network's box, Angstrom.
    shared : SharedPixels
        Which rows show one image: all of them get its matches.
    """
    count = len(halves)
    joined: dict[str, Any] = {
        "neighbours": np.full((count, MOST_NEIGHBOURS), -1, dtype=np.int64),
        "weights": np.zeros((count, MOST_NEIGHBOURS), dtype=np.float32),
        "in_plane_degrees": np.zeros((count, MOST_NEIGHBOURS), dtype=np.float32),
        "half": halves.astype(np.int64),
        "score": np.zeros(count, dtype=np.float32),
        "off_centre_angstrom": np.zeros((count, 2), dtype=np.float32),
    }
    for path in parts:
        with np.load(path) as part:
            rows, wide = part["rows"], part["neighbours"].shape[1]
            found = part["neighbours"]
            joined["neighbours"][rows, :wide] = np.where(found >= 0, rows[found], -1)
            for name in ("weights", "in_plane_degrees"):
                joined[name][rows, :wide] = part[name]
            joined["score"][rows] = part["score"]
            joined["off_centre_angstrom"][rows] = part["off_centre"] * pixel_size
    shown = shared.shown_by(np.arange(count))
    joined |= {name: values[shown] for name, values in joined.items() if name != "half"}
    return joined
