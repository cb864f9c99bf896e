"""Columns of the STAR file that a set is written to: RELION's names and meanings, its optics groups."""

import numpy as np
import pytest

from polardenoise.tests import scipion_project  # noqa: F401  (sets the environment before pwem)

import pwem.objects as em  # isort: skip
from pwem.constants import ALIGN_2D, ALIGN_PROJ  # isort: skip

from polardenoise.convert.alignment import get_relion_alignment, make_projection_matrix
from polardenoise.convert.convert import write_particles_star
from polardenoise.convert.particle_columns import OBJECT_ID
from polardenoise.convert.star_loops import format_loop_header, format_row, read_loop
from polardenoise.tests.convert.convert_sets import copy_changed, make_set


@pytest.mark.parametrize("alignment", [ALIGN_PROJ, ALIGN_2D])
def test_columns_are_those_of_the_relion_plugin(stacks, alignment):
    convert = pytest.importorskip("relion.convert.convert31")
    particles = make_set(alignment=alignment)
    write_particles_star(particles, "ours.star", "converted")
    convert.Writer().writeSetOfParticles(particles, "theirs.star")
    ours = {row["rlnImageName"]: row for row in read_loop("ours.star", "particles")}
    theirs = {row["rlnImageName"]: row for row in read_loop("theirs.star", "particles")}
    assert ours.keys() == theirs.keys()
    for name, row in theirs.items():
        for label in set(row) & set(ours[name]) - {
            "rlnImageName",
            "rlnMicrographName",
            "rlnGroupName",
        }:
            assert float(ours[name][label]) == pytest.approx(float(row[label]), abs=2e-5), label
        assert ours[name]["rlnMicrographName"] == row["rlnMicrographName"]
    expected = {
        "rlnOriginXAngst",
        "rlnOriginYAngst",
        "rlnAnglePsi",
        "rlnDefocusU",
        "rlnRandomSubset",
    }
    assert expected <= set(next(iter(ours.values())))


def test_matrix_and_angles_are_inverse():
    for number in range(50):
        angles = np.random.default_rng(number).uniform([-180, 1, -180], [180, 179, 180])
        matrix = make_projection_matrix(*angles, 1.5, -2.5)
        x, y, *found = get_relion_alignment(matrix, ALIGN_PROJ, 2.0)
        assert (x, y) == pytest.approx((3.0, -5.0))
        np.testing.assert_allclose(
            make_projection_matrix(*found, 1.5, -2.5), matrix, atol=1e-9, err_msg=str(angles)
        )


def test_each_acquisition_makes_an_optics_group(stacks):
    def change_microscope(item, _):
        if item.getObjId() > 7:
            other = em.Acquisition(
                magnification=5000.0, voltage=300.0, sphericalAberration=2.7, amplitudeContrast=0.1
            )
            item.setAcquisition(other)

    joined = copy_changed(make_set(), "joined.sqlite", change_microscope)
    write_particles_star(joined, "joined.star", "converted")
    voltages = {
        row["rlnOpticsGroup"]: float(row["rlnVoltage"])
        for row in read_loop("joined.star", "optics")
    }
    assert list(voltages.values()) == [200, 300]
    found = [voltages[row["rlnOpticsGroup"]] for row in read_loop("joined.star", "particles")]
    assert found == [200, 200, 300, 300, 300]


def test_corrected_images_go_without_defocus(stacks):
    particles = make_set()
    particles.setIsPhaseFlipped(True)
    write_particles_star(particles, "flipped.star", "converted")
    assert next(read_loop("flipped.star", "optics"))["rlnCtfDataArePhaseFlipped"] == "1"
    particles.setIsAmplitudeCorrected(True)
    write_particles_star(particles, "corrected.star", "converted")
    assert "rlnDefocusU" not in next(read_loop("corrected.star", "particles"))
    assert "rlnCtfDataArePhaseFlipped" not in next(read_loop("corrected.star", "optics"))


def test_grouping_by_any_attribute(stacks):
    write_particles_star(make_set(), "particles.star", "converted", "_xmipp_zScore")
    for row in read_loop("particles.star", "particles"):
        assert float(row["polardenoise_xmipp_zScore"]) == int(row[OBJECT_ID]) / 8


def test_text_with_spaces_stays_one_token(folder):
    with open("x.star", "w") as file:
        file.write(
            format_loop_header("particles", ["rlnGroupName", "rlnRandomSubset", "rlnComment"])
        )
        file.write(format_row(["my group", 2, ""]))
    (row,) = read_loop("x.star", "particles")
    assert row == {"rlnGroupName": "my group", "rlnRandomSubset": "2", "rlnComment": "None"}
