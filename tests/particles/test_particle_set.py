"""Particle sets: every dialect's facts are found, images come in order, what is written is what was read."""

import subprocess

import mrcfile
import numpy as np
import pytest

from polardenoise.engine.particles.mrc import write_stack
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.particles.star_writing import write_particles
from tests.particles.set_texts import CTF, OPTICS, PARTICLES, SIZE, one_image, read_text, refusal

RELION_30 = """
data_

loop_
_rlnImageName
_rlnMagnification
_rlnDetectorPixelSize
_rlnVoltage
_rlnSphericalAberration
_rlnDefocusU
_rlnDefocusV
_rlnOriginX
_rlnOriginY
1@a.mrcs 38168 5 300 2.7 12000 12000 2 -3
2@a.mrcs 38168 5 200 2.7 11000 11000 0 0
"""


def test_a_relion_31_set_has_everything_in_place(folder):
    particles = read_particles(folder / "set.star")
    assert len(particles) == 4
    assert particles.box == 8
    assert [path.name for path in particles.stacks] == ["a.mrcs", "b.mrcs"]
    assert particles.stack_of_row.tolist() == [0, 0, 1, 0]
    assert particles.index_in_stack.tolist() == [2, 0, 0, 1]
    assert particles.pixel_size.tolist() == [1.25, 2.5, 1.25, 1.25]
    assert particles.random_subset.tolist() == [1, 2, 1, 2]
    assert particles.angles.tolist() == [[10, 20, 30], [11, 21, 31], [12, 22, 32], [13, 23, 33]]
    assert particles.origins.tolist() == [[2.5, -5], [0, 0], [1, 1], [-1, 1]]
    assert particles.ctf_state == "raw"
    assert particles.ctf.voltage.tolist() == [300, 200, 300, 300]
    assert particles.ctf.amplitude_contrast.tolist() == [0.1, 0.07, 0.1, 0.1]
    assert particles.ctf.defocus_u.tolist() == [12000.5, 12000.5, 13000, 13000]
    assert particles.ctf.phase_shift.tolist() == [0, 0, 0, 0]
    assert particles.column("myNote") == ["001", "1e3", "--", "x"]
    assert particles.column("rlnVoltage") == ["300.0", "200.0", "300.0", "300.0"]
    assert particles.column("rlnClassNumber") is None


def test_optics_may_come_after_the_particles(folder):
    before = read_particles(folder / "set.star")
    after = read_text(folder, PARTICLES + OPTICS)
    np.testing.assert_array_equal(before.pixel_size, after.pixel_size)
    np.testing.assert_array_equal(before.ctf.voltage, after.ctf.voltage)


def test_a_relion_30_set_keeps_everything_with_the_particles(folder):
    particles = read_text(folder, RELION_30)
    size = 5e4 / 38168
    np.testing.assert_allclose(particles.pixel_size, size)
    np.testing.assert_allclose(particles.origins, [[2 * size, -3 * size], [0, 0]])
    assert particles.ctf.voltage.tolist() == [300, 200]
    # What RELION fills in: V = U, the rest 0.
    assert particles.ctf.defocus_v.tolist() == [12000, 11000]
    assert particles.ctf.amplitude_contrast.tolist() == [0, 0]
    assert particles.angles is None
    assert particles.random_subset is None


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([("rlnImagePixelSize", "1.5")], 1.5),
        ([("rlnPixelSize", "1.6")], 1.6),
        ([("rlnImagePixelSize", "1.5"), ("rlnPixelSize", "1.6")], 1.5),
        ([("rlnMagnification", "50000"), ("rlnDetectorPixelSize", "14")], 2.8),
    ],
)
def test_pixel_size_is_found_where_dialects_keep_it(folder, columns, expected):
    particles = read_text(folder, one_image(*columns))
    assert particles.pixel_size.tolist() == pytest.approx([expected])
    assert (particles.ctf, particles.ctf_state) == (None, "none")


