"""The study of real particles: the measure on stand-ins, its sets, and what is committed of the real ones."""

import csv
from itertools import pairwise

import numpy as np
import pytest
import torch

from benchmarks.common.command import run
from benchmarks.real.baselines import MEAN, RADIAL, RAW, list_baselines
from benchmarks.real.denoised_sets import denoise_once
from benchmarks.real.limits import (
    LIMITS,
    average_true_neighbours,
    average_turns,
    draw_balls,
    find_centres,
    know_particles,
)
from benchmarks.real.pictures import MARGIN, choose_one_of_each, draw_gallery
from benchmarks.real.score import DISK, score_images
from benchmarks.real.semi_synthetic import (
    add_noise,
    project_molecule,
    put_into_halves,
    spread_boxes,
)
from benchmarks.real.sets import find_empty_boxes, read_boxes, read_set
from benchmarks.real.tables import list_shells
from benchmarks.studies import real
from polardenoise.engine.imaging.ctf import apply_ctf, compute_ctf
from polardenoise.engine.imaging.disk import disk_mask
from polardenoise.engine.imaging.fourier import shift_images
from polardenoise.engine.imaging.rings import apply_radial_filter
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.runtime.errors import InputError
from tests.particle_files import ctf_parameters, draw_ctf, lumps, write_particle_files
from tests.places import BENCHMARKS, REPOSITORY
from tests.reference_projections import project_volume

BOX, COUNT = 64, 24
MICROGRAPHS = ["a.mrc"] * 8 + ["b.mrc"] * 16
RESULTS, PICTURES = BENCHMARKS / "results", REPOSITORY / "docs" / "pictures"


@pytest.fixture(scope="module")
def truth():
    """Project a map without symmetry: `(COUNT, BOX, BOX)`."""
    turns = np.random.default_rng(3).uniform(0, 180, (COUNT, 3))
    return project_volume(lumps(BOX, width=2.5), torch.from_numpy(turns))


@pytest.fixture(scope="module")
def noise():
    return torch.from_numpy(np.random.default_rng(4).standard_normal((COUNT, BOX, BOX))).float()


def add_to(truth, noise, snr):
    """Add noise at a ratio of the powers on the disk, the truth's means out."""
    mask = disk_mask(BOX, DISK)
    signal = truth[:, mask] - truth[:, mask].mean(1, keepdim=True)
    return truth + noise * signal.square().mean().div(snr).sqrt()


