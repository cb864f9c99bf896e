"""Rotations of atoms, for building phantoms: float64, without BLAS, whose rounding differs between machines.

Rotations are `(3, 3)` on column vectors; atom rows are `x, y, z, strength, mass` (:mod:`.secondary_structure`).
"""

from __future__ import annotations

import math

import numpy as np


def rotation_about_z(angle: float) -> np.ndarray:
    """Give the rotation about z by an angle in radians, `(3, 3)`."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def rotation_about_y(angle: float) -> np.ndarray:
    """Give the rotation about y by an angle in radians, `(3, 3)`."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])


def rotation_from_z(direction: np.ndarray) -> np.ndarray:
    """Give the smallest rotation that takes +z to a unit vector (Rodrigues)."""
    x, y, z = direction
    if z < -0.999999:
        return np.diag([1.0, -1.0, -1.0])
    cross = np.array([[0.0, 0.0, x], [0.0, 0.0, y], [-x, -y, 0.0]])
    return np.eye(3) + cross + cross @ cross / (1 + z)


def draw_rotation(generator: np.random.Generator) -> np.ndarray:
    """Draw a uniform rotation from a normal quaternion."""
    w, x, y, z = (quaternion := generator.normal(size=4)) / np.sqrt((quaternion**2).sum())
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotate_positions(positions: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Rotate positions `(n, 3)`; without BLAS, whose rounding differs between machines."""
    return (positions[:, None, :] * rotation[None, :, :]).sum(axis=2)


def rotate_atoms(rows: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Rotate atom rows `(n, 5)`."""
    rotated = rows.copy()
    rotated[:, :3] = rotate_positions(rows[:, :3], rotation)
    return rotated


def centre_of_mass(rows: np.ndarray) -> np.ndarray:
    """Give the centre of mass of atom rows, `(3,)`."""
    return (rows[:, 4:] * rows[:, :3]).sum(axis=0) / rows[:, 4].sum()
