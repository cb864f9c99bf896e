"""Attributes that some particles lack: what the engine needs of all is asked for, other gaps stop nothing."""

import os

import pytest

from polardenoise.tests import scipion_project  # noqa: F401  (sets the environment before pwem)

import pwem.objects as em  # isort: skip
from pyworkflow.object import Float, Integer, String  # isort: skip

from polardenoise.convert.convert import write_particles_star
from polardenoise.convert.particle_columns import OBJECT_ID, has_values
from polardenoise.convert.star_loops import read_loop
from polardenoise.tests.convert.convert_sets import LOCATIONS, copy_changed, make_set


def make_with(path="gaps.sqlite", **values):
    """Make a set of five whose attributes are given item by item; None is NULL in the file, and so is NaN."""

    def change(item, _):
        place = sorted(LOCATIONS).index(item.getObjId())
        for name, given in values.items():
            if name == "phase":
                item.getCTF().setPhaseShift(given[place])
            elif name == "defocus":
                item.getCTF()._defocusU.set(given[place])
            elif name == "x":
                item.getCoordinate()._x.set(given[place])
            else:
                (one, *_) = [value for value in given if value is not None]
                kind = {str: String, int: Integer, float: Float}[type(one)]
                setattr(item, name, kind(given[place]))

    copy_changed(make_set("whole.sqlite"), path, change).close()
    return em.SetOfParticles(filename=path)


def prepare(particles):
    particles.loadAllProperties()
    return particles


NAN = float("nan")


@pytest.mark.parametrize("gap", [0, 2, 4])
@pytest.mark.parametrize(
    ("name", "values", "what"),
    [
        ("phase", [90.0] * 5, "phase shift"),
        ("defocus", [15000.0] * 5, "defocus"),
        ("_rlnRandomSubset", [1, 2, 1, 2, 1], "random half"),
    ],
)
def test_what_the_engine_needs_of_all_is_asked_for_by_id(stacks, name, values, what, gap):
    """Whichever particle lacks it, the first or the last: the column is neither dropped nor made up."""
    values = [None if place == gap else value for place, value in enumerate(values)]
    number = sorted(LOCATIONS)[gap]
    particles = prepare(make_with(**{name: values}))
    with pytest.raises(ValueError, match=f"Particle {number} has no {what}, while others"):
        write_particles_star(particles, "particles.star", "converted")
    assert not os.path.exists("particles.star")
    assert not os.path.exists("particles.star.rows")


@pytest.mark.parametrize("gap", [0, 3])
def test_gaps_in_columns_that_nobody_needs_stop_nothing(stacks, gap):
    likely, names = [1.5] * 5, [f"group {k}" for k in range(5)]
    likely[gap] = NAN
    names[gap] = None
    particles = make_with(
        _rlnLogLikeliContribution=likely,
        _rlnGroupLabel=names,
        x=[5] * gap + [None] + [6] * (4 - gap),
    )
    assert write_particles_star(prepare(particles), "particles.star", "converted") == 5
    rows = list(read_loop("particles.star", "particles"))
    assert [row["rlnLogLikeliContribution"] for row in rows].count("nan") == 1
    assert rows[gap]["rlnLogLikeliContribution"] == "nan"
    assert rows[gap]["rlnGroupLabel"] == "None"
    assert rows[gap - 1]["rlnGroupLabel"] == f"group {(gap - 1) % 5}"
    assert rows[gap]["rlnCoordinateX"] == "nan"
    # and nothing else has moved
    assert [int(row[OBJECT_ID]) for row in rows] == sorted(LOCATIONS)
    assert [row["rlnRandomSubset"] for row in rows] == [str(n % 2 + 1) for n in sorted(LOCATIONS)]
    found = pytest.importorskip("polardenoise.engine.particles.particle_set").read_particles(
        "particles.star"
    )
    assert len(found) == 5


@pytest.mark.parametrize("shifts", [[None] * 5, [0.0] * 5, [None, 0.0, 0.0, 0.0, 0.0]])
def test_no_phase_plate_is_no_column(stacks, shifts):
    write_particles_star(prepare(make_with(phase=shifts)), "particles.star", "converted")
    assert "rlnPhaseShift" not in next(read_loop("particles.star", "particles"))


def test_values_are_found_wherever_they_are(stacks):
    particles = prepare(make_with(_rlnOther=[None, None, 1.0, None, 2.0]))
    assert has_values(particles, "_rlnOther")
    assert has_values(particles, "_rlnRandomSubset")
    assert not has_values(particles, "_rlnNothing")


def test_no_values_are_none(stacks):
    assert not has_values(prepare(make_with(_rlnOther=[NAN] * 5)), "_rlnOther")


def test_an_acquisition_that_lacks_a_number_is_named(stacks):
    """Left out with its column, amplitude contrast would be 0 for all."""

    def forget_contrast(item, _):
        if item.getObjId() > 7:
            item.setAcquisition(
                em.Acquisition(magnification=5000.0, voltage=300.0, sphericalAberration=2.7)
            )

    joined = copy_changed(make_set(), "joined.sqlite", forget_contrast)
    with pytest.raises(ValueError, match="Optics group 2 has no AmplitudeContrast, while others"):
        write_particles_star(joined, "joined.star", "converted")
