"""Volumes of images at known poses: what both halves agree on stays, noise does not."""

import torch

from polardenoise.engine.imaging.ctf_rings import filter_by_rings
from polardenoise.engine.views.poses import measure_gains, project_all, scale_shells
from polardenoise.engine.views.volume_sums import begin_sums, keep_what_agrees, solve_volume
from tests.views.volumes import BOX, make_blobs, make_images

FULL = BOX // 2


def solve(images, frames, ctf_rings=None):
    ctf_rings = torch.ones(len(images), FULL) if ctf_rings is None else ctf_rings
    sums = begin_sums(BOX, images.device)
    sums.add_images(images, ctf_rings, frames)
    return solve_volume(sums)


def relative_error(found, truth):
    return float((found - truth).square().sum() / truth.square().sum())


def test_clean_images_give_the_volume_that_they_show():
    _, clean, frames = make_images(make_blobs(), 600, 1.0)
    found = project_all(solve(clean, frames), frames)
    scale = (found * clean).sum() / found.square().sum()
    assert 0.95 < scale < 1.25  # a tenth of the mean weight counts as if it had measured nothing
    assert relative_error(scale * found, clean) < 0.025


def test_images_weigh_by_what_their_ctf_has_left_of_them():
    volume = make_blobs()
    _, clean, frames = make_images(volume, 600, 1.0)
    generator = torch.Generator().manual_seed(2)
    ctf_rings = torch.rand(600, FULL, generator=generator)
    found = project_all(solve(filter_by_rings(clean, ctf_rings), frames, ctf_rings), frames)
    scale = (found * clean).sum() / found.square().sum()
    assert relative_error(scale * found, clean) < 0.025


def test_next_to_nothing_comes_of_noise_and_the_filter_beats_the_plain_average():
    volume = make_blobs()
    images, clean, frames = make_images(volume, 600, 0.05)
    noise = images - clean
    sums = begin_sums(BOX, images.device)
    sums.add_images(images, torch.ones(600, FULL), frames)
    assert project_all(solve(noise, frames), frames).square().mean() < 0.01
    found = project_all(solve_volume(sums), frames)
    # The same frequencies without the comparison of the halves: the noise alone has more than that.
    alone = begin_sums(BOX, images.device)
    alone.add_images(
        noise.repeat_interleave(2, 0), torch.ones(1200, FULL), frames.repeat_interleave(2, 0)
    )
    unfiltered = project_all(
        solve_volume(alone), frames
    )  # both halves have the same noise: all of it agrees
    assert relative_error(found, clean) < 0.5 * float(
        unfiltered.square().sum() / clean.square().sum()
    )


def test_what_the_halves_share_stays_to_the_bit_of_rounding_and_opposites_vanish():
    volume = make_blobs()
    assert relative_error(keep_what_agrees(volume, volume), volume) < 1e-6
    assert keep_what_agrees(volume, -volume).square().sum() < 1e-6 * volume.square().sum()


def test_sums_of_two_sets_are_those_of_all():
    images, _, frames = make_images(make_blobs(), 40, 1.0)
    ones = torch.ones(20, FULL)
    first, second, both = (begin_sums(BOX, images.device) for _ in range(3))
    first.add_images(images[:20], ones, frames[:20])
    second.add_images(images[20:], ones, frames[20:])
    both.add_images(images, torch.ones(40, FULL), frames)
    torch.testing.assert_close(
        solve_volume(first + second), solve_volume(both), atol=1e-5, rtol=1e-4
    )


def test_gains_tell_how_much_of_a_volume_is_in_images():
    volume = make_blobs()
    _, clean, frames = make_images(volume, 60, 4.0)
    ctf_rings = torch.linspace(1, 0.5, FULL).expand(60, -1)
    seen = filter_by_rings(clean, ctf_rings)
    factors = torch.linspace(0.8, 1.3, FULL)
    gains = measure_gains(
        2.0 * volume, filter_by_rings(seen, factors.expand(60, -1)), ctf_rings, frames
    )
    assert (gains[:8] - factors[:8]).abs().max() < 0.06
    assert measure_gains(volume, -seen, ctf_rings, frames).abs().max() == 0
    scaled = scale_shells(volume, factors)
    again = project_all(scaled, frames)
    expected = filter_by_rings(project_all(volume, frames), factors.expand(60, -1))
    assert relative_error(again, expected) < 2e-3
