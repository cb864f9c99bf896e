"""Ideal helices, strands and loops as atoms: what phantoms are built of.

Atoms are rows `x, y, z, strength, mass` of a float64 array: Angstrom, electron scattering in carbon atoms, Dalton. A
residue is its four backbone atoms, its CB, and three points for the rest of its side chain, so that it weighs what an
average protein residue weighs (7.8 heavy atoms).

Geometry: alpha helix 1.5 A rise, 100 degrees a residue, CA radius 2.3 A (Arnott & Wonacott 1966; the cylindrical
coordinates of the other atoms rounded); strand 3.3 A rise, CA zigzag 0.9 A either side; loop 3.5 A between CAs.
"""

from __future__ import annotations

import numpy as np

HELIX_RISE = 1.5
HELIX_TURN = np.radians(100.0)
STRAND_RISE = 3.3
LOOP_RISE = 3.5

# Backbone of a helix residue: radius A, angle degrees, height A, relative to its CA.
HELIX_BACKBONE = np.array(
    [
        [1.55, -27.0, -0.90],  # N
        [2.30, 0.0, 0.00],  # CA
        [1.67, 26.5, 1.12],  # C
        [2.05, 22.0, 2.34],  # O
    ]
)
# Scattering relative to carbon (International Tables C, 4.3.2.2) and mass of N, CA, C, O.
BACKBONE_STRENGTH = np.array([0.88, 1.0, 1.0, 0.79])
BACKBONE_MASS = np.array([14.0, 12.0, 12.0, 16.0])
SIDE_CHAIN_STRENGTH = 0.97
SIDE_CHAIN_MASS = 12.8

# Heavy side-chain atoms of the residues and how often each size occurs in proteins (per cent).
SIDE_CHAIN_SIZES = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 10])
SIDE_CHAIN_SHARES = np.array([7.1, 8.3, 8.0, 17.0, 27.3, 16.5, 2.3, 9.4, 2.9, 1.2])


def build_helix(length: float, generator: np.random.Generator) -> np.ndarray:
    """Build an ideal alpha helix along z, centred on the origin.

    Parameters
    ----------
    length : float
        Angstrom; at least one residue is made.
    generator : numpy.random.Generator
        Draws the phase of the helix and the side chains.

    Returns
    -------
    ndarray
        `(atoms, 5)` x, y, z, strength, mass.
    """
    residues = max(1, round(length / HELIX_RISE))
    number = np.arange(residues)
    angle = number * HELIX_TURN + generator.uniform(0, 2 * np.pi)
    height = (number - (residues - 1) / 2) * HELIX_RISE
    sizes = draw_side_chains(residues, generator)

    radius = np.tile(HELIX_BACKBONE[:, 0], (residues, 1))
    angles = angle[:, None] + np.radians(HELIX_BACKBONE[:, 1])
    heights = height[:, None] + HELIX_BACKBONE[:, 2]
    backbone = np.stack([radius * np.cos(angles), radius * np.sin(angles), heights], axis=-1)
    outward = np.stack([np.cos(angle - 0.34), np.sin(angle - 0.34), np.zeros(residues)], axis=-1)
    root = np.stack([np.zeros(residues), np.zeros(residues), height - 0.5], axis=-1)
    return _assemble_residues(backbone, root + 3.3 * outward, outward, sizes, generator)


def build_strand(length: float, generator: np.random.Generator) -> np.ndarray:
    """Build an extended strand along z, centred on the origin; the sheet lies in the yz plane.

    Parameters
    ----------
    length : float
        Angstrom; at least two residues are made.
    generator : numpy.random.Generator
        Draws the side chains and which side the first one is on.

    Returns
    -------
    ndarray
        `(atoms, 5)` x, y, z, strength, mass; side chains point to +x and -x in turn.
    """
    residues = max(2, round(length / STRAND_RISE))
    number = np.arange(residues)
    height = (number - (residues - 1) / 2) * STRAND_RISE
    side = np.where((number + generator.integers(2)) % 2 == 0, 1.0, -1.0)
    sizes = draw_side_chains(residues, generator)
    zero = np.zeros(residues)

    nitrogen = np.stack([0.3 * side, 0.25 * side, height - 1.2], axis=-1)
    alpha = np.stack([0.9 * side, zero, height], axis=-1)
    carbonyl = np.stack([0.3 * side, -0.25 * side, height + 1.2], axis=-1)
    oxygen = np.stack([0.3 * side, -1.45 * side, height + 1.4], axis=-1)
    backbone = np.stack([nitrogen, alpha, carbonyl, oxygen], axis=1)
    outward = np.stack([side, zero, zero], axis=-1)
    return _assemble_residues(backbone, alpha + 1.5 * outward, outward, sizes, generator)