def test_a_particles_own_voltage_goes_before_its_optics_group(folder):
    text = OPTICS + PARTICLES.replace("_myNote", "_rlnVoltage").replace(" 001\n", " 120\n")
    text = text.replace(" 1e3\n", " 120\n").replace(" --\n", " 120\n").replace(" x\n", " 120\n")
    assert read_text(folder, text).ctf.voltage.tolist() == [120] * 4


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ([SIZE], "none"),
        (CTF, "raw"),
        ([*CTF, ("rlnCtfDataArePhaseFlipped", "0")], "raw"),
        ([*CTF, ("rlnCtfDataArePhaseFlipped", "1")], "flipped"),
        ([*CTF, ("polardenoiseCtfState", "corrected")], "corrected"),
        ([*CTF, ("polardenoiseCtfState", "flipped")], "flipped"),
        ([*CTF, ("rlnCtfDataArePhaseFlipped", "1"), ("polardenoiseCtfState", "raw")], "raw"),
        ([SIZE, ("rlnCtfDataArePhaseFlipped", "1")], "none"),
    ],
)
def test_the_ctf_state_is_read(folder, columns, state):
    assert read_text(folder, one_image(*columns)).ctf_state == state


def test_the_ctf_state_in_the_optics_table_goes_first(folder):
    optics = OPTICS.replace(
        "_rlnImagePixelSize #6", "_rlnImagePixelSize #6\n_polardenoiseCtfState #7"
    )
    optics = optics.replace("2.50", "2.50 corrected").replace("1.25", "1.25 corrected")
    assert read_text(folder, optics + PARTICLES).ctf_state == "corrected"
    mixed = optics.replace("2.50 corrected", "2.50 raw")
    assert "polardenoiseCtfState" in refusal(folder, mixed + PARTICLES)


def test_images_come_in_the_order_of_the_rows(folder, images):
    particles = read_particles(folder / "set.star")
    expected = images[[2, 0, 3, 1]]
    np.testing.assert_array_equal(read_images(particles, slice(None)), expected)
    np.testing.assert_array_equal(read_images(particles, slice(1, 3)), expected[1:3])
    rows = np.array([3, 0, 0, 2, 3, 1])
    np.testing.assert_array_equal(read_images(particles, rows), expected[rows])
    assert read_images(particles, np.array([], dtype=int)).shape == (0, 8, 8)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float16"])
def test_every_pixel_type_becomes_float32(folder, dtype):
    values = np.random.default_rng(1).integers(0, 100, (3, 8, 8)).astype(dtype)
    with mrcfile.new(folder / "a.mrcs", values, overwrite=True) as mrc:
        mrc.set_image_stack()
    read = read_images(read_particles(folder / "set.star"), slice(0, 2))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values[[2, 0]])


def test_stacks_with_the_ending_and_header_of_a_volume_are_stacks(folder, images):
    with mrcfile.new(folder / "v.mrc", images) as mrc:
        mrc.set_volume()
    text = one_image(SIZE).replace("1@a.mrcs", "4@v.mrc")
    np.testing.assert_array_equal(read_images(read_text(folder, text), slice(None))[0], images[3])


def test_a_name_without_number_is_the_only_image_of_its_file(folder, images):
    with mrcfile.new(folder / "one.mrc", images[4]):
        pass
    particles = read_text(folder, one_image(SIZE).replace("1@a.mrcs", "one.mrc"))
    np.testing.assert_array_equal(read_images(particles, slice(None))[0], images[4])
    assert "holds 3 images" in refusal(folder, one_image(SIZE).replace("1@a.mrcs", "a.mrcs"))


