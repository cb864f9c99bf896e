"""How right the matches of `denoise` are where the truth is known: neighbours, in-plane rotations, classes, scores.

Particles whose clean image is zero everywhere (junk) have no viewing direction. Nothing is asked for them; where one is
given as a neighbour, it counts as 180 degrees away.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from polardenoise.counts import word_count
from polardenoise.engine.evaluate.against_truth import BYTES_READ_AT_ONCE
from polardenoise.engine.imaging.euler_angles import matrices_from_angles
from polardenoise.engine.imaging.rotation import wrap_degrees
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import ParticleSet
from polardenoise.engine.runtime.arrays import read_arrays
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.runtime.progress import Progress

#: Neighbours of each particle that are judged, the nearest first.
NEAREST = 20

#: Viewing directions that count as the same, degrees.
SAME_VIEW = 25.0

#: In-plane rotations mean something between views that are closer than this, degrees.
SAME_ROTATION = 15.0

#: Particles of large sets whose neighbours are judged, and how many at once are held against all for the truly nearest.
PARTICLES_ASKED = 5000
ASKED_AT_ONCE = 50

#: The arrays that are read, as `read_arrays` takes them.
NEEDED = {
    "neighbours": ("i", 2),
    "in_plane_degrees": ("f", 2),
    "half": ("i", 1),
    "class_number": ("i", 1),
    "score": ("f", 1),
}


@dataclass(frozen=True)
class KnownMatches:
    """What is judged of a file of matches; see docs/files.rst for its arrays."""

    neighbours: np.ndarray
    in_plane_degrees: np.ndarray
    half: np.ndarray
    class_number: np.ndarray
    score: np.ndarray


def read_matches(path: Path, count: int) -> KnownMatches:
    """Read a file of matches of `count` particles.

    Raises
    ------
    InputError
        If the file is not one that `denoise --matches` wrote, or is about other particles.
    """
    try:
        arrays = read_arrays(path, NEEDED, "give what `denoise --matches` wrote")
    except InputError as error:
        raise InputError(f"--matches {error}") from error
    lengths = {len(array) for array in arrays.values()}
    if lengths != {count}:
        raise InputError(
            f"--matches {path}: {word_count(min(lengths), 'row')}, but the denoised particles are {count}; give "
            "the matches of the same run"
        )
    matches = KnownMatches(**arrays)
    found = matches.neighbours
    if found.shape != matches.in_plane_degrees.shape or not found.size:
        raise InputError(f"--matches {path}: has no rotation for every neighbour; write it again")
    if found.max() >= count or found.min() < -1:
        raise InputError(f"--matches {path}: names neighbours that are not there; write it again")
    if not (np.isfinite(matches.in_plane_degrees).all() and np.isfinite(matches.score).all()):
        raise InputError(f"--matches {path}: holds numbers that are not finite; write it again")
    return matches


def evaluate_matches(matches: KnownMatches, truth: ParticleSet, symmetry: Tensor) -> dict[str, Any]:
    """Compare matches with what the truth knows.

    Parameters
    ----------
    matches : KnownMatches
        Rows as in the truth.
    truth : ParticleSet
        With RELION's Euler angles, classes or junk; what it does not have is not judged.
    symmetry : Tensor
        `(m, 3, 3)` rotations of the molecule's point group.

    Returns
    -------
    dict
        The keys that docs/files.rst lists; None where the truth does not tell.
    """
    junk = find_empty_images(truth)
    summary: dict[str, Any] = {"junk": int(junk.sum())}
    if truth.angles is not None:
        summary |= judge_neighbours(matches, truth.angles, junk, symmetry)
    classes = truth.column("rlnClassNumber")
    summary |= judge_classes(matches, None if classes is None else np.array(classes), junk)
    return summary | {"score_auc": area_under_curve(matches.score, junk)}


def find_empty_images(truth: ParticleSet) -> np.ndarray:
    """Tell which clean images are zero everywhere, `(n,)` bool."""
    count, at_once = len(truth), max(BYTES_READ_AT_ONCE // (4 * truth.box**2), 1)
    empty = np.zeros(count, dtype=bool)
    with Progress("look for junk", count) as progress:
        for start in range(0, count, at_once):
            rows = np.arange(start, min(start + at_once, count))
            empty[rows] = ~read_images(truth, rows).any((1, 2))
            progress.advance(len(rows))
    return empty


def judge_neighbours(
    matches: KnownMatches, angles: np.ndarray, junk: np.ndarray, symmetry: Tensor
) -> dict[str, Any]:
    """Compare neighbours with the poses `(n, 3)`, Euler angles in degrees; the keys of docs/files.rst.

    Of large sets some particles are drawn, the same ones every time.
    """
    poses = matrices_from_angles(torch.from_numpy(angles).double())
    asked = np.flatnonzero(~junk)
    if len(asked) > PARTICLES_ASKED:
        asked = np.random.default_rng(0).choice(asked, PARTICLES_ASKED, replace=False)
    neighbours = matches.neighbours[asked, :NEAREST]
    rows, places = np.nonzero((neighbours >= 0) & (neighbours != asked[:, None]))
    others, rows = neighbours[rows, places], asked[rows]
    view, rotation = compare_poses(poses, rows, others, symmetry)
    nearest_view = view.amin(1)
    nearest_view[torch.from_numpy(junk[others])] = 180.0

    given = torch.from_numpy(matches.in_plane_degrees[rows, places]).double()
    error = wrap_degrees(given[:, None] - rotation).abs()
    # Where several symmetric copies are seen from the same side, each is as right as the other.
    error = error.where(view <= SAME_ROTATION, torch.inf).amin(1)
    comparable = error.isfinite() & torch.from_numpy(~junk[others])
    best, random = bound_angles(poses, matches.half, junk, asked, symmetry)
    return {
        "neighbours_judged": NEAREST,
        "neighbour_angle_median": find_median(nearest_view),
        "neighbour_angle_best": best,
        "neighbour_angle_random": random,
        "neighbours_within_25_degrees": float((nearest_view <= SAME_VIEW).double().mean())
        if len(rows)
        else None,
        "in_plane_error_median": find_median(error[comparable]),
        "in_plane_pairs": int(comparable.sum()),
    }


def compare_poses(
    poses: Tensor, rows: np.ndarray, others: np.ndarray, symmetry: Tensor
) -> tuple[Tensor, Tensor]:
    """Compare the poses of pairs of particles, for every symmetric copy of the second.

    With `R` carrying image coordinates into the molecule's, the viewing direction is `R z`, and `R1^T S R2` carries the
    coordinates of the second image into the first's: its rotation about z takes the second image onto the first.
    Opposite directions are mirror images, and 180 degrees apart.

    Parameters
    ----------
    poses : Tensor
        `(n, 3, 3)` from `matrices_from_angles`.
    rows, others : ndarray
        `(pairs,)`.
    symmetry : Tensor
        `(m, 3, 3)`.

    Returns
    -------
    tuple of Tensor
        `(pairs, m)` angles between viewing directions, and counter-clockwise rotations (from +x to +y) that take the
        second image onto the first, degrees.
    """
    views, rotations = [], []
    for element in symmetry.to(poses):
        relative = poses[rows].mT @ (element @ poses)[others]
        views.append(between_directions(relative[:, 2, 2]))
        rotations.append(
            torch.atan2(
                relative[:, 1, 0] - relative[:, 0, 1], relative[:, 0, 0] + relative[:, 1, 1]
            ).rad2deg()
        )
    return torch.stack(views, 1), torch.stack(rotations, 1)


def bound_angles(
    poses: Tensor, half: np.ndarray, junk: np.ndarray, asked: np.ndarray, symmetry: Tensor
) -> tuple[float | None, float | None]:
    """Give the median angle of the rows asked to the truly nearest of the same half, and to any of it, degrees."""
    directions = poses[:, :, 2]
    best, random = [], []
    with Progress("judge neighbours", len(asked)) as progress:
        for one in np.unique(half[asked]):
            own = np.flatnonzero((half == one) & ~junk)
            rows = asked[half[asked] == one]
            others = np.arange(0, len(own) - 1, max(1, len(own) // 200))
            for some in np.split(rows, range(ASKED_AT_ONCE, len(rows), ASKED_AT_ONCE)):
                cosine = directions.new_full((len(some), len(own)), -1.0)
                for element in symmetry.to(poses):
                    of_copies = directions[some] @ element @ directions[own].T
                    torch.maximum(cosine, of_copies, out=cosine)
                itself = np.searchsorted(own, some)[:, None]
                drawn = cosine.gather(1, torch.from_numpy(others + (others >= itself)))
                random.append(between_directions(drawn).flatten())
                cosine.scatter_(1, torch.from_numpy(itself), -torch.inf)
                # Of the cosines, and not of all angles: those of a large half would take most of the time.
                nearest = cosine.topk(min(NEAREST, len(own) - 1), 1).values
                best.append(between_directions(nearest).flatten())
                progress.advance(len(some))
    if not best:
        return None, None
    return find_median(torch.cat(best)), find_median(torch.cat(random))


def judge_classes(
    matches: KnownMatches, classes: np.ndarray | None, junk: np.ndarray
) -> dict[str, Any]:
    """Compare classes with the true ones `(n,)` by the adjusted Rand index, within each half."""
    found = {}
    for half in np.unique(matches.half):
        own = (matches.half == half) & ~junk
        if classes is not None and len(np.unique(classes[own])) > 1:
            found[str(half)] = adjusted_rand_index(matches.class_number[own], classes[own])
    mean = float(np.mean(list(found.values()))) if found else None
    return {"class_ari": mean, "class_ari_of_halves": found}


def adjusted_rand_index(first: np.ndarray, second: np.ndarray) -> float:
    """Tell how far two partitions `(n,)` of the same things agree: 1 wholly, 0 as chance would have it.

    Hubert & Arabie, J. Classif. 2, 193 (1985), eq. 5.
    """
    first, second = (np.unique(labels, return_inverse=True)[1] for labels in (first, second))
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1)

    def count_pairs(sizes: np.ndarray) -> float:
        return float((sizes * (sizes - 1) / 2).sum())

    together = count_pairs(table)
    rows, columns = count_pairs(table.sum(1)), count_pairs(table.sum(0))
    every = len(first) * (len(first) - 1) / 2
    expected = rows * columns / every if every else 0.0
    most = (rows + columns) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)


def area_under_curve(score: np.ndarray, junk: np.ndarray) -> float | None:
    """Give the chance that a particle scores above a piece of junk (ROC AUC; ties count half); None without both."""
    good, bad = int((~junk).sum()), int(junk.sum())
    if not good or not bad:
        return None
    ranks = rankdata(score)[~junk].sum() - good * (good + 1) / 2
    return float(ranks / (good * bad))


def between_directions(cosine: Tensor) -> Tensor:
    """Turn cosines into degrees."""
    return cosine.clamp(-1, 1).arccos().rad2deg()


def find_median(values: Tensor) -> float | None:
    """Give the median, None of nothing."""
    return float(np.median(values.numpy())) if len(values) else None