def build_loop(
    start: np.ndarray, end: np.ndarray, bulge: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Build a loop between two points, drawn out on the way.

    Parameters
    ----------
    start, end : ndarray
        `(3,)` Angstrom.
    bulge : ndarray
        `(3,)` Angstrom; the loop's middle is moved by half of it (a quadratic Bezier curve).
    generator : numpy.random.Generator
        Draws side chains and which way the residues face.

    Returns
    -------
    ndarray
        `(atoms, 5)` x, y, z, strength, mass; no atoms where the two ends already touch.
    """
    control = (start + end) / 2 + bulge
    length = (np.linalg.norm(control - start) + np.linalg.norm(end - control)) * 0.85
    residues = int(length / LOOP_RISE)
    if residues < 1:
        return np.zeros((0, 5))
    along = ((np.arange(residues) + 0.5) / residues)[:, None]
    alpha = (1 - along) ** 2 * start + 2 * along * (1 - along) * control + along**2 * end
    tangent = 2 * (1 - along) * (control - start) + 2 * along * (end - control)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-6)
    facing = generator.normal(size=(residues, 3))
    facing -= (facing * tangent).sum(axis=1, keepdims=True) * tangent
    facing /= np.maximum(np.linalg.norm(facing, axis=1, keepdims=True), 1e-6)
    carbonyl = alpha + 1.2 * tangent
    backbone = np.stack([alpha - 1.2 * tangent, alpha, carbonyl, carbonyl - 1.2 * facing], axis=1)
    return _assemble_residues(
        backbone, alpha + 1.5 * facing, facing, draw_side_chains(residues, generator), generator
    )


def draw_side_chains(residues: int, generator: np.random.Generator) -> np.ndarray:
    """Draw the number of heavy side-chain atoms of each residue, `(residues,)` int, in protein proportions."""
    shares = SIDE_CHAIN_SHARES / SIDE_CHAIN_SHARES.sum()
    return SIDE_CHAIN_SIZES[np.searchsorted(np.cumsum(shares)[:-1], generator.random(residues))]


def _assemble_residues(
    backbone: np.ndarray,
    beta: np.ndarray,
    outward: np.ndarray,
    sizes: np.ndarray,
    generator: np.random.Generator,
) -> np.ndarray:
    """Join backbone `(n, 4, 3)`, CBs `(n, 3)` and the rest of the side chains into atom rows."""
    atoms = np.empty((len(backbone), 8, 5))
    atoms[:, :4, :3] = backbone
    atoms[:, :4, 3] = BACKBONE_STRENGTH
    atoms[:, :4, 4] = BACKBONE_MASS
    atoms[:, 4, :3] = beta
    beyond = np.maximum(sizes - 1, 0)
    # What lies beyond the CB is three points: a long side chain reaches farther, and leans to one side.
    reach = (0.8 + 0.4 * beyond)[:, None, None] * np.array([0.4, 0.9, 1.4])[:, None]
    lean = (
        generator.normal(0.0, 0.5, size=(len(backbone), 1, 3)) * np.array([0.5, 1.0, 1.5])[:, None]
    )
    atoms[:, 5:, :3] = beta[:, None] + outward[:, None] * reach + lean
    share = np.stack([np.minimum(sizes, 1), *[beyond / 3] * 3], axis=1)
    atoms[:, 4:, 3] = SIDE_CHAIN_STRENGTH * share
    atoms[:, 4:, 4] = SIDE_CHAIN_MASS * share
    flat = atoms.reshape(-1, 5)
    return flat[flat[:, 4] > 0]
