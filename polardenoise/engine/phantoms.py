"""Phantoms: molecules that exist nowhere, built from geometry alone.

A phantom is an assembly of compact domains of ideal helices and sheets, alone or with cyclic (Cn) or dihedral (Dn)
symmetry, 50 to 1500 kDa. Everything follows from one seed (numpy's PCG64), so that a phantom is the same on every
machine and needs no data. Seeds below 10,000 are for training, those above for tests.

The steps: a *domain* is layers of helices (10 A apart) or strands (4.8 A apart) cut to an ellipsoid and joined by
loops; a *protomer* is domains pushed together until they touch; the *assembly* is the protomer's symmetric copies,
moved out from the axis until they touch. Coordinates are rounded to 0.001 A.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from polardenoise.engine.atoms import Atoms
from polardenoise.engine.secondary_structure import build_helix, build_loop, build_strand

RESIDUE_KILODALTON = 0.110
# Volume that a residue takes with the spacings used here, loops included (a real protein: 133 A^3).
RESIDUE_VOLUME = 150.0
HELIX_SPACING = 9.8
STRAND_SPACING = 4.8
LAYER_SPACING = 10.0
# Edge of the cells in which two bodies may not both have atoms, and the share of shared cells that is still a contact.
CELL = 5.0
CONTACT = 0.08
TRIES = 6

FAMILIES = ("globular", "elongated", "ring", "membrane", "dihedral")
FAMILY_SHARES = (0.32, 0.20, 0.16, 0.16, 0.16)


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
    rows = np.concatenate([_rotate(protomer, rotation) for rotation in rotations])
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
            domain = _build_membrane_bundle(max(int(size), 120), generator)
        elif family == "elongated" and number % 3 == 1 and generator.random() < 0.5:
            rod = _build_coiled_coil(min(int(size), 130), generator)
            domain = _rotate(rod, _rotation_from_z(directions[number]))
        else:
            domain = _rotate(_build_domain(int(size), generator), _draw_rotation(generator))
        if number == 0:
            body = last = domain
            continue
        if family == "elongated":
            # These grow mostly at their tip.
            target = _centre(last if generator.random() < 0.7 else body)
            offset = _contact_offset(domain, body, target, directions[number])
        else:
            # The others fill their hollows: of several ways in, the one that ends nearest the middle.
            ways = [
                _contact_offset(domain, body, _centre(body), direction)
                for direction in _draw_directions(family, TRIES, generator)
            ]
            offset = min(ways, key=lambda way: float((way**2).sum()))
        last = domain.copy()
        last[:, :3] += offset
        body = np.concatenate([body, last])
    body[:, :3] -= _centre(body)
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


def _build_domain(residues: int, generator: np.random.Generator) -> np.ndarray:
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
            wind = _rotation_about_y(winding * y)
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


def _build_membrane_bundle(residues: int, generator: np.random.Generator) -> np.ndarray:
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


def _build_coiled_coil(residues: int, generator: np.random.Generator) -> np.ndarray:
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
        element = _rotate(build(length, generator), _rotation_from_z(direction))
        element[:, :3] += centre
        up = 1.0 if number % 2 == 0 else -1.0
        start = centre - up * direction * length / 2
        if last_end is not None:
            outward = -up * direction * generator.uniform(3, 9)
            rows.append(build_loop(last_end, start, outward, generator))
        rows.append(element)
        last_end = centre + up * direction * length / 2
    body = np.concatenate(rows)
    body[:, :3] -= _centre(body)
    return body


def _move_to_contact(
    protomer: np.ndarray, rotations: np.ndarray, family: str, generator: np.random.Generator
) -> np.ndarray:
    """Turn the protomer and move it out from the axis until it only just touches its copies."""
    if family == "membrane":
        turn = 2 * np.pi * generator.random()
        protomer = _rotate(protomer, _rotation_about_z(turn))
        elevation = 0.0
    else:
        protomer = _rotate(protomer, _draw_rotation(generator))
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

    def share_in_contact(distance: float) -> float:
        moved = protomer[:, :3] + distance * direction
        own = _cells(moved)
        others = [_cells(_turn(moved, rotation)) for rotation in rotations[1:]]
        return float(np.isin(own, np.concatenate(others)).mean())

    distance = _closest_distance(share_in_contact, 40.0 + 60.0 * len(rotations))
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
    cyclic = [_rotation_about_z(2 * np.pi * number / order) for number in range(order)]
    if not dihedral:
        return np.stack(cyclic)
    flip = np.diag([1.0, -1.0, -1.0])
    return np.stack(cyclic + [rotation @ flip for rotation in cyclic])


def _rotation_about_z(angle: float) -> np.ndarray:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _rotation_about_y(angle: float) -> np.ndarray:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])


def _rotation_from_z(direction: np.ndarray) -> np.ndarray:
    """Give the smallest rotation that takes +z to a unit vector (Rodrigues)."""
    x, y, z = direction
    if z < -0.999999:
        return np.diag([1.0, -1.0, -1.0])
    cross = np.array([[0.0, 0.0, x], [0.0, 0.0, y], [-x, -y, 0.0]])
    return np.eye(3) + cross + cross @ cross / (1 + z)


def _draw_rotation(generator: np.random.Generator) -> np.ndarray:
    """Draw a uniform rotation from a normal quaternion."""
    w, x, y, z = (quaternion := generator.normal(size=4)) / np.sqrt((quaternion**2).sum())
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _turn(positions: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Rotate positions `(n, 3)`; without BLAS, whose rounding differs between machines."""
    return (positions[:, None, :] * rotation[None, :, :]).sum(axis=2)


def _rotate(rows: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Rotate atom rows `(n, 5)`."""
    rotated = rows.copy()
    rotated[:, :3] = _turn(rows[:, :3], rotation)
    return rotated


def _centre(rows: np.ndarray) -> np.ndarray:
    """Give the centre of mass of atom rows, `(3,)`."""
    return (rows[:, 4:] * rows[:, :3]).sum(axis=0) / rows[:, 4].sum()
