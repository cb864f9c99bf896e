"""Real particle sets of many programs: read, or refused in one line."""

import warnings

import mrcfile
import numpy as np
import pytest

from polardenoise.engine.particles.image_names import ImageNames, check_stacks
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.runtime.errors import InputError
from tests.particles.set_texts import one_image, read_all_checked, read_text


def read_by_mrcfile(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old headers
        with mrcfile.open(path, permissive=True) as mrc:
            return np.array(mrc.data)


READABLE = {
    **{
        f"apoferritin_empiar10146/{name}.star": (1367, 64, 3.0, "raw")
        for name in ("frame", "low", "rest", "truth")
    },
    "betagal_empiar10204/job018_64.star": (1470, 64, 4.9781, "none"),
    "aspire_sample/sample_particles_relion30.star": (17, 200, 1.338, "raw"),
    "aspire_sample/sample_particles_relion31.star": (17, 200, 1.4, "raw"),
    "aspire_sample/sample_relion_symmetry_group_D4.star": (17, 200, 1.338, "raw"),
    "empiar_10076/empiar_10076_7.star": (7, 320, 1.31, "raw"),
    "relion31_filament/relion31.star": (5, 256, 2.806, "raw"),
    "relion31_filament/relion31.v2.star": (5, 256, 2.806, "raw"),
    "ribosome_subtomo_tilts/sta_testing_bin8.star": (219, 64, 1.96, "raw"),
}


def test_real_sets_are_read_and_all_else_is_refused_in_one_line(shared_data):
    """A RELION 3.0 file stops at the stack it was not shipped with, never at its dialect."""
    root = shared_data / "particles"
    paths = [
        path
        for name in ("real", "star", "broken")
        for path in sorted((root / name).rglob("*.star"))
    ]
    assert len(paths) > 60
    reached_stacks = 0
    for path in paths:
        facts = READABLE.get(str(path.relative_to(root / "real")) if "real" in path.parts else "")
        if facts is None:
            with pytest.raises(InputError) as caught:
                read_particles(path)
            message = str(caught.value)
            assert path.name in message
            assert "\n" not in message
            reached_stacks += "is not there" in message
            continue
        particles = read_particles(path)
        images = read_all_checked(path)
        np.testing.assert_array_equal(read_images(particles, slice(None)), images)
        assert images.shape == (facts[0], facts[1], facts[1])
        assert particles.pixel_size[0] == pytest.approx(facts[2], rel=1e-3)
        assert particles.ctf_state == facts[3]
        np.testing.assert_array_equal(
            images[2], read_by_mrcfile(particles.stacks[0])[particles.index_in_stack[2]]
        )
    assert reached_stacks >= 15


def test_half_floats_of_warp_are_read(shared_data, tmp_path):
    folder = "warptools_test_4-tomos_10-ptcls_box-32_angpix-12/Unt_050"
    stack = shared_data / "particles/real/warptools_float16" / folder / "Unt_050_12.00A_000001.mrcs"
    particles = read_text(
        tmp_path, one_image(("rlnPixelSize", "12")).replace("1@a.mrcs", f"37@{stack}")
    )
    read_all_checked(particles.star_path)
    theirs = read_by_mrcfile(stack)
    assert theirs.dtype == np.float16
    np.testing.assert_array_equal(read_images(particles, slice(None))[0], theirs[36])


def test_the_broken_stacks_of_the_field_are_refused_by_row(shared_data):
    folder = shared_data / "particles/broken"
    for name, complaint in [
        (
            "drgnai_tilts/00256_Ribosomes_1.70A.mrcs",
            "header says 11029 images and the file holds 1",
        ),
        ("imp_header_only.mrc", "truncated"),
        ("sfftk_corrupt_header.map", "truncated"),
        ("xmipp_smallVolumeStackCorrupted.stk", "truncated|not an MRC"),
    ]:
        names = ImageNames(folder / "some.star", 2)
        names.add(0, [f"1@{folder / name}", f"3@{folder / name}"])
        with pytest.raises(InputError, match=complaint) as caught:
            check_stacks(names)
        assert "row 1 of" in str(caught.value) or "row 2 of" in str(caught.value)