def test_units_means_and_what_lies_outside_the_disk_change_nothing(truth, noise):
    noisy = add_to(truth, noise, 1.0)
    score = score_images(noisy, truth, MICROGRAPHS)
    background = torch.linspace(-50, 80, COUNT)[:, None, None]
    other = score_images(-3.5 * noisy + background, truth - 2 * background, MICROGRAPHS)
    assert other.relative_mse == pytest.approx(score.relative_mse, rel=1e-4)
    assert other.scale == pytest.approx(score.scale / -3.5, rel=1e-4)
    spoilt = torch.where(disk_mask(BOX, DISK), noisy, 100 * noise)
    assert score_images(spoilt, truth, MICROGRAPHS).relative_mse == score.relative_mse
    inside = noisy.clone()
    inside[:, BOX // 2, BOX // 2 + int(DISK)] += 40
    assert score_images(inside, truth, MICROGRAPHS).relative_mse > 1.05 * score.relative_mse


@pytest.mark.parametrize("snr", [0.25, 4.0])
def test_the_error_is_what_wiener_says(truth, noise, snr):
    # The best scale of signal + noise is S / (S + N), which leaves N / (S + N).
    error = score_images(add_to(truth, noise, snr), truth, MICROGRAPHS).relative_mse
    assert error == pytest.approx(1 / (1 + snr), rel=0.03)
    assert score_images(truth, truth, MICROGRAPHS).relative_mse == pytest.approx(0, abs=1e-12)
    assert score_images(torch.zeros_like(truth), truth, MICROGRAPHS).relative_mse == 1


def test_scale_is_the_sets_and_no_images_own(truth):
    strengths = torch.where(torch.arange(COUNT) < 8, 1.0, 3.0)[:, None, None]
    score = score_images(strengths * truth, truth, MICROGRAPHS)
    assert score.relative_mse > 0.05
    by_one = {
        name: score_images(truth[rows], truth[rows], ["x"] * len(truth[rows])).relative_mse
        for name, rows in (("a.mrc", slice(8)), ("b.mrc", slice(8, None)))
    }
    assert max(by_one.values()) < 1e-9
    assert min(score.by_micrograph.values()) > 0.002


def test_micrographs_have_their_own_errors_and_make_up_the_whole(truth, noise):
    noisy = torch.cat([add_to(truth[:8], noise[:8], 4.0), add_to(truth[8:], noise[8:], 0.5)])
    score = score_images(noisy, truth, MICROGRAPHS)
    quiet, loud = (score.by_micrograph[name] for name in ("a.mrc", "b.mrc"))
    assert quiet < 0.6 * loud
    assert score.measure_spread() == pytest.approx((loud - quiet) / 2**0.5)
    mask = disk_mask(BOX, DISK)
    powers = (truth[:, mask] - truth[:, mask].mean(1, keepdim=True)).square().sum(1)
    whole = (quiet * powers[:8].sum() + loud * powers[8:].sum()) / powers.sum()
    assert float(whole) == pytest.approx(score.relative_mse, rel=1e-5)
    assert np.isnan(score_images(noisy, truth, ["one"] * COUNT).measure_spread())


def test_rings_correlate_where_the_truth_is(truth, noise):
    edge = torch.where(torch.arange(46) < 12, 1.0, 0.0)
    strong = 3 * noise * truth.std()
    mixed = apply_radial_filter(truth, edge) + apply_radial_filter(strong, 1 - edge)
    score = score_images(mixed, truth, MICROGRAPHS)
    assert score.correlate_rings(1, 9) > 0.99
    assert abs(score.correlate_rings(16, 32)) < 0.1
    nothing = score_images(torch.zeros_like(truth), truth, MICROGRAPHS)
    assert nothing.correlate_rings(1, 9) == 0


def test_shells_lie_next_to_one_another_up_to_nyquist():
    shells = list_shells(64, 3.0)
    assert shells[0][:2] == ("192 to 48.0 A", 1)
    assert all(one[2] == other[1] for one, other in pairwise(shells))
    assert shells[-1][2] == 26  # 7.5 A: ring 25.6
    assert list_shells(64, 5.0)[-1][2] == 32


def test_the_radial_filter_is_told_the_truth_and_the_mean_is_one_image(truth, noise):
    estimates = list_baselines(add_to(truth, noise, 0.25), truth)
    errors = {
        name: score_images(images, truth, MICROGRAPHS).relative_mse
        for name, images in estimates.items()
    }
    assert errors[RADIAL] < 0.75 * errors[RAW]
    assert (estimates[MEAN] == estimates[MEAN][0]).all()


def test_a_ball_is_round_and_lies_where_the_particles_do():
    offset = torch.arange(BOX) - BOX // 2
    centre = torch.tensor([[2.5, -1.25], [0.0, 3.0], [-2.0, -2.5]])
    balls = torch.exp(
        -((offset - centre[:, :1, None]) ** 2 + (offset[:, None] - centre[:, 1:, None]) ** 2) / 50
    )
    assert torch.allclose(find_centres(balls), centre, atol=0.05)
    round_one = average_turns(balls[0])[1:, 1:]  # its centre is the middle one of 63 pixels
    assert torch.allclose(round_one, round_one.rot90(), atol=1e-6)
    assert not torch.allclose(balls[0, 1:, 1:], round_one, atol=0.1)
    ctf = ctf_parameters(draw_ctf(3))
    seen = apply_ctf(balls, compute_ctf(ctf, 3.0, BOX))
    drawn = draw_balls(seen, know_particles(seen, ctf, 3.0))
    assert score_images(drawn, seen, MICROGRAPHS[:3]).relative_mse < 0.02


def test_true_neighbours_know_views_and_centres_and_a_ball_does_not(noise):
    # Views repeat ten times within a half, turned, and moved off the centre.
    generator = np.random.default_rng(5)
    views = generator.uniform(0, 180, (4, 3)).repeat(30, 0)
    views[:, 2] = generator.uniform(0, 360, len(views))
    clean = project_volume(lumps(BOX, width=2.5), torch.from_numpy(views))
    places = torch.from_numpy(generator.uniform(-2, 2, (len(views), 2))).float()
    ctf = ctf_parameters(draw_ctf(len(views)))
    truth = apply_ctf(shift_images(clean, places), compute_ctf(ctf, 3.0, BOX))
    noisy = add_to(truth, noise.repeat(5, 1, 1)[torch.from_numpy(generator.permutation(120))], 1.0)
    names = ["a.mrc"] * len(views)
    known = know_particles(truth, ctf, 3.0, count=10)
    ball = score_images(draw_balls(truth, known), truth, names).relative_mse
    averages = average_true_neighbours(noisy, known)
    assert score_images(averages, truth, names).relative_mse < 0.5 * ball


def test_semi_synthetic_particles_have_their_snr_and_neighbours_beside_them(tmp_path, noise):
    like = write_particle_files(tmp_path / "like.star", noise[:3], 3.0, draw_ctf(3))
    molecule = project_molecule("phantom:10001", like, COUNT, tmp_path / "set")
    assert molecule.pixel_size == 3
    # Protein is dark, as recorded.
    assert molecule.particles.mean((1, 2)).abs().max() < molecule.particles.std()
    assert float((molecule.particles**3).sum()) < 0
    central = disk_mask(BOX, 10.0)
    assert molecule.neighbours[:, central].square().mean() < (
        0.05 * molecule.particles[:, central].square().mean()
    )
    assert molecule.neighbours.square().mean() > 0.01 * molecule.particles.square().mean()
    noisy, clean = add_noise(
        molecule.particles, molecule.particles + molecule.neighbours, noise, 0.25
    )
    neighbourless = noisy - clean - noise
    mask = disk_mask(BOX, DISK)
    ratio = (clean[:, mask] - clean[:, mask].mean(1, keepdim=True)).square().mean() / noise[
        :, mask
    ].square().mean()
    assert float(ratio) == pytest.approx(0.25, rel=0.02)
    assert float(neighbourless.std()) > 0


def test_a_box_and_its_mirror_image_are_in_different_halves(tmp_path):
    run("simulate", "phantom:7", "-o", str(tmp_path), "--particles", "10", "--box", "32")
    put_into_halves(tmp_path / "particles.star", 5)
    found = read_particles(tmp_path / "particles.star")
    assert found.random_subset.tolist() == [1] * 5 + [2] * 5


def test_an_empty_box_comes_once_as_it_is_and_once_mirrored(noise):
    boxes = spread_boxes(noise[:5] + 7)
    assert boxes.shape == (10, BOX, BOX)
    torch.testing.assert_close(boxes[5:].flip(-1), boxes[:5])
    assert boxes.mean((1, 2)).abs().max() < 1e-5
    for turn in range(4):
        turned = boxes[5:].rot90(turn, (1, 2))
        assert (turned * boxes[:5]).mean().abs() < 0.05


def test_a_gallery_shows_pixels_and_chooses_without_looking(tmp_path, truth):
    assert choose_one_of_each(MICROGRAPHS, 8) == [4, 16]
    assert choose_one_of_each(["one"] * 80, 8) == [5, 15, 25, 35, 45, 55, 65, 75]
    path = tmp_path / "gallery.png"
    draw_gallery(path, {"raw": truth[:2], "twice": 2 * truth[:2]}, "a note")
    from matplotlib.image import imread

    page = imread(path)
    one, other = (page[top : top + 128, MARGIN : MARGIN + 128] for top in (0, 132))
    np.testing.assert_allclose(one, other, atol=1 / 255)
    np.testing.assert_array_equal(one[::2, ::2], one[1::2, 1::2])
    lit = np.unravel_index(int(truth[0].argmax()), (BOX, BOX))
    assert one[126 - 2 * lit[0], 2 * lit[1]] == 1  # the first row is the lowest


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory, truth, noise):
    """Write sets as the real ones are: three noises and a truth, two micrographs, protein dark."""
    folder = tmp_path_factory.mktemp("apoferritin")
    columns = {**draw_ctf(COUNT), "rlnMicrographName": MICROGRAPHS}
    for name, snr in (("rest", 0.25), ("low", 0.05), ("frame", 0.006)):
        write_particle_files(
            folder / f"{name}.star", -add_to(truth, noise, snr), 3.0, dict(columns)
        )
    write_particle_files(folder / "truth.star", -truth, 3.0, dict(columns))
    return folder


