"""A set of particles through the engine's files and back: every attribute, and the pixels where they lie."""

import numpy as np
import pytest

from polardenoise.tests import scipion_project  # sets the environment before pwem

import pwem.objects as em  # isort: skip
from pwem.constants import ALIGN_2D, ALIGN_NONE, ALIGN_PROJ  # isort: skip

from polardenoise.convert.alignment import make_projection_matrix
from polardenoise.convert.chunks import iter_chunk, list_enabled_ids
from polardenoise.convert.convert import iter_enabled, write_particles_star
from polardenoise.convert.denoised_set import PixelsReplaced, add_denoised_chunk, open_denoised_set
from polardenoise.convert.import_particles import fill_particle_set
from polardenoise.tests.convert.convert_sets import (
    BOX,
    LOCATIONS,
    PIXEL_SIZE,
    answer,
    copy_changed,
    make_denoised,
    make_matrix,
    make_set,
    read_all,
    read_pixels,
)


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
    scipion_project.check_set_facts(particles, denoised)


def test_the_engine_reads_what_scipion_wrote(stacks):
    read_particles = pytest.importorskip(
        "polardenoise.engine.particles.particle_set"
    ).read_particles
    from polardenoise.engine.particles.particle_images import read_images

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
    bare = copy_changed(
        make_set(), "bare.sqlite", lambda item, _: delattr(item, "_rlnRandomSubset")
    )
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
