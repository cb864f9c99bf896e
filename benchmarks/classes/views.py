"""Viewing directions that can be told apart: mirror images and symmetric copies count as one view."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional as F

#: A map that correlates so well with itself after a turn shows the same in both positions.
SYMMETRIC = 0.95
#: Rotations that are tried, those that are followed up, and how; degrees.
TRIED, FOLLOWED, STEPS, FIRST_STEP, LAST_STEP = 6000, 100, 40, 8.0, 0.5
#: Voxels that make one where rotations are searched, and where they are followed up: the box is a multiple of both.
COARSE, FINE = 4, 2
#: Turns closer than this are one, degrees; so is what is closer to no turn at all.
SAME_TURN = 25.0
#: Directions that are tried for a view, and beginnings of a choice.
CANDIDATES, BEGINNINGS = 4000, 20


def find_symmetry(volume: Tensor, seed: int = 0) -> Tensor:
    """Find the turns that bring a map onto itself, whatever its axes.

    Parameters
    ----------
    volume : Tensor
        `(N, N, N)`, axes z, y, x, the centre at `N // 2`. What is symmetric but for details of a few voxels counts.
    seed : int
        Fixes the turns that are tried.

    Returns
    -------
    Tensor
        `(m, 3, 3)` float64 on xyz column vectors, no turn first.
    """
    generator = np.random.default_rng(seed)
    turns = Rotation.random(TRIED, random_state=seed)
    turns = turns[turns.magnitude() > np.deg2rad(SAME_TURN)]
    alike = correlate_turned(volume, turns, COARSE)
    best = turns[np.argsort(-alike)[:FOLLOWED]]
    alike = correlate_turned(volume, best, FINE)
    for step in np.geomspace(FIRST_STEP, LAST_STEP, STEPS):
        moved = best * Rotation.from_rotvec(
            np.deg2rad(step) * generator.standard_normal((len(best), 3)) / 3**0.5
        )
        found = correlate_turned(volume, moved, FINE)
        chosen = np.where((found > alike)[:, None], moved.as_quat(), best.as_quat())
        best, alike = Rotation.from_quat(chosen), np.maximum(found, alike)
    kept = [Rotation.identity()]
    for place in np.argsort(-alike):
        apart = [(best[place] * one.inv()).magnitude() for one in kept]
        if alike[place] >= SYMMETRIC and min(apart) > np.deg2rad(SAME_TURN):
            kept.append(best[place])
    return torch.from_numpy(np.stack([one.as_matrix() for one in kept]))


def correlate_turned(volume: Tensor, turns: Rotation, pooled: int) -> np.ndarray:
    """Correlate a map, `pooled` voxels a side taken as one, with itself turned, `(n,)`."""
    coarse = F.avg_pool3d(volume[None, None].float(), pooled)
    size = coarse.shape[-1]
    # Centre and voxels after the pooling, in units in which the box goes from -1 to 1.
    axis = (2 * torch.arange(size) + 1) / size - 1
    centre = 1 / volume.shape[-1]
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    places = torch.stack([x, y, z], -1) - centre
    inside = places.square().sum(-1) < 0.9
    places, own = places[inside], coarse[0, 0][inside]
    own = own - own.mean()
    found = []
    for some in torch.from_numpy(turns.as_matrix()).float().split(50):
        where = (torch.einsum("nij,pj->npi", some, places) + centre)[:, :, None, None]
        grid = where.permute(2, 0, 1, 3, 4).reshape(1, len(some), len(places), 1, 3)
        other = F.grid_sample(coarse, grid, align_corners=False)[0, 0, :, :, 0]
        other = other - other.mean(1, keepdim=True)
        found.append((other @ own) / (other.norm(dim=1) * own.norm()).clamp_min(1e-9))
    return torch.cat(found).numpy()


def measure_apart(directions: Tensor, others: Tensor, symmetry: Tensor) -> Tensor:
    """Measure degrees between directions `(n, 3)` and `(m, 3)`, at the nearest of their copies and opposites."""
    cosine = torch.stack([(directions @ turn @ others.T).abs() for turn in symmetry]).amax(0)
    return cosine.clamp_max(1).arccos().rad2deg()


def draw_directions(count: int, generator: np.random.Generator) -> Tensor:
    """Draw directions evenly on the sphere, `(count, 3)` float64."""
    drawn = torch.from_numpy(generator.standard_normal((count, 3)))
    return drawn / drawn.norm(dim=1, keepdim=True)


def choose_views(
    count: int, degrees: float, symmetry: Tensor, generator: np.random.Generator
) -> Tensor:
    """Choose directions at random that lie apart, `(n, 3)`: `count` of them, or as many as were found to fit."""
    best: list[int] = []
    candidates = draw_directions(CANDIDATES, generator)
    for _ in range(BEGINNINGS):
        left = torch.ones(len(candidates), dtype=torch.bool)
        chosen: list[int] = []
        while left.any() and len(chosen) < count:
            one = int(generator.choice(left.nonzero()[:, 0].numpy()))
            chosen.append(one)
            left &= measure_apart(candidates, candidates[one : one + 1], symmetry)[:, 0] >= degrees
        if len(chosen) > len(best):
            best = chosen
        if len(best) == count:
            break
    return candidates[best]


def look_along(directions: Tensor, generator: np.random.Generator) -> np.ndarray:
    """Give rot, tilt and a random psi `(n, 3)`, degrees, of images that look along directions `(n, 3)`."""
    x, y, z = directions.numpy().T
    rot, tilt = np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arccos(np.clip(z, -1, 1)))
    return np.stack([rot, tilt, generator.uniform(-180, 180, len(x))], 1)
