"""The null test must be able to fail: denoisers that know too much, held against one that knows nothing."""

import numpy as np
import pytest
import torch

from polardenoise.engine.evaluate.noise_bars import ALIKE
from polardenoise.engine.evaluate.noise_images import (
    Conditions,
    draw_alike,
    draw_conditions,
    turn_quarter,
)
from polardenoise.engine.evaluate.noise_measures import SNR, examine_denoiser
from polardenoise.engine.evaluate.reference_alignment import align_to_reference
from polardenoise.engine.imaging.ctf import apply_ctf, compute_ctf
from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.imaging.fourier import fourier_crop, fourier_pad
from polardenoise.engine.imaging.projections import prepare_volume, take_projections
from polardenoise.engine.reconstruct.half_maps import (
    correlate_halves,
    highest_correlation,
    measure_amplitude,
    reconstruct_noise,
    subtract_means,
)
from polardenoise.engine.simulate.sources import read_density

BOX, COUNT = 32, 160
ENERGY = "energy, of a particle's"
RANDOM = "highest FSC at random poses, against raw"
ALIGNED = "highest FSC aligned, against raw"
ALIGNED_ALIKE = f"highest FSC aligned, against {ALIKE}"
ON_DENOISED = "highest FSC of raw aligned on denoised, against raw"
AMPLITUDE = "reference in the map aligned, against raw"


@pytest.fixture(scope="module")
def reference():
    return read_density("phantom:10001", BOX, None, 150.0)


@pytest.fixture(scope="module")
def transform(reference):
    return prepare_volume(reference.volume)


def examine(denoise, reference, seed=0):
    conditions = Conditions(BOX, reference.pixel_size, None, COUNT)
    return examine_denoiser(denoise, conditions, reference, np.random.default_rng(seed)).summary


def shrink(images, conditions):
    """Shrink every frequency alike: nothing is known of any molecule."""
    return 0.01 * images


def paint_best_projection(transform, strength):
    """Replace every image by the projection of a reference that it looks like most."""

    def denoise(images, conditions):
        poses = align_to_reference(
            images, conditions.compute_transfer(), transform, np.random.default_rng(7)
        )
        painted = take_projections(transform, poses)
        return strength * painted / painted.square().mean().sqrt()

    return denoise


def test_a_linear_filter_passes(reference):
    summary = examine(shrink, reference)
    assert all(bar["met"] for bar in summary["bars"].values())
    # The same images but for a factor, which no correlation depends on.
    for poses in ("random", "aligned"):
        assert summary["highest_fsc"][f"{poses}/denoised"] == pytest.approx(
            summary["highest_fsc"][f"{poses}/raw"], abs=1e-3
        )


def test_painting_a_reference_fails_however_faintly_it_is_done(reference, transform):
    faint = 0.1 * SNR**0.5  # a hundredth of a particle's energy
    summary = examine(paint_best_projection(transform, faint), reference)
    bars = summary["bars"]
    assert bars[ENERGY]["met"]
    assert bars[ENERGY]["value"] == pytest.approx(0.01, rel=0.2)
    assert not bars[ALIGNED]["met"]
    assert bars[ALIGNED]["value"] > 0.95
    strong = examine(paint_best_projection(transform, 2 * SNR**0.5), reference)["bars"]
    assert not strong[ENERGY]["met"]
    assert not strong[AMPLITUDE]["met"]


def test_a_template_in_every_image_fails_by_its_energy_and_shows_with_the_mean(
    reference, transform
):
    template = take_projections(transform, torch.zeros(1, 3))
    template = 0.5 * SNR**0.5 * template / template.square().mean().sqrt()
    summary = examine(lambda images, conditions: 0.01 * images + template, reference)
    assert not summary["bars"][ENERGY]["met"]
    assert summary["mean_fsc_with_mean"]["random/denoised"] > 0.5
    assert summary["bars"][RANDOM]["met"]  # the mean image alone is no evidence of a molecule


