"""Point groups are groups, of the right order, with RELION's axes."""

import re
import subprocess

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from polardenoise.engine.imaging.symmetry import symmetry_matrices
from polardenoise.engine.runtime.errors import InputError

ORDERS = {"c1": 1, "C4": 4, "d1": 2, "D7": 14, "t": 12, "O": 24, "i": 60, "i1": 60, "i2": 60}


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_they_are_groups_of_proper_rotations(name, order):
    group = symmetry_matrices(name)
    assert group.shape == (order, 3, 3)
    torch.testing.assert_close(group[0], torch.eye(3, dtype=torch.float64))
    identity = torch.eye(3, dtype=torch.float64).expand_as(group)
    torch.testing.assert_close(group @ group.mT, identity, atol=1e-9, rtol=0)
    assert torch.allclose(torch.linalg.det(group), torch.ones(order, dtype=torch.float64))
    products = (group[:, None] @ group[None]).reshape(-1, 1, 3, 3)
    nearest = (products - group).abs().amax(dim=(-2, -1)).amin(dim=1)
    assert nearest.max() < 1e-6


#: Generating rotations (order, axis) of each group as RELION 3.1 has them (symmetries.cpp).
GENERATORS = {
    "c7": [(7, (0.0, 0.0, 1.0))],
    "d2": [(2, (0.0, 0.0, 1.0)), (2, (1.0, 0.0, 0.0))],
    "d5": [(5, (0.0, 0.0, 1.0)), (2, (1.0, 0.0, 0.0))],
    "t": [(3, (0.0, 0.0, 1.0)), (2, (0.0, 0.816496580927726, 0.577350269189626))],
    "o": [(3, (0.577350269189626, 0.577350269189626, 0.577350269189626)), (4, (0.0, 0.0, 1.0))],
    "i1": [
        (2, (1.0, 0.0, 0.0)),
        (5, (0.850650808352040, 0.0, -0.525731112119134)),
        (3, (0.934172358962716, 0.356822089773090, 0.0)),
    ],
    "i2": [
        (2, (0.0, 0.0, 1.0)),
        (5, (0.525731112119134, 0.0, 0.850650808352040)),
        (3, (0.0, 0.356822089773090, 0.934172358962716)),
    ],
}


@pytest.mark.parametrize("name", GENERATORS)
def test_relions_generators_are_in_the_group(name):
    """A finite group of the right order that holds the generators is the group they generate."""
    group = symmetry_matrices(name)
    for order, axis in GENERATORS[name]:
        vector = 2 * np.pi / order * np.array(axis)
        rotation = torch.from_numpy(Rotation.from_rotvec(vector).as_matrix())
        assert (group - rotation).abs().amax(dim=(-2, -1)).min() < 1e-9


def test_i_is_i2():
    torch.testing.assert_close(symmetry_matrices("i"), symmetry_matrices("i2"), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["c0", "c", "x2", "d-1", "", "i9", "c4 d2", "c999"])
def test_other_names_are_refused_in_one_line(name):
    with pytest.raises(InputError, match="--symmetry") as caught:
        symmetry_matrices(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["C3", "D2", "D5", "T", "O", "I1", "I2"])
def test_the_axes_are_relions(relion, name):
    told = subprocess.run(
        [relion / "relion_refine", "--sym", name, "--print_symmetry_ops"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    blocks = re.findall(r"R\(\d+\)=\s*\n((?:[^\n]*\n){3})", told)
    theirs = torch.tensor(
        [[[float(x) for x in line.split()] for line in block.splitlines()] for block in blocks],
        dtype=torch.float64,
    )
    ours = symmetry_matrices(name)
    assert len(theirs) == len(ours)
    nearest = (theirs[:, None] - ours).abs().amax(dim=(-2, -1)).amin(dim=1)
    assert nearest.max() < 1e-4
