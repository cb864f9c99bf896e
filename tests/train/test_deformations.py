"""Deformed molecules: what is projected is the shrunken, perhaps mirrored, volume."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.euler_angles import draw_orientations, matrices_from_angles
from polardenoise.engine.simulate.sources import Density
from polardenoise.engine.train.deformations import draw_deformations
from polardenoise.engine.train.optics import Optics
from polardenoise.engine.train.recipe import TINY
from polardenoise.engine.train.set_draws import draw_sets
from polardenoise.engine.train.simulated_sets import (
    draw_sets_of,
    load_molecule,
    project_sets,
    stack_molecules,
)

CPU = torch.device("cpu")
PLAIN = replace(
    TINY, ctf_share=0.0, shift_share=0.0, noise_only_share=0.0, blur=(0.0, 0.0), fill=(0.8, 0.8)
)


def lay_blob(box, centre, widths):
    """A Gaussian of `widths` around `centre`, both (x, y, z) in voxels from the middle of the box."""
    along = torch.arange(box, dtype=torch.float64) - box // 2
    x, y, z = (
        torch.exp(-((along - place) ** 2) / (2 * width**2))
        for place, width in zip(centre, widths, strict=True)
    )
    return (z[:, None, None] * y[None, :, None] * x[None, None, :]).float()


def test_deformations_shrink_by_no_more_than_asked_and_mirror_half():
    recipe = replace(PLAIN, shrinking=0.3)
    found = draw_deformations(400, recipe, np.random.default_rng(1))
    mirrored = torch.linalg.det(found) < 0
    assert 160 < int(mirrored.sum()) < 240
    lengths = torch.linalg.svdvals(found)
    assert torch.allclose(lengths[:, 0], torch.ones(400, dtype=torch.float64))
    assert 0.7 - 1e-9 <= float(lengths.min()) < 0.72
    assert torch.allclose(found, found.mT)
    generator = np.random.default_rng(1)
    assert draw_deformations(400, PLAIN, generator) is None
    assert generator.random() == np.random.default_rng(1).random()


@pytest.mark.parametrize(
    ("deformation", "centre", "widths"),
    [
        (np.diag([0.6, 1.0, 1.0]), (2.4, 3.0, -2.0), (2.1, 4.0, 3.0)),
        (-np.eye(3), (-4.0, -3.0, 2.0), (3.5, 4.0, 3.0)),
    ],
)
def test_a_projection_is_that_of_the_deformed_volume(deformation, centre, widths):
    own, other = (
        stack_molecules([Density(lay_blob(32, *one), 4.0)], CPU)
        for one in (((4.0, 3.0, -2.0), (3.5, 4.0, 3.0)), (centre, widths))
    )
    angles = draw_orientations(6, np.random.default_rng(2))
    draws = draw_sets(np.zeros(1, dtype=np.int64), 1, 6, PLAIN, np.random.default_rng(3))
    draws = replace(draws, matrices=matrices_from_angles(angles)[None])
    deformed = replace(draws, deformations=torch.from_numpy(deformation)[None])
    unit = np.ones((1, 6))
    optics = Optics(4.0 * unit, unit, torch.ones(1, 6, 32, 17))
    seen = project_sets(own.stack, deformed, optics)[0]
    wanted = project_sets(other.stack, draws, optics)[0]
    wanted = wanted * (seen[:, 0, 0].abs() / wanted[:, 0, 0].abs())[:, None, None]
    assert float((seen - wanted).norm() / wanted.norm()) < 0.03
    plain = project_sets(own.stack, draws, optics)[0]
    assert float((plain - wanted).norm() / wanted.norm()) > 0.3


def test_a_recipe_without_deformations_draws_what_it_drew():
    molecules = stack_molecules([load_molecule("phantom:5", 32, 0.8)], CPU)
    shown = np.zeros(2, dtype=np.int64)
    batches = [
        draw_sets_of(molecules, shown, 4, replace(PLAIN, shrinking=s), np.random.default_rng(9))
        for s in (0.0, 0.3)
    ]
    assert torch.allclose(batches[0].abs_ctf, batches[1].abs_ctf)
    same = (batches[0].clean - batches[1].clean).norm() / batches[0].clean.norm()
    assert 0.05 < float(same) < 2.0