def test_one_image_seen_through_many_ctfs_is_a_mean_image_too():
    """CTFs of both signs hide it from the plain mean, and a reconstruction puts it together again."""
    conditions = draw_conditions(BOX, 3.0, COUNT, np.random.default_rng(2))
    transfer = compute_ctf(conditions.ctf, conditions.pixel_size, BOX)
    generator = torch.Generator().manual_seed(3)
    square = torch.arange(BOX) - BOX // 2
    blob = torch.exp(-(square[:, None] ** 2 + square**2) / 2)  # as all rotations see it
    images = torch.randn(COUNT, BOX, BOX, generator=generator) + 30 * apply_ctf(
        blob.expand(COUNT, BOX, BOX), transfer
    )
    poses = draw_orientations(COUNT, np.random.default_rng(4))
    plain = images.unflatten(0, (2, -1))
    plain = (plain - plain.mean(1, keepdim=True)).flatten(0, 1)
    assert highest_correlation(correlate_halves(plain, transfer, poses)) > 0.5
    left = subtract_means(images, transfer)
    assert highest_correlation(correlate_halves(left, transfer, poses)) < 0.25


def test_fewer_degrees_of_freedom_agree_more_and_so_do_gaussian_images_of_their_covariance(
    reference, transform
):
    """Why denoised noise, aligned, exceeds raw noise: low-passed noise in a disk does, which knows no molecule."""

    def smooth(images, conditions):
        window = torch.exp(-((torch.arange(BOX) - BOX // 2) ** 2) / (2 * 5.0**2))
        return 0.01 * window[:, None] * window * fourier_pad(fourier_crop(images, BOX // 2), BOX)

    summary = examine(smooth, reference)
    highest = summary["highest_fsc"]
    assert highest["aligned/denoised"] > highest["aligned/raw"] + 0.03
    assert highest[f"aligned/{ALIKE}"] == pytest.approx(highest["aligned/denoised"], abs=0.1)
    assert summary["bars"][AMPLITUDE]["met"]


def test_gaussian_images_have_the_covariance_of_those_they_are_drawn_from():
    generator = np.random.default_rng(5)
    window = torch.zeros(16, 16)
    window[4:13, 6:11] = 1.0  # a rectangle about the centre, (8, 8)
    images = torch.from_numpy(generator.standard_normal((800, 16, 16), dtype=np.float32)) * window
    drawn = draw_alike(images + 3.0 * window, generator)
    expected = (window + turn_quarter(window)) / 2
    torch.testing.assert_close(drawn.square().mean(0), expected, atol=0.2, rtol=0)
    assert drawn.mean(0).abs().max() < 0.15
    # A half is drawn from itself alone.
    one_half = images.clone()
    one_half[400:] = 0
    assert draw_alike(one_half, generator)[400:].abs().max() == 0


def test_a_quarter_turn_takes_x_to_y():
    image = torch.zeros(8, 8)
    image[4, 6] = 1.0  # +2 in x
    assert turn_quarter(image)[6, 4] == 1
    assert turn_quarter(image).sum() == 1


def test_the_amplitude_of_a_molecule_in_its_map_is_one(reference, transform):
    poses = draw_orientations(200, np.random.default_rng(6))
    transfer = torch.ones(200, BOX, BOX // 2 + 1)
    halves = reconstruct_noise(0.5 * take_projections(transform, poses), transfer, poses)
    for half in halves:
        assert measure_amplitude(half, reference.volume) == pytest.approx(0.5, rel=0.1)


def test_what_is_taken_away_and_what_is_kept_make_up_the_particles(reference):
    """A filter that keeps a third of everything leaves two thirds of the molecule in the residual."""
    amplitude = examine(lambda images, conditions: images / 3, reference)["amplitude"]
    whole = amplitude["true/noisy particles"]
    assert whole == pytest.approx(1, abs=0.15)
    assert amplitude["true/denoised particles"] == pytest.approx(whole / 3, rel=1e-3)
    assert amplitude["true/residual of particles"] == pytest.approx(2 * whole / 3, rel=1e-3)
