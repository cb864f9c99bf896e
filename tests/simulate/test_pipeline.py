"""Simulated particle sets: the definitions, the files, and RELION's reconstruction of them."""

import hashlib
import json
import subprocess

import mrcfile
import numpy as np
import pytest
import starfile
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.imaging.euler_angles import draw_orientations
from polardenoise.engine.imaging.projections import prepare_volume, take_projections
from polardenoise.engine.particles.mrc import read_volume, write_volume
from polardenoise.engine.runtime.errors import InputError
from polardenoise.engine.simulate.particle_table import draw_table
from polardenoise.engine.simulate.pipeline import SimulationPlan, simulate_particles

POSES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
DEFOCUS = ["rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"]


def simulate(folder, **options):
    plan = SimulationPlan(**{"sources": ("phantom:10002",), "box": 24, "particles": 60, **options})
    return simulate_particles(plan, folder)


def read(folder, name):
    return starfile.read(folder / f"{name}.star"), mrcfile.read(folder / f"{name}.mrcs")


def shell_correlation(first, second):
    """Fourier shell correlation of two volumes, written down as it is defined."""
    box = len(first)
    one, two = np.fft.fftn(first), np.fft.fftn(second)
    k = np.fft.fftfreq(box) * box
    shell = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k**2).round().astype(int)

    def total(values):
        return np.bincount(shell.ravel(), values.ravel())[: box // 2]

    cross = total((one * two.conj()).real)
    return cross / np.sqrt(total(np.abs(one) ** 2) * total(np.abs(two) ** 2))


def test_writes_a_relion_particle_set_with_its_truth(here):
    summary = simulate(here / "set", max_shift=2.0)
    assert sorted(path.name for path in (here / "set").iterdir()) == [
        *("clean.mrcs", "clean.star", "particles.mrcs", "particles.star", "volume.mrc")
    ]
    noisy, images = read(here / "set", "particles")
    clean, truths = read(here / "set", "clean")
    assert images.shape == truths.shape == (60, 24, 24)
    optics = noisy["optics"].iloc[0]
    assert optics["rlnImagePixelSize"] == summary["pixel_size"]
    assert (optics["rlnImageSize"], optics["rlnImageDimensionality"]) == (24, 2)
    assert optics["rlnVoltage"] == 300
    particles, truth = noisy["particles"], clean["particles"]
    assert list(particles["rlnImageName"][:2]) == [
        f"{row:06d}@set/particles.mrcs" for row in (1, 2)
    ]
    assert truth["rlnImageName"][59] == "000060@set/clean.mrcs"
    assert not set(DEFOCUS) & set(truth.columns)
    shared = [label for label in truth.columns if label != "rlnImageName"]
    assert truth[shared].equals(particles[shared])
    assert particles["rlnMicrographName"].nunique() == 4
    assert particles["rlnDefocusU"].between(5000, 30000).all()
    assert (particles["rlnDefocusU"] > particles["rlnDefocusV"]).all()
    assert particles.groupby("rlnMicrographName")["rlnDefocusU"].mean().std() > 500
    assert sorted(particles["rlnRandomSubset"].value_counts()) == [30, 30]
    with mrcfile.open(here / "set" / "particles.mrcs") as stack:
        assert float(stack.voxel_size.x) == pytest.approx(summary["pixel_size"])
    volume, pixel_size = read_volume(here / "set" / "volume.mrc")
    assert volume.shape == (24, 24, 24)
    assert pixel_size == pytest.approx(summary["pixel_size"])


@pytest.mark.parametrize("with_ctf", [True, False])
def test_noise_has_variance_one_and_the_signal_its_snr(here, with_ctf):
    options = {"with_ctf": with_ctf, "particles": 300, "box": 32}
    simulate(here / "weak", snr=0.05, **options)
    simulate(here / "strong", snr=1e6, **options)
    _, noisy = read(here / "weak", "particles")
    _, clean = read(here / "weak", "clean")
    _, nearly_clean = read(here / "strong", "particles")
    seen = nearly_clean * np.sqrt(0.05 / 1e6)
    noise = noisy - seen
    assert noise.var() == pytest.approx(1, abs=0.01)
    assert abs(noise.mean()) < 0.01
    assert (seen.astype(float) ** 2).mean() == pytest.approx(0.05, rel=1e-3)
    # White: the same power at low and high frequency.
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(0) / 32**2
    assert power[1:4, 1:4].mean() == pytest.approx(1, abs=0.1)
    assert power[14:18, 14:18].mean() == pytest.approx(1, abs=0.1)
    if not with_ctf:
        assert np.abs(clean - seen).max() < 0.01 * clean.max()
        table, _ = read(here / "weak", "particles")
        assert not set(DEFOCUS) & set(table["particles"].columns)


def test_truth_is_the_projected_volume_in_the_same_units(here):
    simulate(here / "set", particles=20)
    table, clean = read(here / "set", "clean")
    volume, _ = read_volume(here / "set" / "volume.mrc")
    angles = torch.tensor(table["particles"][POSES].to_numpy())
    expected = take_projections(prepare_volume(torch.from_numpy(volume), 3), angles).numpy()
    np.testing.assert_allclose(clean, expected, atol=2e-4 * expected.max())
    # Protein bright, background 0.
    assert clean.max() > 5 * -clean.min()
    assert np.abs(clean[:, 0, :]).max() < 0.05 * clean.max()


def test_origins_have_relions_sign(here):
    """rlnOriginXAngst +6 at 2 A/px puts the particle 3 px to -x."""
    summary = simulate(here / "set", max_shift=3.0, with_ctf=False)
    table, shifted = read(here / "set", "clean")
    origins = table["particles"][["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy()
    assert 2 < np.abs(origins / summary["pixel_size"]).max() <= 3
    x = np.arange(24) - 12
    total = shifted.sum((1, 2))
    place = np.stack([(shifted.sum(1) * x).sum(1) / total, (shifted.sum(2) * x).sum(1) / total], 1)
    # A projected centre of mass is the projection of the centre of mass, which is the origin.
    np.testing.assert_allclose(place, -origins / summary["pixel_size"], atol=0.25)


def test_views_are_numbered_and_their_halves_balanced(here):
    simulate(here / "set", views=8, particles=64)
    table, _ = read(here / "set", "particles")
    particles = table["particles"]
    assert sorted(particles["rlnClassNumber"].unique()) == list(range(1, 9))
    assert (particles.groupby(["rlnClassNumber", "rlnRandomSubset"]).size() == 4).all()
    directions = particles.groupby("rlnClassNumber")[["rlnAngleRot", "rlnAngleTilt"]].nunique()
    assert (directions == 1).all(axis=None)
    assert particles["rlnAnglePsi"].nunique() == 64


def test_several_sources_share_one_pixel_size(here):
    summary = simulate(
        here / "set", sources=("phantom:10002", "phantom:10007"), views=2, particles=40
    )
    table, clean = read(here / "set", "clean")
    particles = table["particles"]
    assert sorted(particles["polardenoiseSource"].value_counts()) == [20, 20]
    assert particles.groupby("rlnClassNumber")["polardenoiseSource"].nunique().eq(1).all()
    assert particles["rlnClassNumber"].nunique() == 4
    for number in (1, 2):
        volume, pixel_size = read_volume(here / "set" / f"volume_{number}.mrc")
        assert pixel_size == pytest.approx(summary["pixel_size"])
        rows = np.flatnonzero(particles["polardenoiseSource"] == number)
        angles = torch.tensor(particles[POSES].to_numpy()[rows])
        expected = take_projections(prepare_volume(torch.from_numpy(volume), 3), angles).numpy()
        np.testing.assert_allclose(clean[rows], expected, atol=1e-3 * expected.max())


def test_same_seed_same_bytes(here):
    def digests(folder):
        return [
            hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in ("particles.mrcs", "clean.mrcs", "particles.star", "volume.mrc")
        ]

    simulate(here / "set", seed=5, max_shift=1.0)
    first = digests(here / "set")
    simulate(here / "set", seed=5, max_shift=1.0)
    assert digests(here / "set") == first
    simulate(here / "set", seed=6, max_shift=1.0)
    assert not set(digests(here / "set")[:3]) & set(first)


def test_what_one_option_draws_does_not_move_the_others():
    def draw(**options):
        defaults = {"sources": 1, "views": 0, "max_shift": 0.0, "with_ctf": True}
        return draw_table(50, generator=np.random.default_rng(1), **{**defaults, **options})

    plain, other = draw(), draw(max_shift=9.0, with_ctf=False)
    np.testing.assert_array_equal(plain.angles, other.angles)
    np.testing.assert_array_equal(plain.random_subset, other.random_subset)
    np.testing.assert_array_equal(plain.coordinates, other.coordinates)


def test_pieces_of_a_large_set_join_seamlessly(here, monkeypatch):
    simulate(here / "whole", max_shift=1.0)
    monkeypatch.setattr("polardenoise.engine.simulate.pipeline.PIXELS_AT_ONCE", 24 * 24 * 7)
    simulate(here / "parts", max_shift=1.0)
    for name in ("particles", "clean"):
        _, whole = read(here / "whole", name)
        _, parts = read(here / "parts", name)
        np.testing.assert_allclose(whole, parts, atol=1e-5)


def test_command_line_writes_json_and_summary(here, capsys):
    words = "simulate phantom:10002 -o set --box 16 --particles 8 --no-ctf --json summary.json"
    assert main(words.split()) == 0
    summary = json.loads((here / "summary.json").read_text())
    assert (summary["particles"], summary["box"], summary["ctf"]) == (8, 16, False)
    assert "8 particles of phantom:10002" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--box 15", "--box"),
        ("--box 0", "--box"),
        ("--pixel-size 0", "--pixel-size"),
        ("--pixel-size wide", "--pixel-size"),
        ("--pixel-size 1 --box 16", "phantom:10002"),
        ("--snr 0", "--snr"),
        ("--snr nan", "--snr"),
        ("--b-factor -1", "--b-factor"),
        ("--particles 0", "--particles"),
        ("--views 9 --particles 8", "--views"),
        ("--max-shift 40", "--max-shift"),
        ("--seed -1", "--seed"),
        ("--noise pink", "--noise"),
        ("--dose 20", "--noise poisson"),
        ("--noise poisson --dose 0", "--dose"),
        ("--noise poisson --dose 1e-4 --snr 1", "at least"),
        ("--noise gaussian --noise-like set.star", "--noise-like"),
        ("--noise-like missing.star", "missing.star"),
        ("--ice 1", "--ice"),
        ("--envelope -1", "--envelope"),
        ("--mtf 1.5", "--mtf"),
        ("--mtf missing.star", "missing.star"),
        ("--neighbours 2", "--neighbours"),
        ("missing.pdb", "missing.pdb"),
    ],
)
def test_bad_options_exit_2_with_one_line_and_no_files(here, capsys, options, named):
    try:
        code = main(["simulate", "phantom:10002", "-o", "set", *options.split()])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    message = capsys.readouterr().err
    assert named in message
    assert message.count("\n") == 1
    assert not (here / "set").exists()


def test_an_error_half_way_keeps_the_earlier_files(here, monkeypatch):
    simulate(here / "set")
    before = {path.name: path.read_bytes() for path in (here / "set").iterdir()}

    def fail(*_):
        raise InputError("half way")

    monkeypatch.setattr("polardenoise.engine.simulate.pipeline.see_through_microscope", fail)
    monkeypatch.setattr("polardenoise.engine.simulate.pipeline._find_amplitude", lambda *_: 1.0)
    with pytest.raises(InputError, match="half way"):
        simulate(here / "set", seed=9)
    assert {path.name: path.read_bytes() for path in (here / "set").iterdir()} == before


def test_output_that_is_a_file_is_refused(here):
    (here / "set").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        simulate(here / "set")


def test_a_map_is_a_source(here):
    volume = torch.zeros(20, 20, 20)
    volume[8:13, 7:12, 9:14] = 1
    write_volume(here / "map.mrc", volume, 5.0)
    summary = simulate(here / "set", sources=("map.mrc",), box=20, particles=8)
    assert summary["pixel_size"] == pytest.approx(5.0)


def test_relion_reconstructs_the_source(relion, here):
    """The bar of the conventions: CTF with astigmatism, shifts, two halves; FSC > 0.9 to half Nyquist."""
    simulate(here / "set", box=48, particles=800, snr=5.0, max_shift=4.0)
    command = ["relion_reconstruct", "--i", "set/particles.star", "--o", "relion.mrc", "--ctf"]
    subprocess.run(command, check=True, capture_output=True)
    volume, _ = read_volume(here / "set" / "volume.mrc")
    correlation = shell_correlation(volume, mrcfile.read(here / "relion.mrc"))
    assert correlation[1:13].min() > 0.98
    assert correlation[1:].min() > 0.9


def test_relion_reconstructs_a_real_structure_without_ctf(relion, shared_data, here):
    source = str(shared_data / "structures" / "6bqn.cif.gz")
    simulate(
        here / "set",
        sources=(source,),
        box=32,
        particles=400,
        snr=2.0,
        max_shift=2.0,
        with_ctf=False,
    )
    command = ["relion_reconstruct", "--i", "set/particles.star", "--o", "relion.mrc"]
    subprocess.run(command, check=True, capture_output=True)
    volume, _ = read_volume(here / "set" / "volume.mrc")
    assert shell_correlation(volume, mrcfile.read(here / "relion.mrc"))[1:9].min() > 0.95


def test_mirrored_poses_would_not_reconstruct(here):
    """The test above can fail: a wrong hand of the angles decorrelates the truth."""
    simulate(here / "set", particles=20, with_ctf=False)
    table, clean = read(here / "set", "clean")
    volume, _ = read_volume(here / "set" / "volume.mrc")
    wrong = torch.tensor(table["particles"][POSES].to_numpy()) * torch.tensor([-1.0, -1.0, -1.0])
    images = take_projections(prepare_volume(torch.from_numpy(volume)), wrong).numpy()
    assert np.corrcoef(images.ravel(), clean.ravel())[0, 1] < 0.97
    other = take_projections(
        prepare_volume(torch.from_numpy(volume)), draw_orientations(20, np.random.default_rng(0))
    ).numpy()
    assert np.corrcoef(other.ravel(), clean.ravel())[0, 1] < 0.97
