"""Columns that would be passed over without a word: other capitals, one defocus of two, no angle, one half."""

import numpy as np
import pytest

from polardenoise.engine.particles.half_sets import doubt_lone_half
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.set_checks import doubt_astigmatism, doubt_ctf
from tests.particles.set_texts import CTF, OPTICS, PARTICLES, SIZE, one_image, read_text, refusal


@pytest.mark.parametrize(
    ("known", "written"),
    [
        ("rlnRandomSubset", "rlnrandomsubset"),
        ("rlnDefocusU", "rlnDefocusu"),
        ("rlnImageName", "rlnImagename"),
        ("rlnOriginXAngst", "RlnOriginXAngst"),
        ("rlnVoltage", "rlnvoltage"),
        ("rlnOpticsGroup", "rlnOpticsgroup"),
    ],
)
def test_a_known_column_in_other_capitals_is_refused_with_its_cure(folder, known, written):
    text = (OPTICS + PARTICLES).replace(f"_{known} ", f"_{written} ")
    message = refusal(folder, text)
    assert f"set.star: column _{written} of table data_" in message
    assert f"rename it to _{known}" in message


def test_all_of_them_are_counted_and_the_first_named(folder):
    text = (OPTICS + PARTICLES).replace("_rlnDefocus", "_rlndefocus")
    message = refusal(folder, text)
    assert "_rlndefocusU" in message
    assert message.endswith("rename it to _rlnDefocusU (and 2 more such)")


def test_columns_nobody_knows_and_other_tables_may_have_any_capitals(folder):
    other = "\ndata_micrographs\n\nloop_\n_rlnMicrographname #1\nm.mrc\n"
    text = (OPTICS + PARTICLES).replace("_myNote", "_RLNNOTE")
    assert read_text(folder, text + other).has("RLNNOTE")


@pytest.mark.parametrize(
    ("given", "missing"), [("rlnDefocusU", "rlnDefocusV"), ("rlnDefocusV", "rlnDefocusU")]
)
def test_one_defocus_of_the_two_is_refused_with_its_cure(folder, given, missing):
    columns = [column for column in CTF if column[0] != missing]
    message = refusal(folder, one_image(*columns))
    assert f"has {given} but no {missing}; add this column" in message
    without = read_particles(folder / "set.star", ctf_state="none")
    assert without.ctf_state == "none"  # who has no CTF needs neither


def test_astigmatism_without_its_angle_is_said(folder):
    def doubts(*columns):
        return doubt_astigmatism(read_text(folder, one_image(*CTF[:-1], *columns)))

    assert doubts(("rlnDefocusV", "10000")) == []
    (doubt,) = doubts(("rlnDefocusV", "9000"))
    assert "there is no rlnDefocusAngle: 0 degrees were taken" in doubt
    assert doubts(("rlnDefocusV", "9000"), ("rlnDefocusAngle", "30")) == []
    assert doubt_astigmatism(read_text(folder, one_image(SIZE))) == []


@pytest.mark.parametrize(
    ("u", "v", "said"),
    [
        ("10000", "9200", None),
        ("-12000", "-11500", None),  # overfocus
        ("3000", "-800", None),
        ("60000", "58000", None),
        ("30000", "12000", "differ by more than 10000 A, as in 1 row of 1"),
        ("200000", "199000", "is further from 0 than 150000 A"),
        ("-200000", "-199000", "is further from 0 than 150000 A"),
        ("1.2", "1.1", "in micrometres, multiply them by 10000"),
        ("0", "0", None),
    ],
)
def test_defoci_that_no_fit_should_give_are_said(folder, u, v, said):
    columns = [("rlnDefocusU", u), ("rlnDefocusV", v), ("rlnDefocusAngle", "30")]
    others = [column for column in CTF if not column[0].startswith("rlnDefocus")]
    doubts = doubt_ctf(read_text(folder, one_image(*columns, *others)))
    if said is None:
        assert doubts == []
        return
    (doubt,) = doubts
    assert "set.star: row 1: " in doubt
    assert said in doubt


@pytest.mark.parametrize(("u", "v"), [("500000", "15000"), ("-90000", "90000")])
def test_astigmatism_that_no_microscope_has_is_refused(folder, u, v):
    columns = [("rlnDefocusU", u), ("rlnDefocusV", v), ("rlnDefocusAngle", "30")]
    others = [column for column in CTF if not column[0].startswith("rlnDefocus")]
    text = one_image(*columns, *others)
    message = refusal(folder, text)
    assert "set.star: row 1: rlnDefocusU and rlnDefocusV differ by more than 100000 A" in message
    assert "correct the one that is wrong" in message
    assert read_particles(folder / "set.star", ctf_state="none").ctf_state == "none"


def test_particles_of_one_half_alone_are_said():
    (doubt,) = doubt_lone_half(np.full(5, 2))
    assert "all particles are in half 2 (rlnRandomSubset)" in doubt
    assert doubt_lone_half(np.array([1, 2, 2])) == []
    assert doubt_lone_half(np.array([1])) == []
