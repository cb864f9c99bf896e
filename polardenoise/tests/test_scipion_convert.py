"""A set of particles through the engine's files and back: every attribute, and the pixels where they lie."""

import os

import mrcfile
import numpy as np
import pytest
import tifffile

from polardenoise.tests import scipion_project  # noqa: F401  (sets the environment before pwem)

import pwem.objects as em  # isort: skip
from pwem.constants import ALIGN_2D, ALIGN_NONE, ALIGN_PROJ, NO_INDEX  # isort: skip
from pwem.convert.transformations import euler_matrix  # isort: skip
from pwem.emlib.image import ImageHandler  # isort: skip
from pyworkflow.object import Float, Integer, String  # isort: skip

from polardenoise.convert.alignment import get_relion_alignment, make_projection_matrix
from polardenoise.convert.chunks import iter_chunk, list_enabled_ids
from polardenoise.convert.convert import iter_enabled, read_denoised_rows, write_particles_star
from polardenoise.convert.denoised_set import PixelsReplaced, add_denoised_chunk, open_denoised_set
from polardenoise.convert.import_particles import fill_particle_set
from polardenoise.convert.particle_columns import OBJECT_ID, has_values
from polardenoise.convert.stacks import convert_stack
from polardenoise.convert.star_loops import format_loop_header, format_row, read_loop

