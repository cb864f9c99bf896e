"""Harder simulated sets: coloured noise, counted electrons, ice, envelope, MTF, neighbours; the truth stays."""

import json
import subprocess

import mrcfile
import numpy as np
import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.imaging.ctf import apply_ctf, compute_ctf
from polardenoise.engine.particles.mrc import read_volume
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.simulate.detector import model_mtf, read_mtf, sample_losses
from polardenoise.engine.simulate.noise import sample_noise_power
from polardenoise.engine.simulate.noise_spectrum import MEASURED, measure_noise_spectrum
from polardenoise.engine.simulate.overlapping_particles import draw_neighbours, measure_radius
from polardenoise.engine.simulate.pipeline import SimulationPlan, simulate_particles
from polardenoise.engine.simulate.poisson_noise import count_electrons, settle_exposure
from tests.simulate.test_pipeline import shell_correlation

BOX = 32
HARD = {
    "noise": "poisson",
    "ice": 0.2,
    "envelope": 100.0,
    "mtf": model_mtf(0.4),
    "neighbours": 0.3,
}


def simulate(folder, **options):
    plan = SimulationPlan(**{"sources": ("phantom:10002",), "box": BOX, "particles": 60, **options})
    return simulate_particles(plan, folder)


def read_seen(folder):
    """Give the noisy images, and the clean ones through their CTFs: `(n, N, N)` each."""
    particles = read_particles(folder / "particles.star")
    clean = torch.from_numpy(mrcfile.read(folder / "clean.mrcs"))
    if particles.ctf is not None:
        ctf = compute_ctf(particles.ctf, float(particles.pixel_size[0]), clean.shape[-1])
        clean = apply_ctf(clean, ctf)
    return mrcfile.read(folder / "particles.mrcs"), clean.numpy()


def mean_power(images):
    """Mean power `(N, N // 2 + 1)` at each frequency; 1 for white noise of variance 1."""
    return (np.abs(np.fft.rfft2(images)) ** 2).mean(0) / images.shape[-1] ** 2


