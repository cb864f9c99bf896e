"""What the tests of simulation share."""

import numpy as np
import pytest

from polardenoise.engine.simulate.parakeet import exchange as parakeet


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in an empty folder: image names are relative to it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def molecule(tmp_path):
    """A lopsided molecule of a few atoms, as a PDB file whose coordinates have mean 0."""
    generator = np.random.default_rng(4)
    atoms = generator.uniform(-25, 25, (12, 3)) * [1, 0.5, 0.3]
    atoms[0] += [20, 10, 0]
    atoms -= atoms.mean(0)
    lines = [
        f"ATOM  {n:5d}  CA  ALA A{n:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C"
        for n, (x, y, z) in enumerate(atoms, 1)
    ]
    path = tmp_path / "molecule.pdb"
    path.write_text("\n".join([*lines, "END", ""]))
    return path, atoms.round(3)


@pytest.fixture
def few_a_micrograph(monkeypatch):
    """Four particles a micrograph."""
    monkeypatch.setattr(parakeet, "SIDE", 2)
