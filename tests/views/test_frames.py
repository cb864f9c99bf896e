"""Frames: rotations, evenly spread, and images placed at what they show."""

import math

import torch

from polardenoise.engine.imaging.rotation import rotate_images
from polardenoise.engine.views.frames import draw_frames, place_images, spread_frames
from polardenoise.engine.views.poses import project_all
from tests.views.volumes import make_blobs


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def assert_rotations(frames):
    unit = torch.eye(3, dtype=frames.dtype).expand_as(frames)
    torch.testing.assert_close(frames.mT @ frames, unit, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        torch.linalg.det(frames), torch.ones(len(frames), dtype=frames.dtype), atol=1e-5, rtol=0
    )


def test_drawn_frames_are_rotations_and_prefer_no_direction():
    frames = draw_frames(4000, source())
    assert_rotations(frames)
    # The mean of n even unit vectors has a length of about 1 / sqrt(n), their second moments are 1/3.
    assert frames.mean(0).abs().max() < 4 / math.sqrt(4000)
    directions = frames[:, :, 2]
    moments = directions.mT @ directions / 4000
    assert (moments - torch.eye(3) / 3).abs().max() < 0.03


def test_spread_frames_leave_no_direction_far():
    frames = spread_frames(500, source(3))
    assert_rotations(frames)
    anywhere = draw_frames(2000, source(4)).float()[:, :, 2]
    # Half of the sphere: a direction or its opposite.
    nearest = (anywhere @ frames[:, :, 2].T).abs().amax(1).clamp_max(1).acos()
    # 500 caps over half a sphere have a radius of 3.6 degrees; a spiral leaves at most half as much again.
    assert math.degrees(nearest.max()) < 1.6 * math.degrees(math.acos(1 - 1 / 500))


def test_images_are_placed_where_their_projection_is_the_view_turned_and_mirrored():
    volume = make_blobs()
    frames = spread_frames(6, source(5))
    views = project_all(volume, frames)
    steps, angles = torch.tensor([0, 3, 10, 32, 50, 63]), 64
    for mirrored in (0, 1):
        shown = torch.arange(6) + 6 * mirrored
        placed = place_images(frames, shown, steps, angles)
        assert_rotations(placed)
        images = project_all(volume, placed)
        expected = views
        if mirrored:  # y reversed about the centre
            expected = views.flip(1).roll(1, 1)
        turned = rotate_images(images, -360.0 / angles * steps)  # psi counts clockwise
        middle = slice(4, -4)
        difference = (turned - expected)[:, middle, middle].square().mean()
        assert difference < 2e-3 * expected[:, middle, middle].square().mean()
