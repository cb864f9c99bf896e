"""Phantoms: real geometry, protein-like mass, symmetry, the same everywhere."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from polardenoise.engine.imaging.symmetry import symmetry_matrices
from polardenoise.engine.simulate.phantoms import build_phantom
from polardenoise.engine.simulate.secondary_structure import build_helix, build_strand

EXPECTED_ATOMS, EXPECTED_MASS, EXPECTED_SPREAD = 35589, 489264.000000, 2588542.625
SEEDS = [*range(8), *range(10_000, 10_008)]


@pytest.fixture(scope="module")
def phantoms():
    return {seed: build_phantom(seed) for seed in SEEDS}


def alpha_carbons(rows):
    """Pick the second atom of every residue; backbones start with nitrogen (mass 14)."""
    return rows[np.flatnonzero(rows[:, 4] == 14.0) + 1, :3]


def test_helix_is_ideal():
    carbons = alpha_carbons(build_helix(45.0, np.random.default_rng(0)))
    assert len(carbons) == 30
    np.testing.assert_allclose(np.diff(carbons[:, 2]), 1.5, atol=1e-9)
    np.testing.assert_allclose(np.hypot(carbons[:, 0], carbons[:, 1]), 2.3, atol=1e-9)
    turn = np.diff(np.unwrap(np.arctan2(carbons[:, 1], carbons[:, 0])))
    np.testing.assert_allclose(np.degrees(turn), 100.0, atol=1e-9)
    # Neighbouring CAs of a trans peptide are 3.8 A apart.
    np.testing.assert_allclose(np.linalg.norm(np.diff(carbons, axis=0), axis=1), 3.8, atol=0.05)


def test_strand_is_extended():
    carbons = alpha_carbons(build_strand(33.0, np.random.default_rng(0)))
    assert len(carbons) == 10
    np.testing.assert_allclose(np.diff(carbons[:, 2]), 3.3, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(np.diff(carbons, axis=0), axis=1), 3.8, atol=0.05)


def test_residues_weigh_what_residues_weigh():
    rows = build_helix(3000.0, np.random.default_rng(1))
    residues = len(alpha_carbons(rows))
    # 7.8 heavy atoms and 101 Da without hydrogens (110 with them) in the average protein.
    assert rows[:, 4].sum() / residues == pytest.approx(101, rel=0.06)


def test_masses_span_the_range(phantoms):
    kilodaltons = [atoms.masses.sum() * 1.07 / 1000 for atoms in phantoms.values()]
    assert min(kilodaltons) > 40
    assert max(kilodaltons) < 1700
    assert np.percentile(kilodaltons, 80) / np.percentile(kilodaltons, 20) > 2


def test_phantoms_are_compact_but_do_not_overlap(phantoms):
    for seed, atoms in phantoms.items():
        tree = cKDTree(atoms.positions)
        near = tree.query_ball_point(atoms.positions[::20], 8.0)
        density = np.array([atoms.masses[rows].sum() for rows in near]) / (4 / 3 * np.pi * 8**3)
        # Protein: 0.81 Da per A^3 inside, less at the surface.
        assert 0.3 < np.median(density) < 1.3, seed
        # One body: no atom is far from all others.
        assert tree.query(atoms.positions, k=2)[0][:, 1].max() < 8.0, seed


def test_shapes_differ(phantoms):
    flatness, length = [], []
    for atoms in phantoms.values():
        spread = np.sqrt(np.linalg.eigvalsh(np.cov(atoms.positions.T)))
        flatness.append(spread[0] / spread[1])
        length.append(spread[1] / spread[2])
    assert min(length) < 0.5 < 0.8 < max(length)
    assert min(flatness) < 0.6


def test_some_are_symmetric(phantoms):
    """A two-fold to twelve-fold rotation about z maps the atoms onto themselves."""
    orders = []
    for atoms in phantoms.values():
        tree = cKDTree(atoms.positions)
        best = 1
        for order in range(2, 13):
            angle = 2 * np.pi / order
            turn = np.array(
                [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
            )
            if tree.query(atoms.positions[::10] @ turn.T)[0].max() < 0.01:
                best = order
        orders.append(best)
    assert orders.count(1) >= 3
    assert len(set(orders)) >= 4


def test_a_seed_is_a_molecule(phantoms):
    again = build_phantom(10_001)
    np.testing.assert_array_equal(again.positions, phantoms[10_001].positions)
    assert len(phantoms[10_002].positions) != len(again.positions)


def test_cages_are_hollow_and_have_the_symmetry_of_a_polyhedron():
    """Seeds of 8,000 to 8,999 and 18,000 to 18,999."""
    orders = set()
    for seed in (8000, 8005, 8008, 18_000):
        atoms = build_phantom(seed)
        tree = cKDTree(atoms.positions)
        found = []
        for group in ("t", "o", "i"):
            turned = [atoms.positions[::40] @ one.T for one in symmetry_matrices(group).numpy()]
            if max(tree.query(positions)[0].max() for positions in turned) < 0.01:
                found.append(len(turned))
        assert found, seed
        orders.add(max(found))
        # A shell: nothing at the centre, and no copy far from the others.
        distances = np.linalg.norm(atoms.positions, axis=1)
        assert distances.min() > 0.15 * distances.max()
        assert tree.query(atoms.positions, k=2)[0][:, 1].max() < 8.0
    assert orders >= {12, 24, 60}


def test_a_phantom_stays_what_it_is():
    """Models and published figures name seeds: what they mean may never change."""
    atoms = build_phantom(10_005)
    assert len(atoms.positions) == EXPECTED_ATOMS
    assert atoms.masses.sum() == pytest.approx(EXPECTED_MASS, rel=1e-6)
    assert np.abs(atoms.positions).sum() == pytest.approx(EXPECTED_SPREAD, rel=1e-5)