BOX = 16
PIXEL_SIZE = 1.7
# Ids with holes, stacks out of order, images not from 1: as a subset of a union has them.
LOCATIONS = {
    3: (4, "b.mrcs"),
    7: (1, "a.mrcs"),
    8: (2, "b.mrcs"),
    40: (3, "a.mrcs"),
    41: (5, "b.mrcs"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stacks(folder):
    pixels = {}
    for name in ("a.mrcs", "b.mrcs"):
        pixels[name] = np.random.default_rng(len(pixels)).normal(size=(6, BOX, BOX)).astype("f4")
        with mrcfile.new(name, overwrite=True) as file:
            file.set_data(pixels[name])
            file.set_image_stack()
            file.voxel_size = PIXEL_SIZE
    return pixels


def make_matrix(number, alignment):
    angles = np.random.default_rng(number).uniform(-180, 180, 3) * [1, 0.5, 1]
    if alignment == ALIGN_PROJ:
        return make_projection_matrix(*angles, 2.5 - number / 10, -1.25)
    matrix = euler_matrix(np.deg2rad(angles[0]), 0, 0, "szyz")
    matrix[:2, 3] = 2.5 - number / 10, -1.25
    return matrix


def make_set(path="particles.sqlite", alignment=ALIGN_PROJ, with_ctf=True, locations=LOCATIONS):
    particles = em.SetOfParticles(filename=path)
    particles.setSamplingRate(PIXEL_SIZE)
    acquisition = em.Acquisition(
        magnification=10000.0, voltage=200.0, sphericalAberration=2.26, amplitudeContrast=0.07
    )
    particles.setAcquisition(acquisition)
    particles.setHasCTF(with_ctf)
    particles.setAlignment(alignment)
    for number, location in locations.items():
        particle = em.Particle()
        particle.setObjId(number)
        particle.setLocation(location)
        if with_ctf:
            ctf = em.CTFModel()
            ctf.setStandardDefocus(15000.0 + number, 14500.0 - number, 30.5 + number)
            ctf.setPhaseShift(float(number))
            ctf.setResolution(3.5)
            ctf.setPsdFile(f"psd_{number}.mrc")
            particle.setCTF(ctf)
        if alignment != ALIGN_NONE:
            particle.setTransform(em.Transform(make_matrix(number, alignment)))
        coordinate = em.Coordinate(x=10 * number, y=20 * number)
        coordinate.setMicId(100 + number)
        coordinate.setMicName(f"mic {number}.mrc")
        particle.setCoordinate(coordinate)
        particle.setMicId(100 + number)
        particle.setClassId(number % 3 + 1)
        particle._rlnRandomSubset = Integer(number % 2 + 1)
        particle._rlnGroupName = String(f"group_{number}")
        particle._rlnCtfBfactor = Float(number / 4)
        particle._xmipp_zScore = Float(number / 8)
        particles.append(particle)
    particles.write()
    return particles


def answer(star, name="denoised", subset=None):
    """Play the engine: new pixels in the order of the rows, the same STAR with other image names."""
    rows = list(read_loop(star, "particles"))
    images = np.stack([np.full((BOX, BOX), float(row[OBJECT_ID]), "f4") for row in rows])
    with mrcfile.new(f"{name}.mrcs", overwrite=True) as file:
        file.set_data(images)
        file.set_image_stack()
    labels = list(rows[0]) + (["rlnRandomSubset"] if subset else [])
    with open(f"{name}.star", "w") as file:
        file.write(format_loop_header("particles", labels))
        for number, row in enumerate(rows, 1):
            row["rlnImageName"] = f"{number:06d}@{name}.mrcs"
            if subset:
                row["rlnRandomSubset"] = str(subset[number - 1])
            file.write(format_row([row[label] for label in labels]))
    return read_denoised_rows(f"{name}.star")


def read_all(particles):
    """Every attribute of every item, as text, by id."""
    return {item.getObjId(): dict(item.getObjDict()) for item in particles.iterItems()}


def read_pixels(location):
    with mrcfile.open(location[1]) as file:
        return file.data[location[0] - 1].copy()


def make_denoised(particles, rows, corrected=False, path="denoised.sqlite", **changes):
    """Make the output set of one chunk, all enabled particles, as the protocol does."""
    denoised = open_denoised_set(
        path, particles, lambda: em.SetOfParticles(filename=path), corrected, **changes
    )
    replace = PixelsReplaced(rows, "base", **changes)
    add_denoised_chunk(denoised, particles, list_enabled_ids(particles), replace)
    return denoised


@pytest.mark.parametrize("alignment", [ALIGN_PROJ, ALIGN_2D, ALIGN_NONE])
@pytest.mark.parametrize("with_ctf", [True, False])
def test_everything_but_the_location_survives(stacks, alignment, with_ctf):
    particles = make_set(alignment=alignment, with_ctf=with_ctf)
    assert write_particles_star(particles, "particles.star", "converted") == len(LOCATIONS)
    rows = answer("particles.star")
    denoised = make_denoised(particles, rows)
    denoised.write()

    before = read_all(particles)
    after = read_all(em.SetOfParticles(filename="denoised.sqlite"))
    assert list(before) == list(after) == sorted(LOCATIONS)
    for number, attributes in before.items():
        own = after[number]
        assert own.pop("_polardenoiseModel") == "base"
        # Scipion may write a number that it read back in another way (1 and 1.0).
        changed = {
            name
            for name in set(attributes) | set(own)
            if attributes.get(name) != own.get(name)
            and str(attributes.get(name)) != str(own.get(name))
        }
        assert changed - {"_index"} == {"_filename"}
    for item in denoised.iterItems():
        assert (read_pixels(item.getLocation()) == item.getObjId()).all()
    for get in (
        "getSamplingRate",
        "getAlignment",
        "isPhaseFlipped",
        "isAmplitudeCorrected",
        "hasCTF",
    ):
        assert getattr(particles, get)() == getattr(denoised, get)(), get
    assert denoised.getAcquisition().equalAttributes(particles.getAcquisition())


def test_rows_point_into_the_stacks_where_they_lie(stacks):
    write_particles_star(make_set(), "particles.star", "converted")
    rows = {int(row[OBJECT_ID]): row for row in read_loop("particles.star", "particles")}
    for number, (index, name) in LOCATIONS.items():
        assert rows[number]["rlnImageName"] == f"{index:06d}@{name}"
        assert rows[number]["rlnRandomSubset"] == str(number % 2 + 1)
        assert rows[number]["rlnClassNumber"] == str(number % 3 + 1)
        assert rows[number]["rlnGroupName"] == f"group_{number}"
        assert float(rows[number]["rlnCoordinateX"]) == 10 * number
    assert not os.path.exists("converted")
    assert not os.path.exists("particles.star.rows")
    optics = list(read_loop("particles.star", "optics"))
    assert len(optics) == 1
    assert float(optics[0]["rlnVoltage"]) == 200
    assert float(optics[0]["rlnImagePixelSize"]) == PIXEL_SIZE


def test_the_engine_reads_what_scipion_wrote(stacks):
    read_particles = pytest.importorskip(
        "polardenoise.engine.particles.particle_set"
    ).read_particles
    from polardenoise.engine.particles.particle_set import read_images

    particles = make_set()
    write_particles_star(particles, "particles.star", "converted")
    found = read_particles("particles.star")
    assert (found.box, found.ctf_state, len(found)) == (BOX, "raw", len(LOCATIONS))
    np.testing.assert_allclose(found.pixel_size, PIXEL_SIZE)
    numbers = sorted(LOCATIONS)
    images = read_images(found, np.arange(len(numbers)))
    for row, number in enumerate(numbers):
        index, name = LOCATIONS[number]
        np.testing.assert_array_equal(images[row], stacks[name][index - 1])
        assert found.ctf.defocus_u[row] == 15000 + number
        assert found.ctf.phase_shift[row] == number
        matrix = make_projection_matrix(*found.angles[row], *(found.origins[row] / PIXEL_SIZE))
        np.testing.assert_allclose(matrix, make_matrix(number, ALIGN_PROJ), atol=1e-5)


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


def test_disabled_items_stay_out(stacks):
    particles = make_set()
    particle = particles[8].clone()
    particle.setEnabled(False)
    particles.update(particle)
    particles.write()
    assert [item.getObjId() for item in iter_enabled(particles)] == [3, 7, 40, 41]
    assert write_particles_star(particles, "particles.star", "converted") == 4
    denoised = make_denoised(particles, answer("particles.star"))
    assert sorted(item.getObjId() for item in denoised.iterItems()) == [3, 7, 40, 41]


def test_drawn_halves_travel_on(stacks):
    particles = make_set()
    bare = em.SetOfParticles(filename="bare.sqlite")
    bare.copyInfo(particles)
    bare.copyItems(particles, updateItemCallback=lambda item, _: delattr(item, "_rlnRandomSubset"))
    bare.write()
    write_particles_star(bare, "bare.star", "converted")
    rows = answer("bare.star", subset=[2, 1, 1, 2, 1])
    denoised = make_denoised(bare, rows, corrected=True)
    assert [item._rlnRandomSubset.get() for item in denoised.iterItems()] == [2, 1, 1, 2, 1]
    assert denoised.isPhaseFlipped()
    assert denoised.isAmplitudeCorrected()


def test_an_answer_that_misses_a_particle_is_refused(stacks):
    particles = make_set()
    write_particles_star(particles, "particles.star", "converted")
    rows = answer("particles.star")
    missing = dict(rows)
    del missing[40]
    with pytest.raises(ValueError, match="4 images for 5"):
        make_denoised(particles, missing)
    missing[99] = rows[40]
    with pytest.raises(ValueError, match="40 is missing"):
        make_denoised(particles, missing, path="other.sqlite")


def test_chunks_of_any_ids_are_added_once(stacks):
    """Neither a hole in the ids nor a step that runs twice loses or doubles a particle."""
    particles = make_set()
    write_particles_star(particles, "particles.star", "converted")
    rows = answer("particles.star")
    ids = list_enabled_ids(particles)
    assert ids.tolist() == sorted(LOCATIONS)
    parts = [ids[[0, 3]], ids[[1, 2, 4]]]
    for part in [parts[1], parts[0], parts[0], parts[1]]:
        denoised = open_denoised_set(
            "grown.sqlite", particles, lambda: em.SetOfParticles(filename="grown.sqlite"), False
        )
        replace = PixelsReplaced({number: rows[number] for number in part.tolist()}, "base")
        add_denoised_chunk(denoised, particles, part, replace)
        denoised.write()
        denoised.close()
    grown = em.SetOfParticles(filename="grown.sqlite")
    assert [item.getObjId() for item in grown.iterItems()] == sorted(LOCATIONS)
    assert [item.getObjId() for item in iter_chunk(particles, ids[[0, 3]])] == [3, 40]
    with pytest.raises(ValueError, match="1 of the chunk's 2 particles"):
        list(iter_chunk(particles, np.array([3, 4])))


def test_another_pixel_size_scales_what_is_counted_in_pixels(stacks):
    particles = make_set()
    write_particles_star(particles, "particles.star", "converted")
    before = {item.getObjId(): item.clone() for item in particles.iterItems()}
    denoised = make_denoised(particles, answer("particles.star"), pixel_size=2 * PIXEL_SIZE)
    assert denoised.getSamplingRate() == 2 * PIXEL_SIZE
    for item in denoised.iterItems():
        old = before[item.getObjId()]
        assert item.getSamplingRate() == 2 * PIXEL_SIZE
        shifts, old_shifts = (one.getTransform().getMatrix()[:3, 3] for one in (item, old))
        np.testing.assert_allclose(shifts, old_shifts / 2)
        np.testing.assert_allclose(
            item.getCoordinate().getPosition(),
            np.array(old.getCoordinate().getPosition()) / 2,
            atol=1,
        )


@pytest.mark.parametrize("extension", ["stk", "tif", "spi"])
def test_other_formats_are_converted(folder, extension):
    pixels = np.random.default_rng(5).normal(size=(3, BOX, BOX)).astype("f4")
    handler = ImageHandler()
    image = handler.createImage()
    name = f"images.{extension}"
    if extension == "tif":
        tifffile.imwrite(name, pixels, photometric="minisblack")
    else:
        for index in range(3):
            image.setData(pixels[index])
            image.write((index + 1, name))
    particles = make_set(locations={2: (3, name), 5: (1, name)})
    write_particles_star(particles, "particles.star", "converted")
    for row, index in zip(read_loop("particles.star", "particles"), (2, 0)):
        number, path = row["rlnImageName"].split("@")
        assert path.startswith("converted/")
        np.testing.assert_allclose(read_pixels((int(number), path)), pixels[index], rtol=1e-6)
    convert_stack(name, "again.mrcs", 2.5)
    with mrcfile.open("again.mrcs") as file:
        assert file.voxel_size.x == 2.5
        assert file.is_image_stack()


def test_single_images_and_names_with_spaces(folder):
    pixels = np.random.default_rng(6).normal(size=(BOX, BOX)).astype("f4")
    os.mkdir("my data")
    with mrcfile.new("my data/one.mrc") as file:
        file.set_data(pixels)
    particles = make_set(locations={1: (NO_INDEX, "my data/one.mrc")})
    write_particles_star(particles, "particles.star", "converted")
    (row,) = read_loop("particles.star", "particles")
    index, path = row["rlnImageName"].split("@")
    assert int(index) == 1
    assert os.path.samefile(path, "my data/one.mrc")


def test_each_acquisition_makes_an_optics_group(stacks):
    particles = make_set()
    joined = em.SetOfParticles(filename="joined.sqlite")
    joined.copyInfo(particles)

    def change_microscope(item, _):
        if item.getObjId() > 7:
            other = em.Acquisition(
                magnification=5000.0, voltage=300.0, sphericalAberration=2.7, amplitudeContrast=0.1
            )
            item.setAcquisition(other)

    joined.copyItems(particles, updateItemCallback=change_microscope)
    joined.write()
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


def test_a_set_of_the_engine_becomes_a_scipion_set(stacks):
    write_particles_star(make_set(), "particles.star", "converted")
    made = em.SetOfParticles(filename="made.sqlite")
    fill_particle_set(made, "particles.star")
    original = {item.getObjId(): item.clone() for item in make_set("again.sqlite").iterItems()}
    assert made.getSamplingRate() == PIXEL_SIZE
    assert made.getAcquisition().getVoltage() == 200
    assert made.hasCTF()
    assert made.hasAlignmentProj()
    for item, number in zip(made.iterItems(), sorted(LOCATIONS)):
        twin = original[number]
        assert item.getLocation() == twin.getLocation()
        assert item.getClassId() == twin.getClassId()
        assert item._rlnRandomSubset.get() == twin._rlnRandomSubset.get()
        assert item.getCTF().getDefocus() == pytest.approx(twin.getCTF().getDefocus(), abs=1e-4)
        np.testing.assert_allclose(
            item.getTransform().getMatrix(), twin.getTransform().getMatrix(), atol=1e-5
        )


def test_text_with_spaces_stays_one_token(folder):
    with open("x.star", "w") as file:
        file.write(
            format_loop_header("particles", ["rlnGroupName", "rlnRandomSubset", "rlnComment"])
        )
        file.write(format_row(["my group", 2, ""]))
    (row,) = read_loop("x.star", "particles")
    assert row == {"rlnGroupName": "my group", "rlnRandomSubset": "2", "rlnComment": "None"}


def make_with(path="gaps.sqlite", **values):
    """Make a set of five whose attributes are given item by item; None is NULL in the file, and so is NaN."""
    particles = em.SetOfParticles(filename=path)
    particles.copyInfo(make_set("whole.sqlite"))

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

    particles.copyItems(em.SetOfParticles(filename="whole.sqlite"), updateItemCallback=change)
    particles.write()
    particles.close()
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
    particles = make_set()
    joined = em.SetOfParticles(filename="joined.sqlite")
    joined.copyInfo(particles)

    def forget_contrast(item, _):
        if item.getObjId() > 7:
            item.setAcquisition(
                em.Acquisition(magnification=5000.0, voltage=300.0, sphericalAberration=2.7)
            )

    joined.copyItems(particles, updateItemCallback=forget_contrast)
    joined.write()
    with pytest.raises(ValueError, match="Optics group 2 has no AmplitudeContrast, while others"):
        write_particles_star(joined, "joined.star", "converted")
