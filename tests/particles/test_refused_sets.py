"""What is wrong with a particle set is named in one line, with its row."""

import os
import warnings

import mrcfile
import numpy as np
import pytest

from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.runtime.errors import InputError
from tests.particles.set_texts import (
    CTF,
    OPTICS,
    PARTICLES,
    SIZE,
    one_image,
    read_all_checked,
    refusal,
)


def break_stack(folder, images, dtype="f4", name="a.mrcs"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mrcfile warns of what is broken on purpose
        with mrcfile.new(folder / name, images.astype(dtype), overwrite=True) as mrc:
            mrc.set_image_stack()


def test_a_missing_stack_is_named(folder):
    (folder / "b.mrcs").unlink()
    message = refusal(folder)
    assert "row 3" in message
    assert "b.mrcs" in message


def test_a_truncated_stack_is_named_with_the_row_that_misses_it(folder):
    os.truncate(folder / "a.mrcs", 1024 + 2 * 256 + 10)
    message = refusal(folder)
    assert "a.mrcs: truncated, its header says 3 images and the file holds 2" in message
    assert "row 1 of" in message


def test_a_header_that_promises_terabytes_is_only_a_truncated_stack(folder):
    raw = bytearray((folder / "a.mrcs").read_bytes())
    raw[8:12] = (2**31 - 1).to_bytes(4, "little")
    (folder / "a.mrcs").write_bytes(raw)
    assert "truncated" in refusal(folder)


def test_a_row_past_the_end_is_named(folder):
    message = refusal(folder, OPTICS + PARTICLES.replace("000002@a", "000004@a"))
    assert "row 4 asks for image 4 of" in message
    assert "which holds 3" in message


@pytest.mark.parametrize(
    ("shape", "complaint"),
    [((3, 8, 10), "10 x 8 px"), ((3, 9, 9), "9 x 9 px"), ((3, 10, 10), "10 x 10 px")],
)
def test_boxes_that_do_not_fit_are_named(folder, shape, complaint):
    break_stack(folder, np.zeros(shape))
    message = refusal(folder, OPTICS + PARTICLES.replace("000003@a", "000002@b"))
    assert complaint in message
    assert "row 2 of" in message
    assert "a.mrcs" in message


@pytest.mark.parametrize("dtype", ["f4", "f2"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_named(folder, images, value, dtype):
    images[1, 3, 4] = value
    break_stack(folder, images[:3], dtype)
    message = refusal(folder)
    assert "row 4: image 2 of" in message
    assert "a.mrcs" in message
    particles = read_particles(folder / "set.star")
    read_images(particles, slice(0, 3))
    with pytest.raises(InputError, match="row 4"):
        read_images(particles, np.array([0, 3]))


def test_blank_images_are_named(folder, images):
    images[0] = 7
    break_stack(folder, images[:3])
    message = refusal(folder)
    assert "row 2: image 1 of" in message
    assert "blank" in message


def test_unused_images_may_be_anything(folder, images):
    images[4] = np.nan
    break_stack(folder, images[3:], name="b.mrcs")
    read_all_checked(folder / "set.star")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("junk\n", "not a STAR file"),
        (one_image(), "no pixel size"),
        (one_image(("rlnMagnification", "50000")), "no pixel size"),
        (one_image(("rlnImagePixelSize", "0")), "row 1: rlnImagePixelSize is not positive"),
        (one_image(("rlnImagePixelSize", "nan")), "row 1 of data_: rlnImagePixelSize is 'nan'"),
        (one_image(("rlnImagePixelSize", "big")), "row 1 of data_: rlnImagePixelSize is 'big'"),
        (one_image(*CTF[:1], *CTF[2:]), "no rlnVoltage"),
        (one_image(*CTF[:2], *CTF[3:]), "no rlnSphericalAberration"),
        (one_image(*CTF[:1], ("rlnVoltage", "300000"), *CTF[2:]), "give it in kV"),
        (one_image(*CTF, ("rlnAmplitudeContrast", "7")), "rlnAmplitudeContrast is not between"),
        (one_image(*CTF, ("rlnCtfDataAreCtfPremultiplied", "1")), "multiplied by their CTF"),
        (one_image(*CTF, ("polardenoiseCtfState", "odd")), "must be one of none, raw"),
        (
            one_image(SIZE, ("rlnRandomSubset", "3")),
            "row 1: rlnRandomSubset is 3 and must be 1 or 2",
        ),
        (one_image(SIZE, ("rlnImageDimensionality", "3")), "3D subtomogram"),
        (one_image(SIZE).replace("1@a", "0@a"), "row 1: image name 0@a.mrcs"),
        (one_image(SIZE).replace("1@a", "x@a"), "row 1: image name x@a.mrcs"),
        (one_image(SIZE).replace("1@a.mrcs", "1@"), "row 1: the image name is empty"),
        (
            one_image(SIZE).replace("1@a.mrcs", "1"),
            "row 1: image name 1 is no NUMBER@STACK, such as 000012@Extract/mic.mrcs, nor the name of a file",
        ),
        (one_image(SIZE).replace("1@a.mrcs", "c.mrcs"), "row 1: image name c.mrcs is no NUMBER@"),
        (one_image(SIZE).replace("a.mrcs", "c.mrcs"), "row 1: stack c.mrcs is not there"),
        (one_image(SIZE).replace(" 1.5", ""), "row 1 of table data_ has 1 value for 2 columns"),
        (one_image(SIZE).split("1@")[0], "has no rows"),
        (one_image(SIZE) + "\n" + one_image(SIZE), "2 tables are called data_; join them into one"),
        (
            one_image(SIZE) + "\n" + one_image(SIZE).replace("data_", "data_b"),
            "several tables name images",
        ),
        ("data_\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n1 2\n", "coordinates; extract"),
        ("data_model_general\n\n_rlnReferenceDimensionality 3\n", "a RELION model file"),
        (OPTICS + PARTICLES.replace("b.mrcs 1 ", "b.mrcs 7 "), "row 3 belongs to optics group 7"),
        (OPTICS.replace(" 2 second", " 1 second") + PARTICLES, "optics group 1 is listed twice"),
        (OPTICS.replace("300.0", "many") + PARTICLES, "row 2 of data_optics: rlnVoltage is 'many'"),
        (OPTICS + "\ndata_particles\nloop_\n_rlnImageName\n1@a.mrcs\n", "2 optics groups, but"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(folder, text, complaint):
    message = refusal(folder, text)
    assert complaint in message
    assert "set.star" in message


def test_mixed_phase_flipping_is_refused(folder):
    optics = OPTICS.replace(
        "_rlnImagePixelSize #6", "_rlnImagePixelSize #6\n_rlnCtfDataArePhaseFlipped"
    )
    optics = optics.replace("2.50", "2.50 0").replace("1.25", "1.25 1")
    assert "row 2: not phase-flipped" in refusal(folder, optics + PARTICLES)


def test_a_name_of_thousands_of_characters_is_shortened_in_the_message(tmp_path):
    path = tmp_path / "a.star"
    path.write_text(f"data_\nloop_\n_rlnImageName\n_rlnPixelSize\n1@{'a/' * 100_000}b.mrcs 2.0\n")
    with pytest.raises(InputError, match=r"row 1: stack a/.*\.\.\. is not there") as told:
        read_particles(path)
    assert len(str(told.value)) < 1000
