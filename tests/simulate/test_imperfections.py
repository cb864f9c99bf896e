"""Contrast that varies, sloping backgrounds, wrong defocus, the noise of empty boxes: each is what was asked for."""

import json

import mrcfile
import numpy as np
import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.imaging.ctf import apply_ctf, compute_ctf
from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.simulate.imperfections import draw_contrasts, draw_gradients, lay_slopes
from polardenoise.engine.simulate.noise import draw_coloured_noise, sample_noise_power
from polardenoise.engine.simulate.noise_spectrum import (
    MEASURED,
    measure_box_spectrum,
    print_spectra,
)
from polardenoise.engine.simulate.options import SimulationPlan
from polardenoise.engine.simulate.pipeline import simulate_particles
from polardenoise.engine.train.recipe import Recipe, lay_file_over

BOX = 32


def simulate(folder, **options):
    plan = SimulationPlan(**{"sources": ("phantom:10002",), "box": BOX, "particles": 60, **options})
    simulate_particles(plan, folder)
    return tuple(
        torch.from_numpy(mrcfile.read(folder / f"{name}.mrcs")) for name in ("particles", "clean")
    )


def test_contrasts_have_the_spread_and_leave_the_mean_power():
    drawn = draw_contrasts(200_000, 0.3, np.random.default_rng(0))
    assert np.log(drawn).std() == pytest.approx(0.3, rel=0.01)
    assert np.square(drawn).mean() == pytest.approx(1, rel=0.01)
    assert (draw_contrasts(5, 0.0, np.random.default_rng(0)) == 1).all()


def test_a_slope_is_a_plane_of_mean_zero_and_the_strength_asked_for():
    planes = lay_slopes(torch.tensor([[1.0, 0.0], [0.0, -2.0]]), BOX)
    assert planes.mean((1, 2)).abs().max() < 1e-5
    torch.testing.assert_close(planes.square().mean((1, 2)), torch.tensor([1.0, 4.0]))
    assert torch.diff(planes[0], dim=1).gt(0).all()
    assert torch.diff(planes[0], dim=0).abs().max() < 1e-6
    assert torch.diff(planes[1], dim=0).lt(0).all()
    gradients = draw_gradients((5000,), 0.4, np.random.default_rng(1))
    many = lay_slopes(torch.from_numpy(gradients), 8)
    assert float(many.square().mean() ** 0.5) == pytest.approx(0.4, rel=0.03)


def test_slopes_are_in_the_noisy_images_only(here):
    noisy, clean = simulate(here / "flat")
    sloping, same = simulate(here / "sloping", slope=0.5)
    assert torch.equal(clean, same)
    slopes = sloping - noisy
    # What is left after the plane that fits best is rounding.
    ramp = (torch.arange(BOX, dtype=torch.float32) - (BOX - 1) / 2).expand(BOX, BOX)
    flat = torch.stack([ramp, ramp.T]).flatten(1)
    fitted = torch.linalg.lstsq(flat.T, slopes.flatten(1).T).solution
    assert (slopes.flatten(1).T - flat.T @ fitted).abs().max() < 1e-4
    assert 0.3 < float(slopes.square().mean() ** 0.5) < 0.7


def test_contrast_is_in_image_and_truth_and_the_noise_is_the_same(here):
    noisy, clean = simulate(here / "even", with_ctf=False)
    spread_noisy, spread_clean = simulate(here / "spread", with_ctf=False, contrast_spread=0.4)
    factors = (spread_clean * clean).sum((1, 2)) / clean.square().sum((1, 2))
    torch.testing.assert_close(spread_clean, factors[:, None, None] * clean)
    assert 0.25 < float(factors.log().std()) < 0.55
    torch.testing.assert_close(spread_noisy - spread_clean, noisy - clean, atol=1e-4, rtol=0)


