"""Protein domains from ideal helices and strands: what phantoms are assembled from.

A domain is layers of helices (10 A apart) or strands (4.8 A apart) cut to an ellipsoid, wound as sheets are, and joined
by loops; a membrane bundle is helices side by side along z; a coiled coil two or three long ones around each other.
Atom rows are `x, y, z, strength, mass` (:mod:`.secondary_structure`), centred on their centre of mass.
"""

from __future__ import annotations

import math

import numpy as np

from polardenoise.engine.simulate.rigid_bodies import (
    centre_of_mass,
    rotate_atoms,
    rotation_about_y,
    rotation_from_z,
)
from polardenoise.engine.simulate.secondary_structure import build_helix, build_loop, build_strand

# Volume that a residue takes with the spacings used here, loops included (a real protein: 133 A^3).
RESIDUE_VOLUME = 150.0
HELIX_SPACING = 9.8
STRAND_SPACING = 4.8
LAYER_SPACING = 10.0


def build_domain(residues: int, generator: np.random.Generator) -> np.ndarray:
    """Build a compact domain: layers of helices or strands inside an ellipsoid, joined by loops."""
    aspect = np.exp(generator.normal(0.0, 0.22, size=3))
    scale = (residues * RESIDUE_VOLUME / (4 / 3 * np.pi * aspect.prod())) ** (1 / 3)
    half = aspect * scale
    kinds = _draw_layers(max(1, round(2 * half[0] / LAYER_SPACING)), generator)
    winding = -min(math.radians(generator.uniform(10, 22)) / STRAND_SPACING, 0.9 / half[1])

    elements: list[tuple[str, np.ndarray, np.ndarray, float]] = []
    for layer, kind in enumerate(kinds):
        x = (layer - (len(kinds) - 1) / 2) * LAYER_SPACING
        spacing = HELIX_SPACING if kind == "helix" else STRAND_SPACING
        width = half[1] * math.sqrt(max(0.05, 1 - (x / half[0]) ** 2))
        columns = max(1, round(2 * width / spacing))
        stagger = spacing / 4 * (1 if layer % 2 else -1)
        order = range(columns) if layer % 2 == 0 else range(columns - 1, -1, -1)
        for column in order:
            y = (column - (columns - 1) / 2) * spacing + stagger
            inside = 1 - (x / half[0]) ** 2 - (y / half[1]) ** 2
            length = 2 * half[2] * math.sqrt(max(0.0, inside)) - generator.uniform(0, 7)
            if length < 7:
                continue
            # The whole domain winds about y, as sheets do: about -20 degrees from strand to strand.
            wind = rotation_about_y(winding * y)
            lean = generator.normal(0, 0.06, size=2)
            direction = wind @ np.array([lean[0], lean[1], 1.0])
            direction /= np.linalg.norm(direction)
            centre = wind @ np.array([x, y, generator.normal(0, 1.5)])
            elements.append((kind, centre, direction, length))
    if not elements:
        elements = [("helix", np.zeros(3), np.array([0.0, 0.0, 1.0]), residues * 1.5)]
    return _join_elements(elements, generator)


def _draw_layers(count: int, generator: np.random.Generator) -> list[str]:
    """Draw which layers are helices and which are sheets: all alpha, all beta, or sandwiches of both."""
    fold = generator.choice(["alpha", "beta", "sandwich", "sandwich"])
    if fold == "alpha":
        return ["helix"] * count
    if fold == "beta":
        return ["strand"] * count
    first = int(generator.integers(2))
    return ["helix" if (layer + first) % 2 == 0 else "strand" for layer in range(count)]


def build_membrane_bundle(residues: int, generator: np.random.Generator) -> np.ndarray:
    """Build a bundle of 33-42 A helices along z, as far across as they need, with loops on both sides."""
    length = generator.uniform(33, 42)
    count = max(3, round(residues / (length / 1.5 + 6)))
    # Hexagonal packing, the places nearest the middle first.
    number = np.arange(-8, 9)
    first, second = np.meshgrid(number, number)
    places = np.stack([first + second / 2, second * math.sqrt(3) / 2], axis=-1).reshape(-1, 2)
    places = places + generator.uniform(-0.4, 0.4, size=2)
    stretch = np.array([1.0, generator.uniform(1.0, 1.8)])
    places = places[np.argsort((places**2 * stretch).sum(axis=1), kind="stable")][:count]
    elements = []
    for place in places * HELIX_SPACING:
        lean = generator.normal(0, 0.16, size=2)
        direction = np.array([lean[0], lean[1], 1.0])
        centre = np.array([place[0], place[1], generator.normal(0, 2)])
        stretch_by = generator.uniform(0.85, 1.25)
        elements.append(
            ("helix", centre, direction / np.linalg.norm(direction), length * stretch_by)
        )
    return _join_elements(elements, generator)


def build_coiled_coil(residues: int, generator: np.random.Generator) -> np.ndarray:
    """Build two or three long parallel helices side by side, along z."""
    helices = int(generator.integers(2, 4))
    length = residues / helices * 1.5
    rows = []
    for number in range(helices):
        angle = 2 * np.pi * number / helices
        helix = build_helix(length, generator)
        # Supercoil: each helix turns around the common axis, one turn in 150 A.
        phase = angle - 2 * np.pi * helix[:, 2] / 150.0
        helix[:, 0] += 5.0 * np.cos(phase)
        helix[:, 1] += 5.0 * np.sin(phase)
        rows.append(helix)
    return np.concatenate(rows)


def _join_elements(
    elements: list[tuple[str, np.ndarray, np.ndarray, float]], generator: np.random.Generator
) -> np.ndarray:
    """Place helices and strands (kind, centre, direction, length), up and down in turn, and join them by loops."""
    rows = []
    last_end: np.ndarray | None = None
    for number, (kind, centre, direction, length) in enumerate(elements):
        build = build_helix if kind == "helix" else build_strand
        element = rotate_atoms(build(length, generator), rotation_from_z(direction))
        element[:, :3] += centre
        up = 1.0 if number % 2 == 0 else -1.0
        start = centre - up * direction * length / 2
        if last_end is not None:
            outward = -up * direction * generator.uniform(3, 9)
            rows.append(build_loop(last_end, start, outward, generator))
        rows.append(element)
        last_end = centre + up * direction * length / 2
    body = np.concatenate(rows)
    body[:, :3] -= centre_of_mass(body)
    return body