def read_table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_study_measures_sets_that_are_given_and_keeps_what_it_denoised(
    stand_in, tmp_path, monkeypatch
):
    words = [
        "apoferritin",
        "overview",
        "beta-galactosidase",
        "-o",
        str(tmp_path),
        "--work",
        str(tmp_path / "w"),
    ]
    words += ["--apoferritin", str(stand_in), "--models", "DnCNN=base-dncnn"]
    words += ["--beta-galactosidase", str(stand_in / "rest.star")]
    real.main(words)
    table = read_table(tmp_path / "real.csv")
    assert [row["method"] for row in table] == [
        RAW,
        MEAN,
        RADIAL,
        "DnCNN",
    ]
    assert [row["method"] for row in read_table(tmp_path / "real_limits.csv")] == list(LIMITS)
    raw = [float(table[0][name].split()[0]) for name in ("SNR 0.25", "SNR 0.05", "single frames")]
    assert raw == pytest.approx([1 / 1.25, 1 / 1.05, 1 / 1.006], abs=0.03)
    micrographs = read_table(tmp_path / "real_micrographs.csv")
    assert [row["micrograph"] for row in micrographs] == ["a.mrc", "b.mrc"] * 3
    for row in read_table(tmp_path / "real_spread.csv"):
        assert float(row["least"]) <= float(row["relative MSE"]) <= float(row["most"])
    shells = read_table(tmp_path / "real_shells.csv")
    assert float(shells[0][RAW]) > float(shells[-1][RAW])
    assert (tmp_path / "apoferritin.png").is_file()
    assert (tmp_path / "beta_galactosidase.png").is_file()
    assert (tmp_path / "overview.png").is_file()
    assert str(tmp_path) not in (tmp_path / "real.json").read_text()
    monkeypatch.setattr("benchmarks.real.denoised_sets.run", lambda *_: pytest.fail("again"))
    denoise_once(stand_in / "rest.star", "base-dncnn", tmp_path / "w")


