"""Ab initio: a volume that explains what estimates show, from nothing but them."""

import torch

from polardenoise.engine.views import ab_initio
from polardenoise.engine.views.ab_initio import find_frames
from polardenoise.engine.views.volume_sums import begin_sums, solve_volume
from tests.views.volumes import BOX, make_blobs, make_images, measure_unexplained


def test_the_poses_of_estimates_are_found_from_nothing():
    images, clean, _ = make_images(make_blobs(), 300, 20.0)  # estimates with 5 % of noise
    frames = find_frames(images / 20**0.5, torch.Generator().manual_seed(0))
    sums = begin_sums(BOX, images.device)
    sums.add_images(images, torch.ones(300, BOX // 2), frames)
    left = measure_unexplained(solve_volume(sums), clean[:60])
    # The truth itself leaves what its views miss; a volume of a wrong arrangement five times as much and more.
    floor = measure_unexplained(make_blobs(), clean[:60])
    assert left < floor + 0.04
    at_random = begin_sums(BOX, images.device)
    at_random.add_images(images, torch.ones(300, BOX // 2), frames[torch.randperm(300)])
    assert measure_unexplained(solve_volume(at_random), clean[:60]) > 3 * (floor + 0.04)


def test_the_best_of_several_beginnings_is_taken(monkeypatch):
    frames = torch.eye(3).expand(4, 3, 3)
    found = iter([(1 * frames, 0.5), (2 * frames, 0.9)])
    monkeypatch.setattr(ab_initio, "anneal_frames", lambda *_: next(found))
    best = find_frames(torch.zeros(4, 32, 32), torch.Generator())
    assert torch.equal(best, 2 * frames)