def test_a_stack_is_found_from_the_working_directory_and_refused_where_two_have_its_name(
    folder, images, monkeypatch
):
    elsewhere = folder / "project"
    elsewhere.mkdir()
    write_stack(elsewhere / "a.mrcs", images[3:], 1.0)
    monkeypatch.chdir(elsewhere)
    assert "row 1: a.mrcs is there twice" in refusal(folder, one_image(SIZE))
    (folder / "a.mrcs").unlink()
    particles = read_text(folder, one_image(SIZE))
    np.testing.assert_array_equal(read_images(particles, slice(None))[0], images[3])


def test_writing_replaces_image_names_and_appends_columns(folder):
    particles = read_particles(folder / "set.star")
    names = [f"{k:06d}@out/denoised.mrcs" for k in range(1, 5)]
    write_particles(
        particles,
        folder / "out.star",
        names,
        {"polardenoiseScore": ["0.1", "0.2", "0.3", "0.4"]},
        {"polardenoiseCtfState": ["raw", "raw"], "rlnImagePixelSize": ["5.0", "2.5"]},
    )
    expected = OPTICS.replace(
        "_rlnImagePixelSize #6\n", "_rlnImagePixelSize #6\n_polardenoiseCtfState #7 \n"
    )
    expected = expected.replace("2.50\n", "5.0 raw\n").replace("1.25\n", "2.5 raw\n")
    body = PARTICLES.replace("_myNote #12\n", "_myNote #12\n_polardenoiseScore #13 \n")
    for old, new in zip(["000003@a", "000001@a", "000001@b", "000002@a"], names, strict=True):
        body = body.replace(f" {old}.mrcs", f" {new}", 1)
    for old, new in [
        ("001\n", "001 0.1\n"),
        ("1e3\n", "1e3 0.2\n"),
        ("--\n", "-- 0.3\n"),
        ("x\n", "x 0.4\n"),
    ]:
        body = body.replace(f" {old}", f" {new}")
    assert (folder / "out.star").read_text() == expected + body


def test_without_an_optics_table_its_columns_go_to_the_particles(folder):
    particles = read_text(folder, RELION_30)
    names = ["1@out.mrcs", "2@out.mrcs"]
    write_particles(particles, folder / "out.star", names, {}, {"polardenoiseCtfState": ["raw"]})
    lines = (folder / "out.star").read_text().splitlines()
    assert "_polardenoiseCtfState " in lines
    assert "1@out.mrcs 38168 5 300 2.7 12000 12000 2 -3 raw" in lines


def test_a_million_rows_would_take_under_a_minute(folder):
    """Ten thousand rows are read, checked and written in well under a second."""
    rows = PARTICLES.splitlines(keepends=True)[-4:]
    text = OPTICS + PARTICLES + "".join(rows) * 2500
    particles = read_text(folder, text)
    assert len(particles) == 10_004
    np.testing.assert_array_equal(particles.index_in_stack, np.tile([2, 0, 0, 1], 2501))
    names = [f"{k}@o.mrcs" for k in range(1, 10_005)]
    write_particles(particles, folder / "out.star", names, {}, {})
    assert (folder / "out.star").read_text().count("@o.mrcs") == 10_004


def test_relion_reads_what_was_written(relion, folder, images):
    particles = read_particles(folder / "set.star")
    write_stack(folder / "out.mrcs", read_images(particles, slice(None)) * 2, 1.25)
    names = [f"{k:06d}@out.mrcs" for k in range(1, 5)]
    optics = {"rlnImageSize": ["8", "8"], "rlnImageDimensionality": ["2", "2"]}
    optics["polardenoiseCtfState"] = ["raw", "raw"]
    write_particles(
        particles, folder / "out.star", names, {"polardenoiseScore": list("1234")}, optics
    )
    command = [relion / "relion_stack_create", "--i", "out.star", "--o", "copied"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    copied = read_particles(folder / "copied.star")
    np.testing.assert_array_equal(read_images(copied, slice(None)), images[[2, 0, 3, 1]] * 2)
    assert copied.ctf.voltage.tolist() == [300, 200, 300, 300]
    assert copied.column("myNote") == ["001", "1e3", "--", "x"]
