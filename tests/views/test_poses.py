"""Poses of images in a volume: near the true ones, spread as the noise leaves them open."""

import math

import torch

from polardenoise.engine.imaging.polar_grid import PolarGrid
from polardenoise.engine.views.frames import spread_frames
from polardenoise.engine.views.poses import draw_poses, prepare_views
from tests.views.volumes import BOX, make_blobs, make_images

GRID = PolarGrid(BOX, 16, 64)


def place(snr, seed=1):
    volume = make_blobs()
    images, _, frames = make_images(volume, 100, snr)
    generator = torch.Generator().manual_seed(seed)
    views = prepare_views(volume * snr**0.5, spread_frames(500, generator), GRID)
    found = draw_poses(views, images, torch.ones(100, BOX // 2), generator)
    turned = (found.mT @ frames).diagonal(dim1=1, dim2=2).sum(1)
    return found, ((turned - 1) / 2).clamp(-1, 1).acos().rad2deg()


def test_poses_of_strong_images_are_as_near_as_the_views_lie():
    _, errors = place(snr=10.0)
    # 500 directions over half a sphere lie some 6 degrees apart, rotations 5.6.
    assert errors.median() < 6
    assert (errors < 15).float().mean() > 0.95


def test_poses_of_weak_images_spread_further_and_come_again_from_the_same_source():
    found, weak = place(snr=0.1)
    again, _ = place(snr=0.1)
    other, _ = place(snr=0.1, seed=2)
    assert torch.equal(found, again)
    assert not torch.allclose(found, other)
    assert math.degrees(1) > weak.median() > place(snr=10.0)[1].median()