def rings():
    cycles = np.fft.fftfreq(BOX) * BOX
    return np.hypot(cycles[:, None], cycles[: BOX // 2 + 1]).round().astype(int)


def over_rings(plane):
    ring = rings().ravel()
    return np.bincount(ring, plane.ravel()) / np.bincount(ring)


@pytest.mark.parametrize("with_ctf", [True, False])
def test_by_default_the_noise_is_the_white_noise_that_it_was(here, with_ctf):
    """Byte for byte: the truth through the CTF, plus the second stream of the seed."""
    simulate(here / "set", with_ctf=with_ctf, max_shift=1.0, seed=7)
    noisy, seen = read_seen(here / "set")
    stream = np.random.Generator(np.random.PCG64(7)).spawn(2)[1]
    white = stream.standard_normal(size=seen.shape, dtype=np.float32)
    np.testing.assert_array_equal(noisy, seen + white)


def test_noise_changes_nothing_of_the_truth(here):
    def files(name):
        return [(here / "set" / name).read_bytes() for name in ("clean.mrcs", "clean.star", name)]

    simulate(here / "set", snr=0.05, seed=3)
    plain = files("particles.star")
    harder = [
        {"noise": "coloured"},
        {"noise": "poisson"},
        {"noise": "poisson", "dose": 2.0},
        {**HARD, "dose": 3.0},
    ]
    for options in harder:
        simulate(here / "set", snr=0.05, seed=3, **options)
        assert files("particles.star") == plain
        once = (here / "set" / "particles.mrcs").read_bytes()
        simulate(here / "set", snr=0.05, seed=3, **options)
        assert (here / "set" / "particles.mrcs").read_bytes() == once


@pytest.mark.parametrize("noise", ["gaussian", "coloured", "poisson"])
def test_noise_has_variance_one_and_its_spectrum(here, noise):
    summary = simulate(here / "set", noise=noise, snr=0.05, particles=500)
    noisy, seen = read_seen(here / "set")
    assert (seen.astype(float) ** 2).mean() == pytest.approx(summary["snr"], rel=1e-3)
    difference = noisy - seen
    assert difference.var() == pytest.approx(1, abs=0.01)
    assert abs(difference.mean()) < 0.01
    found = over_rings(mean_power(difference))
    wanted = np.ones_like(found)
    if noise == "coloured":
        wanted = over_rings(sample_noise_power(MEASURED, BOX, summary["pixel_size"]).numpy())
        assert wanted[1] > 1.5 * wanted[BOX // 2]
    counts = np.bincount(rings().ravel())
    # Half of the samples of a half transform, at least, are independent of the others.
    assert (np.abs(found / wanted - 1) < 5 * np.sqrt(2 / (counts * 500))).all()


def test_counts_vary_by_their_mean():
    electrons = 6.0
    strength = torch.tensor([-2.0, 0.0, 1.0, 2.0])
    images = strength[:, None, None].expand(4, 300, 300)
    noisy = count_electrons(images, electrons, 1.0, np.random.default_rng(2)).numpy()
    counts = electrons - noisy * np.sqrt(electrons)
    np.testing.assert_allclose(counts, counts.round(), atol=1e-4)
    assert counts.min() > -1e-4
    np.testing.assert_allclose(noisy.mean((1, 2)), strength, atol=0.02)
    expected = electrons - strength.numpy() * np.sqrt(electrons)
    np.testing.assert_allclose(counts.mean((1, 2)), expected, rtol=0.02)
    np.testing.assert_allclose(counts.var((1, 2)), expected, rtol=0.03)
    # Poisson: the third moment is the mean too.
    third = ((counts - counts.mean((1, 2), keepdims=True)) ** 3).mean((1, 2))
    np.testing.assert_allclose(third, expected, rtol=0.2)


def test_more_counts_than_fit_the_specimen_are_none():
    """Where the specimen would take away more electrons than arrive, none are counted."""
    images = torch.full((1, 8, 8), 100.0)
    noisy = count_electrons(images, 4.0, 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(noisy, np.full((1, 8, 8), 2.0))


def test_snr_dose_and_contrast_go_together():
    for snr, dose in ((None, None), (0.03, None), (None, 20.0), (0.1, 3.0)):
        found = settle_exposure(snr, dose, 2.5, 0.8)
        counted = found.contrast**2 * found.dose * 2.5**2 * 0.8
        assert found.snr == pytest.approx(counted)
        assert found.electrons == pytest.approx(found.dose * 2.5**2)
        assert snr is None or found.snr == snr
        assert dose is None or found.dose == dose
        assert (snr is not None and dose is not None) or found.contrast == pytest.approx(0.05)
    # Twice the dose, twice the SNR.
    assert settle_exposure(None, 40.0, 2.5, 1).snr == pytest.approx(
        2 * settle_exposure(None, 20.0, 2.5, 1).snr
    )
    with pytest.raises(InputError, match="give at least") as refused:
        settle_exposure(1.0, 0.5, 2.0, 1.0)
    least = float(str(refused.value).split("at least ")[1].split()[0])
    assert settle_exposure(1.0, least, 2.0, 1.0).contrast < 0.15
    with pytest.raises(InputError, match="electrons a pixel"):
        settle_exposure(None, 1e-5, 2.0, 1.0)


def test_counted_sets_are_whole_electrons(here):
    summary = simulate(here / "set", noise="poisson", dose=0.02)
    noisy, seen = read_seen(here / "set")
    electrons = summary["dose"] * summary["pixel_size"] ** 2
    counts = electrons - noisy * np.sqrt(electrons)
    np.testing.assert_allclose(counts, counts.round(), atol=1e-3)
    assert counts.mean() == pytest.approx(electrons, rel=0.02)
    assert summary["snr"] == pytest.approx(0.05**2 * electrons)
    contrast = (seen / np.sqrt(electrons)).std()
    assert contrast == pytest.approx(summary["contrast"], rel=0.05)


def test_mtf_and_envelope_weaken_the_signal_and_not_the_noise(here):
    losses = {"mtf": model_mtf(0.3), "envelope": 200.0}
    strong = {"snr": 1e12, "particles": 20}
    summary = simulate(here / "full", **strong)
    simulate(here / "lossy", **strong, **losses)
    full, _ = read_seen(here / "full")
    lossy, _ = read_seen(here / "lossy")
    frequency = np.hypot(np.fft.fftfreq(BOX)[:, None], np.fft.rfftfreq(BOX))
    expected = 0.3 ** ((2 * frequency) ** 2)
    expected = expected * np.exp(-50 * (frequency / summary["pixel_size"]) ** 2)
    ratio = np.abs(np.fft.rfft2(lossy)).sum(0) / np.abs(np.fft.rfft2(full)).sum(0)
    # Beyond there is next to no signal.
    seen = rings() < BOX // 2 - 1
    np.testing.assert_allclose(ratio[seen], expected[seen], rtol=2e-3)
    simulate(here / "weak", snr=1e-9, particles=300, **losses)
    noise, _ = read_seen(here / "weak")
    assert noise.var() == pytest.approx(1, abs=0.01)
    power = over_rings(mean_power(noise))[1 : BOX // 2]
    assert np.abs(power - 1).max() < 0.1


def test_ice_shows_thon_rings_and_counts_as_noise(here):
    """One defocus for all, so that the rings of the power spectrum are those of one CTF."""
    simulate(here / "set", ice=0.5, particles=400, snr=0.01)
    noisy, seen = read_seen(here / "set")
    particles = read_particles(here / "set" / "particles.star")
    squared = compute_ctf(particles.ctf, float(particles.pixel_size[0]), BOX).square().numpy()
    twice = np.full(BOX // 2 + 1, 2.0)
    twice[[0, -1]] = 1
    squared /= (squared * twice).sum((1, 2), keepdims=True) / BOX**2
    difference = noisy - seen
    assert difference.var() == pytest.approx(1, abs=0.01)
    power = over_rings(mean_power(difference))
    expected = over_rings((0.5 + 0.5 * squared).mean(0))
    counts = np.bincount(rings().ravel())
    assert (np.abs(power / expected - 1) < 5 * np.sqrt(2 / (counts * 400))).all()
    assert expected[:17].max() > 1.3 * expected[:17].min()


def test_neighbours_reach_in_from_the_side(here):
    strong = {"snr": 1e8, "with_ctf": False, "particles": 200}
    simulate(here / "alone", **strong)
    simulate(here / "crowd", **strong, neighbours=0.4)
    alone, truth = read_seen(here / "alone")
    crowd, same = read_seen(here / "crowd")
    np.testing.assert_array_equal(truth, same)
    added = crowd - alone
    with_one = np.abs(added).max((1, 2)) > 0.2 * truth.max()
    # Some only graze the box.
    assert 0.15 < with_one.mean() < 0.45
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    radius = np.hypot(x, y)
    energy = (added.astype(float) ** 2).mean(0)
    inside, outside = energy[radius < 0.25 * BOX].mean(), energy[radius > 0.45 * BOX].mean()
    assert inside < 0.02 * outside
    assert energy.mean() > 0.02 * (truth.astype(float) ** 2).mean()
    # From all sides.
    sides = [energy[:, -4:].mean(), energy[:, :4].mean(), energy[-4:].mean(), energy[:4].mean()]
    assert max(sides) < 3 * min(sides)


def test_neighbours_touch_and_do_not_overlap():
    ball = torch.zeros(40, 40, 40)
    z, y, x = np.mgrid[:40, :40, :40] - 20
    ball[torch.from_numpy(x**2 + y**2 + z**2 <= 81)] = 1
    assert measure_radius(ball) == pytest.approx(9 * 0.8 ** (1 / 3), abs=1)
    found = draw_neighbours(0.25, np.full(4000, 9.0), 40, np.random.default_rng(1))
    assert found.present.mean() == pytest.approx(0.25, abs=0.03)
    distance = found.places.norm(dim=1).numpy()
    assert distance.min() == pytest.approx(18, abs=0.1)
    assert distance.max() == pytest.approx(29, abs=0.1)
    assert np.abs(found.places.mean(0).numpy()).max() < 1


def test_an_mtf_of_relion_is_read(here):
    (here / "mtf.star").write_text(
        "data_mtf\nloop_\n_rlnResolutionInversePixel #1\n_rlnMtfValue #2\n0 2\n0.25 1\n0.5 0.5\n"
    )
    mtf = read_mtf(here / "mtf.star")
    np.testing.assert_allclose(mtf.at(np.array([0, 0.125, 0.5, 0.7])), [1, 0.75, 0.25, 0.25])
    losses = sample_losses(mtf, 0.0, 3.0, 8)
    assert losses.shape == (8, 5)
    np.testing.assert_allclose(losses[0], [1, 0.75, 0.5, 0.375, 0.25])
    words = "simulate phantom:10002 -o set --box 16 --particles 8 --mtf mtf.star --json out.json"
    assert main(words.split()) == 0
    assert json.loads((here / "out.json").read_text())["mtf_at_nyquist"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ("data_\nloop_\n_rlnMtfValue\n1\n", "no table with"),
        ("data_\nloop_\n_rlnResolutionInversePixel\n_rlnMtfValue\n0 1\n0.2 x\n", "x"),
        ("data_\nloop_\n_rlnResolutionInversePixel\n_rlnMtfValue\n0 1\n0 0.5\n", "row 2"),
        ("data_\nloop_\n_rlnResolutionInversePixel\n_rlnMtfValue\n0 0\n0.5 0.5\n", "above 0"),
        ("data_\nloop_\n_rlnResolutionInversePixel\n_rlnMtfValue\n0 1\n", "two rows"),
    ],
)
def test_what_is_no_mtf_is_refused(here, table, named):
    (here / "mtf.star").write_text(table)
    with pytest.raises(InputError, match=r"mtf\.star.*" + named):
        read_mtf(here / "mtf.star")


def test_noise_like_that_of_a_set(here, capsys):
    """Measured on one simulated set, given to another: the spectrum is the first one's."""
    simulate(here / "given", noise="coloured", particles=300, pixel_size=5.0, seed=1, snr=1e-6)
    words = (
        "simulate phantom:10002 -o set --box 32 --pixel-size 5 --particles 300 --snr 1e-6 --seed 2"
    )
    assert main([*words.split(), "--noise-like", "given/particles.star"]) == 0
    assert "coloured noise" in capsys.readouterr().out
    given, made = (
        measure_noise_spectrum(here / name / "particles.star") for name in ("given", "set")
    )
    np.testing.assert_allclose(made.power[2:], given.power[2:], rtol=0.25)
    assert made.power[1] > 1.7 * made.power[-1]


def test_the_command_says_what_is_harder(here, capsys):
    words = (
        "simulate phantom:10002 -o set --box 16 --particles 8 --noise poisson --dose 5 --ice 0.1"
        " --envelope 50 --mtf 0.5 --neighbours 0.2 --json out.json"
    )
    assert main(words.split()) == 0
    said = capsys.readouterr().out
    assert "5 electrons/A^2 counted at a contrast of 0.05, ice 0.1 of the noise" in said
    assert "envelope 50 A^2, MTF 0.5 at Nyquist, neighbours in 0.2 of the images" in said
    summary = json.loads((here / "out.json").read_text())
    assert (summary["noise"], summary["dose"], summary["neighbours"]) == ("poisson", 5, 0.2)
    assert summary["snr"] == pytest.approx(0.05**2 * 5 * summary["pixel_size"] ** 2 * 0.9)


def test_relion_reconstructs_a_hard_set(relion, here):
    simulate(here / "set", particles=800, snr=1.0, max_shift=2.0, **{**HARD, "mtf": model_mtf(0.7)})
    command = ["relion_reconstruct", "--i", "set/particles.star", "--o", "relion.mrc", "--ctf"]
    subprocess.run(command, check=True, capture_output=True)
    volume, _ = read_volume(here / "set" / "volume.mrc")
    # Neighbours are left outside the sphere of the particle.
    z, y, x = np.mgrid[:BOX, :BOX, :BOX] - BOX // 2
    sphere = x**2 + y**2 + z**2 < (0.4 * BOX) ** 2
    found = mrcfile.read(here / "relion.mrc") * sphere
    assert shell_correlation(volume * sphere, found)[1:9].min() > 0.9
