"""Sets that once gave wrong results without a word: each comes out right, or says what is wrong with it."""

import re

import mrcfile
import numpy as np
import pytest

from polardenoise.engine.particles.particle_set import read_particles

pytestmark = pytest.mark.shared_data


def test_symmetry_expanded(run):
    """C4, D7: each image is denoised once."""
    case = run("symmetry_expanded")
    errors = [float(number) for number in re.findall(r"relative MSE ([0-9.]+) \(noisy", case.said)]
    assert len(errors) == 3
    assert errors[0] == pytest.approx(0.2366, abs=0.002)
    assert errors[1:] == [errors[0]] * 2
    sigmas = re.findall(r"contrast: .*", case.said)
    assert len(sigmas) == 3
    assert len(set(sigmas)) == 1


def test_duplicates_halves_drawn(run):
    assert run("duplicates_halves_drawn").code == 0
    halves = read_particles("out.star").random_subset
    assert np.array_equal(halves[::2], halves[1::2])
    assert np.bincount(halves)[1:].tolist() == [24, 24]


def test_helical_halves_drawn(run):
    """Read by label: the columns that the command of the case counts from the end are no longer the last."""
    assert run("helical_halves_drawn").code == 0
    out = read_particles("out.star")
    tubes = zip(out.column("rlnHelicalTubeID"), out.random_subset.tolist(), strict=True)
    assert sorted(tube for tube, _ in set(tubes)) == ["1", "2", "3"]  # each in one half
    assert set(out.random_subset) == {1, 2}


def test_rows_in_both_halves(run):
    case = run("rows_in_both_halves")
    assert case.code == 0
    assert "24 images stand in both halves" in " ".join(case.warnings())


def test_mixed_contrast(run):
    case = run("mixed_contrast")
    assert "contrast differs between the optics groups" in " ".join(case.warnings())
    assert "no more than pure noise" not in case.said


def test_bytes_of_any_sign(run):
    found = {}
    for name in ("mode0_unsigned", "mode0_imod_unsigned", "mode0_signed"):
        case = run(name)
        assert case.code == 0
        assert "protein bright" in case.said
        found[name] = mrcfile.read("out.mrcs").copy()
    assert np.array_equal(found["mode0_unsigned"], found["mode0_imod_unsigned"])
    alike = np.corrcoef(found["mode0_signed"].ravel(), found["mode0_unsigned"].ravel())[0, 1]
    assert alike > 0.99


def test_image_size_not_that_of_stack(run):
    case = run("image_size_not_that_of_stack")
    assert case.code == 2
    assert "rlnImageSize is 64, but the images of particles.mrcs are 32 px" in case.said


def test_two_pixel_sizes(run):
    case = run("two_pixel_sizes")
    assert "RC 0" in case.said
    assert "nothing finer than 8.00 A (12 particles of 4 A/px), 12.00 A (12" in case.said
    assert not re.search(r"\b(5|5\.0+|10\.0+) A", case.said)
    assert float(mrcfile.open("out.mrcs", header_only=True).voxel_size.x) in (4.0, 6.0)
    assert "pixel sizes differ" in " ".join(case.warnings())


def test_evaluate_other_order(run):
    case = run("evaluate_other_order")
    assert case.code == 2
    assert "24 particles: relative MSE 0.22" in case.said  # the same order
    assert "sorted.star, whose rows are in another order" in case.said


def test_one_pixel_3e38(run):
    case = run("one_pixel_3e38")
    assert case.code == 0
    assert "row 6 of particles.star" in " ".join(case.warnings())
    assert "nan" not in case.said
    assert "row 3" not in case.said
    assert np.isfinite(mrcfile.read("out.mrcs")).all()


def test_scipion_nan_attribute(run):
    case = run("scipion_nan_attribute")
    assert case.code == 0
    assert "rows: 8" in case.said


@pytest.mark.long
def test_scipion_phase_shift_null_first(run):
    case = run("scipion_phase_shift_null_first")
    assert case.code == 0
    assert "Particle 1 has no phase shift" in case.said
    assert "['90.000000', '90.000000', '90.000000', '90.000000']" in case.said
