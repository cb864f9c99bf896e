"""Phantoms: molecules that exist nowhere, built from geometry alone.

A phantom is an assembly of compact domains of ideal helices and sheets, alone or with cyclic (Cn) or dihedral (Dn)
symmetry, 50 to 1500 kDa. Everything follows from one seed (numpy's PCG64), so that a phantom is the same on every
machine and needs no data. Seeds below 10,000 are for training, those above for tests. Seeds from 8,000 to 8,999 and
from 18,000 to 18,999 are *cages*: hollow shells with the symmetry of a tetrahedron, an octahedron or an icosahedron.

The steps: a *domain* is layers of helices (10 A apart) or strands (4.8 A apart) cut to an ellipsoid and joined by
loops; a *protomer* is domains pushed together until they touch; the *assembly* is the protomer's symmetric copies,
moved out from the axis until they touch. Coordinates are rounded to 0.001 A.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from polardenoise.engine.imaging.symmetry import symmetry_matrices
from polardenoise.engine.simulate.atoms import Atoms
from polardenoise.engine.simulate.domains import (
    build_coiled_coil,
    build_domain,
    build_membrane_bundle,
)
from polardenoise.engine.simulate.rigid_bodies import (
    centre_of_mass,
    draw_rotation,
    rotate_atoms,
    rotate_positions,
    rotation_about_z,
    rotation_from_z,
)

RESIDUE_KILODALTON = 0.110
# Edge of the cells in which two bodies may not both have atoms, and the share of shared cells that is still a contact.
CELL = 5.0
CONTACT = 0.08
TRIES = 6

FAMILIES = ("globular", "elongated", "ring", "membrane", "dihedral")
FAMILY_SHARES = (0.32, 0.20, 0.16, 0.16, 0.16)

#: Thousands of the seeds that are cages; their groups, and the residues of a protomer, at least and at most.
CAGE_THOUSANDS = (8, 18)
CAGES = {"t": (120, 400), "o": (90, 260), "i": (70, 170)}


def build_phantom(seed: int) -> Atoms:
    """Build the phantom of a seed.

    Parameters
    ----------
    seed : int
        Any whole number from 0; below 10,000 for training, above for tests.

    Returns
    -------
    Atoms
        Centred on its centre of mass, Angstrom.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    if seed // 1000 in CAGE_THOUSANDS:
        return _join_copies(*_build_cage(generator))
    family = FAMILIES[int(np.searchsorted(np.cumsum(FAMILY_SHARES)[:-1], generator.random()))]
    order, dihedral = _draw_symmetry(family, generator)
    copies = order * (2 if dihedral else 1)
    largest = {1: 500.0, 2: 800.0}.get(copies, 1500.0)
    smallest = max(50.0, 14.0 * copies)
    mass = math.exp(generator.uniform(math.log(smallest), math.log(largest)))
    residues = max(60, round(mass / RESIDUE_KILODALTON / copies))

    protomer = _build_protomer(family, residues, generator)
    rotations = _symmetry_rotations(order, dihedral)
    if copies > 1:
        protomer = _move_to_contact(protomer, rotations, family, generator)
    return _join_copies(protomer, rotations)


