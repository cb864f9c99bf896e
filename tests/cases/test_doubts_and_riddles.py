"""Cases in which an option or a column came too late, or a message named the wrong thing."""

import pytest
import starfile

from polardenoise.engine.particles.particle_set import read_particles

pytestmark = pytest.mark.shared_data


@pytest.mark.parametrize("name", ["no_voltage_state_none", "zero_ctf_state_none"])
def test_no_ctf_as_the_user_has_said(run, name):
    assert run(name).code == 0
    assert read_particles("out.star").ctf_state == "none"


@pytest.mark.parametrize(
    ("name", "label", "token"),
    [("nan_angle", "rlnAngleRot", "nan"), ("magnification_inf", "rlnMagnification", "inf")],
)
def test_a_token_that_nobody_uses_passes_through(run, name, label, token):
    case = run(name)
    assert case.code == 0
    before, after = (
        read_particles(case.folder / one).column(label) for one in ("particles.star", "out.star")
    )
    assert token in [one.lower().strip("+-") for one in after]
    assert after == before


def test_prior_none_working_box(run):
    assert run("prior_none_working_box").code == 0
    particles = read_particles("out.star")
    labels = [label for label in particles.table.labels if "Prior" in label]
    assert any("None" in particles.table.column(label) for label in labels)


def test_one_row_block_no_newline(run):
    case = run("one_row_block_no_newline")
    assert "RC 0" in case.said
    assert len(read_particles("out.star")) == len(read_particles("particles.star"))
    blocks = starfile.read("out.star", always_dict=True)
    assert len(blocks) == len(starfile.read("particles.star", always_dict=True))


def test_two_tables(run):
    case = run("two_tables")
    assert case.code == 2
    assert "2 tables are called data_particles; join them into one" in case.said
    assert "call it" not in case.said


def test_three_blank(run):
    case = run("three_blank")
    assert case.code == 2
    assert "3 images are blank" in case.said
    assert "(rows 4, 8, 10)" in case.said
