"""Particle matches: neighbours, in-plane rotations, classes and scores, what `--matches` writes.

Each cluster of neighbours gives its own matches; those of a run are joined into one `.npz` for `--matches`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import (
    ROTATIONS,
    match_images,
    measure_affinity,
)
from polardenoise.engine.neighbours.class_averages import form_classes
from polardenoise.engine.neighbours.companions import choose_neighbours
from polardenoise.engine.neighbours.scores import score_images
from polardenoise.engine.neighbours.search import Cluster, DenoisedCluster, match_cluster
from polardenoise.engine.networks.polar_transformer import PolarTransformer
from polardenoise.engine.particles.shared_pixels import SharedPixels
from polardenoise.engine.runtime.arrays import save_arrays

#: Most neighbours that are written for an image.
MOST_NEIGHBOURS = 32

#: Classes that are compared with those of the other half at once: a large set has tens of thousands.
CLASSES_AT_ONCE = 256


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
        `(n,)` float32 from 0 (nothing of what the neighbours show is in the image) to 1.
    class_number : ndarray
        `(n,)` int64 from 0.
    class_in_plane_degrees : ndarray
        `(n,)` float32: takes the class average onto the image.
    class_averages : ndarray
        `(classes, box, box)` float32 averages of the denoised images, CTF-free, in units of the noise.
    off_centre : ndarray
        `(n, 2)` float32 pixels, `(x, y)`: how far each particle lies off the centre of its image, as far as its
        neighbours tell. Neighbours and averages are turned about the particle, not about the centre of the image.
    """

    neighbours: np.ndarray
    weights: np.ndarray
    in_plane_degrees: np.ndarray
    score: np.ndarray
    class_number: np.ndarray
    class_in_plane_degrees: np.ndarray
    class_averages: np.ndarray
    off_centre: np.ndarray


def match_denoised_cluster(
    model: PolarTransformer, cluster: Cluster, denoised: DenoisedCluster, displacements: Tensor
) -> ClusterMatches:
    """Match the images of a denoised cluster by the final estimates at the centre; see `CentredCluster`."""
    harmonics = cluster.rings.to_harmonics(denoised.estimates)
    matches = match_cluster(cluster, harmonics)
    affinity = measure_affinity(matches.likelihood, cluster.apart)
    nearest = choose_neighbours(affinity, MOST_NEIGHBOURS + 1, cluster.apart)
    score = score_images(matches, nearest, harmonics, cluster.ctf_rings, cluster.rings)
    classes = form_classes(
        denoised.estimates,
        cluster.image_harmonics,
        cluster.ctf_rings,
        cluster.rings,
        model.grid,
        cluster.apart,
    )
    others = nearest[:, 1:]
    rotation = matches.rotation.gather(1, others.clamp_min(0)).where(others >= 0, 0)
    return ClusterMatches(
        neighbours=others.cpu().numpy(),
        weights=look_up_weights(denoised, others).cpu().numpy(),
        in_plane_degrees=as_degrees(rotation),
        score=score.cpu().numpy(),
        class_number=classes.number.cpu().numpy(),
        class_in_plane_degrees=as_degrees(classes.rotation),
        class_averages=classes.averages.cpu().numpy(),
        off_centre=displacements.cpu().numpy(),
    )


def look_up_weights(denoised: DenoisedCluster, others: Tensor) -> Tensor:
    """Look up the attention weight of `(n, k)` neighbours; 0 for those that the attention did not ask, or -1."""
    count = len(others)
    weights = denoised.attention.weights
    asked, others = (those.where(those >= 0, count) for those in (denoised.neighbours, others))
    return weights.new_zeros(count, count + 1).scatter_(1, asked, weights).gather(1, others)