def _build_cage(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Build a protomer in its place on a shell, and the rotations of the shell's group."""
    group = str(generator.choice(list(CAGES)))
    rotations = np.round(symmetry_matrices(group).numpy(), 12)
    residues = int(generator.integers(*CAGES[group]))
    protomer = _build_protomer("globular", residues, generator)
    protomer = rotate_atoms(protomer, draw_rotation(generator))
    direction = draw_rotation(generator)[:, 2]
    return _move_out(protomer, rotations, direction, 60.0 * len(rotations) ** 0.5), rotations


def _join_copies(protomer: np.ndarray, rotations: np.ndarray) -> Atoms:
    """Lay a protomer's symmetric copies together, centred."""
    rows = np.concatenate([rotate_atoms(protomer, rotation) for rotation in rotations])
    positions = rows[:, :3] - rows[:, 4] @ rows[:, :3] / rows[:, 4].sum()
    return Atoms(np.round(positions, 3), rows[:, 3].copy(), rows[:, 4].copy())


def _draw_symmetry(family: str, generator: np.random.Generator) -> tuple[int, bool]:
    """Draw the order of the main axis and whether two-fold axes cross it."""
    if family == "ring":
        return int(generator.integers(5, 13)), bool(generator.random() < 0.3)
    if family == "dihedral":
        return int(generator.integers(2, 8)), True
    if family == "membrane":
        return int(generator.choice([1, 1, 2, 3, 4, 5])), False
    return int(generator.choice([1, 1, 1, 1, 2, 3])), False


def _build_protomer(family: str, residues: int, generator: np.random.Generator) -> np.ndarray:
    """Build one copy: domains pushed together, `(atoms, 5)`, centre of mass at the origin."""
    domain_size = generator.uniform(110, 260)
    count = int(np.clip(round(residues / domain_size), 1, 24))
    shares = generator.uniform(0.5, 1.5, size=count)
    sizes = np.maximum(40, np.round(residues * shares / shares.sum())).astype(int)
    directions = _draw_directions(family, count, generator)

    body = last = np.zeros((0, 5))
    for number, size in enumerate(sizes):
        if family == "membrane" and number == 0:
            domain = build_membrane_bundle(max(int(size), 120), generator)
        elif family == "elongated" and number % 3 == 1 and generator.random() < 0.5:
            rod = build_coiled_coil(min(int(size), 130), generator)
            domain = rotate_atoms(rod, rotation_from_z(directions[number]))
        else:
            domain = rotate_atoms(build_domain(int(size), generator), draw_rotation(generator))
        if number == 0:
            body = last = domain
            continue
        if family == "elongated":
            # These grow mostly at their tip.
            target = centre_of_mass(last if generator.random() < 0.7 else body)
            offset = _contact_offset(domain, body, target, directions[number])
        else:
            # The others fill their hollows: of several ways in, the one that ends nearest the middle.
            ways = [
                _contact_offset(domain, body, centre_of_mass(body), direction)
                for direction in _draw_directions(family, TRIES, generator)
            ]
            offset = min(ways, key=lambda way: float((way**2).sum()))
        last = domain.copy()
        last[:, :3] += offset
        body = np.concatenate([body, last])
    body[:, :3] -= centre_of_mass(body)
    return body


def _draw_directions(family: str, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw from which side each domain comes, `(count, 3)` unit vectors."""
    directions = generator.normal(size=(count, 3))
    if family == "elongated":
        directions = 0.8 * directions + np.array([0.0, 0.0, 1.3])
    elif family == "membrane":
        # Soluble domains sit above the membrane, now and then also below.
        below = generator.random(count) < (0.3 if generator.random() < 0.4 else 0.0)
        directions = 0.45 * directions
        directions[:, 2] = np.where(below, -1.0, 1.0)
    else:
        directions *= generator.uniform(0.5, 1.0, size=3)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _move_to_contact(
    protomer: np.ndarray, rotations: np.ndarray, family: str, generator: np.random.Generator
) -> np.ndarray:
    """Turn the protomer and move it out from the axis until it only just touches its copies."""
    if family == "membrane":
        turn = 2 * np.pi * generator.random()
        protomer = rotate_atoms(protomer, rotation_about_z(turn))
        elevation = 0.0
    else:
        protomer = rotate_atoms(protomer, draw_rotation(generator))
        elevation = math.radians(generator.uniform(0, 65))
    dihedral = rotations[:, 2, 2].min() < 0
    around = generator.uniform(0, np.pi / (len(rotations) / 2)) if dihedral else 0.0
    if not dihedral:
        elevation = 0.0
    direction = np.array(
        [
            math.cos(elevation) * math.cos(around),
            math.cos(elevation) * math.sin(around),
            math.sin(elevation),
        ]
    )
    return _move_out(protomer, rotations, direction, 40.0 + 60.0 * len(rotations))


def _move_out(
    protomer: np.ndarray, rotations: np.ndarray, direction: np.ndarray, farthest: float
) -> np.ndarray:
    """Move the protomer along a direction to where it only just touches its copies."""

    def share_in_contact(distance: float) -> float:
        moved = protomer[:, :3] + distance * direction
        own = _cells(moved)
        others = [_cells(rotate_positions(moved, rotation)) for rotation in rotations[1:]]
        return float(np.isin(own, np.concatenate(others)).mean())

    distance = _closest_distance(share_in_contact, farthest)
    moved_out = protomer.copy()
    moved_out[:, :3] += distance * direction
    return moved_out


def _contact_offset(
    domain: np.ndarray, body: np.ndarray, target: np.ndarray, direction: np.ndarray
) -> np.ndarray:
    """Find how far from `target`, along `direction`, a domain only just touches the body; `(3,)` Angstrom."""
    occupied = np.unique(_cells(body[:, :3]))

    def share_in_contact(distance: float) -> float:
        cells = _cells(domain[:, :3] + target + distance * direction)
        return float(np.isin(cells, occupied).mean())

    return target + _closest_distance(share_in_contact, 480.0) * direction


def _closest_distance(share_in_contact: Callable[[float], float], farthest: float) -> float:
    """Come in from far away until the share of cells in contact passes the limit; Angstrom, in steps of 1.5."""
    measure = functools.cache(share_in_contact)
    step, distance = 24.0, farthest
    while step >= 1.5:
        while distance - step >= 0 and measure(distance - step) <= CONTACT:
            distance -= step
        step /= 2
    return distance


def _cells(positions: np.ndarray) -> np.ndarray:
    """Give the numbers of the cells in which points lie, `(n,)` int64, unique numbers for different cells."""
    index = np.floor(positions / CELL).astype(np.int64) + (1 << 19)
    return np.unique((index[:, 2] << 40) + (index[:, 1] << 20) + index[:, 0])


def _symmetry_rotations(order: int, dihedral: bool) -> np.ndarray:
    """List the rotations of Cn about z, with those of Dn (two-fold along x) after them; `(copies, 3, 3)`."""
    cyclic = [rotation_about_z(2 * np.pi * number / order) for number in range(order)]
    if not dihedral:
        return np.stack(cyclic)
    flip = np.diag([1.0, -1.0, -1.0])
    return np.stack(cyclic + [rotation @ flip for rotation in cyclic])
