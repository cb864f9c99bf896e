"""CTF rings: images whose noise is made white, and comparisons that come to the same without it."""

import torch

from polardenoise.engine.imaging.ctf_rings import filter_by_rings, weigh_by_noise, whiten
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.ring_harmonics import build_fourier_rings
from polardenoise.engine.imaging.rotational_matching import compute_image_harmonics
from polardenoise.engine.neighbours.displacements import correlate

BOX = 32
POWER = 0.5 + 6 * (-torch.arange(BOX // 2) / 3.0).exp()


def draw(count, seed):
    return torch.randn(count, BOX, BOX, generator=torch.Generator().manual_seed(seed))


def draw_ctf_rings(count):
    return (torch.arange(BOX // 2) * torch.linspace(0.1, 0.3, count)[:, None]).cos().abs()


def test_coloured_noise_becomes_white_and_the_ctf_follows():
    ctf_rings = draw_ctf_rings(200)
    noise = filter_by_rings(draw(200, 0), POWER.sqrt()[None])
    signal = draw(200, 1) * disk_mask(BOX, BOX / 4)
    white, white_rings = whiten(noise, ctf_rings, POWER)
    assert torch.allclose(white, draw(200, 0), atol=1e-4)
    assert (noise - white).norm() > 0.2 * white.norm()
    shown, _ = whiten(filter_by_rings(signal, ctf_rings), ctf_rings, POWER)
    assert torch.allclose(shown, filter_by_rings(signal, white_rings), atol=1e-4)


def test_white_noise_stays_bit_for_bit():
    images, ctf_rings = draw(3, 0), draw_ctf_rings(3)
    same, same_rings = whiten(images, ctf_rings, None)
    assert same is images
    assert same_rings is ctf_rings
    assert weigh_by_noise(ctf_rings, None) is ctf_rings


def test_weighed_images_have_the_products_of_white_ones():
    images, references, ctf_rings = draw(4, 0), draw(4, 1), draw_ctf_rings(4)
    white, white_rings = whiten(images, ctf_rings, POWER)
    weighed = correlate(images, weigh_by_noise(ctf_rings, POWER), references)
    of_white = correlate(white, white_rings, references)
    assert torch.allclose(weighed, of_white, atol=1e-3 * float(of_white.abs().max()))
    rings = build_fourier_rings(BOX)
    weighed = compute_image_harmonics(images, weigh_by_noise(ctf_rings, POWER), rings)
    of_white = compute_image_harmonics(white, white_rings, rings)
    assert (weighed - of_white).norm() < 0.1 * of_white.norm()
