"""Molecules that no list has: what is projected is the shrunken, perhaps mirrored, volume, or both parts of one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.euler_angles import draw_orientations, matrices_from_angles
from polardenoise.engine.simulate.sources import Density
from polardenoise.engine.train.optics import Optics
from polardenoise.engine.train.recipe import TINY
from polardenoise.engine.train.set_draws import draw_sets
from polardenoise.engine.train.simulated_sets import (
    draw_sets_of,
    load_molecule,
    project_sets,
    stack_molecules,
)
from polardenoise.engine.train.unlisted_molecules import (
    PART_SIZES,
    Joined,
    draw_deformations,
    draw_joined,
)

CPU = torch.device("cpu")
PLAIN = replace(
    TINY, ctf_share=0.0, shift_share=0.0, noise_only_share=0.0, blur=(0.0, 0.0), fill=(0.8, 0.8)
)
UNIT = np.ones((1, 6))
OPTICS = Optics(4.0 * UNIT, UNIT, torch.ones(1, 6, 32, 17))


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


def draw(count):
    angles = draw_orientations(6, np.random.default_rng(2))
    draws = draw_sets(np.zeros(1, dtype=np.int64), count, 6, PLAIN, np.random.default_rng(3))
    return replace(draws, matrices=matrices_from_angles(angles)[None])


def test_the_projection_is_that_of_both_parts_in_one_volume():
    first, second = ((3.0, -2.0, 1.0), (3.0, 4.0, 3.5)), ((-2.0, 1.0, 4.0), (3.5, 3.0, 4.5))
    size, place = 0.7, np.array([5.0, -3.0, 4.0])
    turned = matrices_from_angles(torch.tensor([[90.0, 90.0, 0.0]], dtype=torch.float64))
    joined = Joined(
        np.array([True]),
        np.array([1]),
        np.array([size]),
        turned,
        torch.from_numpy(place[None]),
        np.ones(1),
    )
    parts = stack_molecules([Density(lay_blob(32, *one), 4.0) for one in (first, second)], CPU)
    seen = project_sets(parts.stack, replace(draw(2), joined=joined), OPTICS)[0]
    # Turned by these right angles the blob lies at, and is as wide along, other axes of the volume.
    rotation = turned[0].numpy()
    where, wide = np.array(second[0]), np.array(second[1])
    laid = [
        lay_blob(32, np.array(first[0]) * size - place / 2, np.array(first[1]) * size),
        lay_blob(32, rotation @ where * size + place / 2, abs(rotation) @ wide * size),
    ]
    alone = [
        project_sets(stack_molecules([Density(one, 4.0)], CPU).stack, draw(1), OPTICS)[0]
        for one in laid
    ]

    def power(spectra):
        squared = spectra.abs().square()
        return squared.sum() - squared[:, 0, 0].sum()

    wanted = alone[0] + alone[1] * (power(alone[0]) / power(alone[1])).sqrt()
    wanted = wanted * (seen.abs().sum() / wanted.abs().sum())
    assert float((seen - wanted).norm() / wanted.norm()) < 0.04


def test_parts_stay_within_the_molecule_and_a_share_of_the_sets_has_two():
    radii = np.array([10.0, 12.0])
    shown = np.arange(400) % 2
    recipe = replace(PLAIN, joined_share=0.6)
    joined = draw_joined(radii, shown, recipe, np.random.default_rng(1))
    assert 200 < joined.present.sum() < 280
    larger = np.maximum(radii[shown], radii[joined.molecules])
    reach = joined.places.norm(dim=1).numpy() / 2 + joined.sizes * larger
    assert (reach <= larger + 1e-9).all()
    assert (joined.sizes[~joined.present] == 1).all()
    assert PART_SIZES[0] <= joined.sizes.min()
    generator = np.random.default_rng(1)
    assert draw_joined(radii, shown, PLAIN, generator) is None
    assert generator.random() == np.random.default_rng(1).random()


def test_sets_of_one_part_and_images_of_junk_have_no_second_part():
    molecules = stack_molecules([load_molecule(f"phantom:{seed}", 32, 0.8) for seed in (5, 6)], CPU)
    shown = np.zeros(12, dtype=np.int64)
    recipe = replace(PLAIN, junk_share=0.3)
    draws = draw_sets(shown, 2, 6, recipe, np.random.default_rng(4))
    joined = draw_joined(
        molecules.radii, shown, replace(recipe, joined_share=0.5), np.random.default_rng(5)
    )
    unit = np.ones((12, 6))
    optics = Optics(4.0 * unit, unit, torch.ones(12, 6, 32, 17))
    one, two = (
        project_sets(
            molecules.stack, replace(draws, joined=replace(joined, present=present)), optics
        )
        for present in (np.zeros(12, dtype=bool), joined.present)
    )
    differs = (one - two).norm(dim=(-2, -1)) > 0.05 * one.norm(dim=(-2, -1))
    wanted = torch.from_numpy(joined.present[:, None] & ~draws.junk)
    assert wanted.any()
    assert (~wanted).any()
    assert torch.equal(differs, wanted)
    assert torch.equal(one[~wanted], two[~wanted])


def test_training_sets_show_what_was_joined():
    molecules = stack_molecules([load_molecule(f"phantom:{seed}", 32, 0.8) for seed in (5, 6)], CPU)
    shown = np.zeros(12, dtype=np.int64)
    alone, both = (
        draw_sets_of(
            molecules, shown, 8, replace(PLAIN, joined_share=share), np.random.default_rng(4)
        )
        for share in (0.0, 0.5)
    )
    likeness = torch.cosine_similarity(alone.clean.flatten(2), both.clean.flatten(2), dim=-1)
    joined = (likeness < 0.98).any(1)
    assert 2 <= int(joined.sum()) <= 10
    assert float(likeness[~joined].min()) > 0.9999