def as_degrees(steps: Tensor) -> np.ndarray:
    """Turn steps of rotation into degrees from -180 to 180, float32."""
    degrees = steps.cpu().numpy() * (360.0 / ROTATIONS)
    return ((degrees + 180.0) % 360.0 - 180.0).astype(np.float32)


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
) -> dict[str, np.ndarray | float]:
    """Join the matches of all clusters into the arrays that `--matches` writes (see docs/files.rst).

    Parameters
    ----------
    parts : list of Path
        What `save_cluster_matches` has written.
    halves : ndarray
        `(n,)` the half of each row.
    pixel_size : float
        Of the averages, Angstrom.
    shared : SharedPixels
        Which rows show one image: all of them get its matches.
    """
    count = len(halves)
    joined: dict[str, Any] = {
        "neighbours": np.full((count, MOST_NEIGHBOURS), -1, dtype=np.int64),
        "weights": np.zeros((count, MOST_NEIGHBOURS), dtype=np.float32),
        "in_plane_degrees": np.zeros((count, MOST_NEIGHBOURS), dtype=np.float32),
        "half": halves.astype(np.int64),
        "class_number": np.zeros(count, dtype=np.int64),
        "class_in_plane_degrees": np.zeros(count, dtype=np.float32),
        "score": np.zeros(count, dtype=np.float32),
        "off_centre_angstrom": np.zeros((count, 2), dtype=np.float32),
    }
    averages: list[np.ndarray] = []
    class_half: list[int] = []
    for path in parts:
        with np.load(path) as part:
            rows, wide = part["rows"], part["neighbours"].shape[1]
            found = part["neighbours"]
            joined["neighbours"][rows, :wide] = np.where(found >= 0, rows[found], -1)
            for name in ("weights", "in_plane_degrees"):
                joined[name][rows, :wide] = part[name]
            for name in ("class_in_plane_degrees", "score"):
                joined[name][rows] = part[name]
            joined["off_centre_angstrom"][rows] = part["off_centre"] * pixel_size
            joined["class_number"][rows] = part["class_number"] + len(averages) + 1
            averages += list(part["class_averages"])
            class_half += [int(halves[rows[0]])] * len(part["class_averages"])
    images_of_classes = joined["class_number"][shared.first_row]
    shown = shared.shown_by(np.arange(count))
    joined |= {name: values[shown] for name, values in joined.items() if name != "half"}
    joined["class_averages"] = np.stack(averages)
    joined["class_half"] = np.array(class_half, dtype=np.int64)
    joined["class_size"] = np.bincount(images_of_classes, minlength=len(averages) + 1)[1:]
    joined["class_twin"] = find_matching_classes(joined["class_averages"], joined["class_half"])
    joined["pixel_size"] = pixel_size
    return joined


def find_matching_classes(averages: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """Find for each class the matching class of the other half: the one whose finished average is most like it.

    Only for display: nothing of one half goes into the other.

    Returns
    -------
    ndarray
        `(classes,)` int64 numbers from 1; 0 where there is no other half.
    """
    rings = build_fourier_rings(averages.shape[-1])
    harmonics = rings.to_harmonics(torch.from_numpy(averages))
    energy = rings.ring_energies(harmonics).sum(1).clamp_min(1e-12)
    matching = np.zeros(len(averages), dtype=np.int64)
    for half in np.unique(halves):
        own, others = np.flatnonzero(halves == half), np.flatnonzero(halves != half)
        if len(others) == 0:
            continue
        theirs = harmonics[:, :, torch.from_numpy(others)].contiguous()
        for start in range(0, len(own), CLASSES_AT_ONCE):
            some = own[start : start + CLASSES_AT_ONCE]
            images = harmonics[:, :, torch.from_numpy(some)].contiguous()
            everywhere = images.new_ones(len(some), rings.box // 2)
            likelihood = match_images(images, everywhere, theirs, rings).likelihood
            their_energy = energy[torch.from_numpy(others)]
            alike = (likelihood + 0.5 * their_energy) / their_energy.sqrt()
            matching[some] = others[alike.argmax(1).numpy()] + 1
    return matching
