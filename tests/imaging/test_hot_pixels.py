"""Hot pixels are replaced by what surrounds them; all other images stay bit for bit."""

import numpy as np
import pytest
import torch

from polardenoise.engine.imaging.hot_pixels import replace_hot_pixels
from tests.smooth_images import draw_smooth_images


def draw(count=6, box=64, seed=0):
    return torch.randn(count, box, box, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("value", [1e6, -1e6, 3e38, -3e38, 40.0])
@pytest.mark.parametrize("place", [(0, 0), (10, 20), (63, 63)])
def test_a_hot_pixel_is_replaced(value, place):
    images = 2 * draw() + 30
    broken = images.clone()
    broken[2][place] = value * 2 + 30 if abs(value) < 1e10 else value
    mended, counts = replace_hot_pixels(broken)
    assert counts.tolist() == [0, 0, 1, 0, 0, 0]
    assert torch.equal(mended != broken, broken != images)  # that pixel alone
    y, x = place
    around = images[2, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
    assert around.min() <= mended[2][place] <= around.max()
    assert broken[2][place] != mended[2][place]  # what is given is not changed


def test_a_patch_and_several_pixels_are_replaced():
    images = draw()
    images[1, 30:33, 40:43] = 1e5
    images[1, 5, 5] = -1e4
    mended, counts = replace_hot_pixels(images)
    assert counts.tolist() == [0, 10, 0, 0, 0, 0]
    assert mended.abs().max() < 6


@pytest.mark.parametrize(
    "images",
    [
        draw(200),
        1e4 + 1e-3 * draw(),
        1e30 * draw(),
        draw() + 8 * draw_smooth_images(6, 0, 64)[0],  # signal far above the noise
        draw_smooth_images(6, 0, 64)[0],
        torch.poisson(0.01 + 0 * draw(), generator=torch.Generator().manual_seed(0)),
        torch.poisson(1.0 + 0 * draw(), generator=torch.Generator().manual_seed(0)),
        torch.zeros(2, 64, 64),
        torch.nn.functional.one_hot(torch.tensor([5, 600]), 4096).view(2, 64, 64).float(),
    ],
    ids=["noise", "offset", "large", "signal", "clean", "sparse", "counts", "blank", "points"],
)
def test_ordinary_images_are_themselves(images):
    images = images.float()
    mended, counts = replace_hot_pixels(images)
    assert mended is images
    assert not counts.any()


def test_half_precision_and_small_boxes():
    images = draw(3, 12)
    images[0, 3, 3] = 1e6
    assert replace_hot_pixels(images)[1].tolist() == [1, 0, 0]
    assert np.isfinite(replace_hot_pixels(images)[0].numpy()).all()
