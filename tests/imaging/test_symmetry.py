"""Point groups are groups, of the right order, with RELION's axes."""

import re
import subprocess

import pytest
import torch

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