def test_sets_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(InputError, match="not there"):
        real.main(["apoferritin", "-o", str(tmp_path / "o"), "--apoferritin", str(tmp_path)])
    with pytest.raises(InputError, match="ribosome: no part"):
        real.main(["ribosome", "-o", str(tmp_path / "o")])


def test_raw_and_filtered_real_particles_are_as_far_off_as_their_list_says(shared_data):
    folder = shared_data / "particles" / "real" / "apoferritin_empiar10146"
    known = read_set(folder / "truth.star")
    assert len(set(known.micrographs)) == 10
    for name, stated in (("rest", 0.51), ("low", 0.69), ("frame", 0.94)):
        filtered = list_baselines(read_set(folder / f"{name}.star").images, known.images)[RADIAL]
        error = score_images(filtered, known.images, known.micrographs).relative_mse
        assert error == pytest.approx(stated, abs=0.015)


def test_real_empty_boxes_are_read(shared_data):
    boxes = read_boxes(find_empty_boxes())
    assert boxes.shape == (216, 64, 64)
    assert boxes.isfinite().all()


def test_the_readme_opens_its_results_with_the_committed_table_and_picture():
    text = (REPOSITORY / "README.rst").read_text()
    results = text[text.index("How well it does\n") :]
    table = (RESULTS / "real.rst").read_text()
    assert table in results
    assert results.index(table) == results.index(".. list-table::")
    assert text.index(".. image:: docs/pictures/overview.png") < text.index("Two commands")
    assert text.count(".. list-table::") == 1  # the others are in docs
    assert len(text.splitlines()) <= 120
    assert "python -m benchmarks real -o benchmarks/results --pictures docs/pictures" in results
    assert len(read_table(RESULTS / "real.csv")) <= 5
    for picture in PICTURES.glob("*.png"):
        assert picture.stat().st_size < 400_000


def test_on_real_particles_joint_denoising_is_well_ahead():
    errors = {
        (row["set"], row["method"]): float(row["relative MSE"])
        for row in read_table(RESULTS / "real_spread.csv")
    }
    for noise in ("SNR 0.25", "SNR 0.05"):
        assert errors[noise, "base"] < 0.65 * errors[noise, "DnCNN"]
        assert errors[noise, "base"] < 0.75 * errors[noise, RADIAL]