def test_the_defocus_that_is_written_is_not_that_of_the_images(here):
    """At an SNR of a million the images are the clean ones through their CTF, wherever the written one is right."""
    texts = []
    residuals = {}
    for error in (0.0, 600.0):
        folder = here / f"{error:g}"
        noisy, clean = simulate(folder, snr=1e6, defocus_error=error, particles=30)
        particles = read_particles(folder / "particles.star")
        pixel_size = torch.from_numpy(particles.pixel_size)
        seen = apply_ctf(clean, compute_ctf(particles.ctf, pixel_size, BOX))
        residuals[error] = float((noisy - seen).norm() / seen.norm())
        texts.append((folder / "particles.star").read_text().split("data_particles")[1])
    assert residuals[0.0] < 2e-3
    assert residuals[600.0] > 0.05
    assert texts[0].replace("0/particles", "600/particles") == texts[1]


def test_the_spectrum_of_empty_boxes_is_that_of_their_noise(here):
    power = sample_noise_power(MEASURED, 48, 3.0)
    boxes = 5 - 2 * draw_coloured_noise(300, power, np.random.default_rng(2))
    write_stack(here / "boxes.mrcs", boxes.numpy(), 3.0)
    found = measure_box_spectrum(here / "boxes.mrcs")
    rings = slice(2, 22)
    known = MEASURED.at(found.frequency)
    ratio = found.power[rings] / known[rings]
    np.testing.assert_allclose(ratio / ratio.mean(), 1, rtol=0.1)
    assert found.frequency[1] == pytest.approx(1 / (48 * 3.0))


def test_noise_boxes_colour_the_noise(here):
    """Boxes that hold low frequencies alone give noise that holds hardly anything else."""
    coarse = torch.ones(BOX, BOX // 2 + 1)
    coarse[:, 5:] = coarse[5:-4] = 0.01
    boxes = draw_coloured_noise(200, coarse, np.random.default_rng(3))
    write_stack(here / "boxes.mrcs", boxes.numpy(), 3.0)
    words = "simulate phantom:10002 -o out --box 32 --pixel-size 3 --particles 40 --no-ctf --noise-boxes boxes.mrcs"
    assert main([*words.split(), "--json", "out.json"]) == 0
    assert json.loads((here / "out.json").read_text())["noise"] == "coloured"
    noise = mrcfile.read("out/particles.mrcs") - mrcfile.read("out/clean.mrcs")
    squares = np.square(np.abs(np.fft.fft2(noise))).mean(0)
    assert noise.var() == pytest.approx(1, rel=0.1)
    assert squares[1:4, 1:4].mean() > 20 * squares[8:24, 8:24].mean()


def test_the_printed_spectrum_is_a_setting_of_a_recipe(here, capsys):
    boxes = np.random.default_rng(4).standard_normal((40, 32, 32)).astype(np.float32)
    write_stack(here / "boxes.mrcs", boxes, 3.0)
    print_spectra(["boxes", "boxes.mrcs"])
    (here / "recipe.json").write_text(f'{{"noise_spectrum": {capsys.readouterr().out}}}')
    recipe = lay_file_over(Recipe(), "polar-transformer", here / "recipe.json")
    frequency, power = np.array(recipe.noise_spectrum).T
    np.testing.assert_allclose(frequency, np.arange(16) / (32 * 3.0), atol=1e-5)
    np.testing.assert_allclose(power[1:], 1, atol=0.2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--slope -1", "--slope -1"),
        ("--contrast-spread 3", "--contrast-spread 3"),
        ("--defocus-error -5", "--defocus-error -5"),
        ("--defocus-error 100 --no-ctf", "without a CTF"),
        ("--noise gaussian --noise-boxes blank.mrcs", "--noise-boxes blank.mrcs"),
        ("--noise-boxes blank.mrcs", "box 3 is blank"),
        ("--noise-boxes nowhere.mrcs", "nowhere.mrcs"),
    ],
)
def test_what_makes_no_set_is_refused_in_a_line(here, capsys, words, said):
    boxes = np.random.default_rng(0).standard_normal((4, 32, 32)).astype(np.float32)
    boxes[2] = 7
    write_stack(here / "blank.mrcs", boxes, 3.0)
    command = ["simulate", "phantom:10002", "-o", "out", "--box", "32", "--particles", "4"]
    assert main([*command, *words.split()]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (here / "out").exists()
