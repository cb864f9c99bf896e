"""Classes and scores of the attention as Scipion's sets, from a made-up file of matches."""

import mrcfile
import numpy as np
import pytest

from polardenoise.tests import scipion_project  # noqa: F401  (sets the environment before pwem)

import pwem.objects as em  # isort: skip
from pwem.constants import ALIGN_2D  # isort: skip
from pyworkflow.object import Pointer  # isort: skip

from polardenoise.convert.alignment import get_relion_alignment, make_2d_matrix
from polardenoise.convert.classes import fill_averages, fill_classes, write_averages
from polardenoise.convert.matches_file import join_matches, read_matches

BOX = 8


def write_matches(path, count, classes, seed=0):
    """Write a file as `denoise --matches` does: half of each class in each half, particle 0 in no class."""
    generator = np.random.default_rng(seed)
    class_number = 1 + np.arange(count) % classes
    class_number[0] = 0
    np.savez(
        path,
        neighbours=np.full((count, 2), -1),
        weights=np.zeros((count, 2), np.float32),
        in_plane_degrees=np.zeros((count, 2), np.float32),
        half=1 + (class_number > classes // 2),
        class_number=class_number,
        class_in_plane_degrees=generator.uniform(-180, 180, count).astype(np.float32),
        score=np.linspace(0, 1, count, dtype=np.float32),
        class_averages=np.arange(1, classes + 1, dtype=np.float32)[:, None, None]
        * np.ones((BOX, BOX), np.float32),
        class_half=1 + (np.arange(classes) >= classes // 2),
        class_size=np.bincount(class_number, minlength=classes + 1)[1:],
        class_twin=np.array([2, 1, *[0] * (classes - 2)]),
        pixel_size=4.0,
    )


@pytest.fixture
def particles(tmp_path, monkeypatch):
    """Ten particles whose ids are not 1..N."""
    monkeypatch.chdir(tmp_path)
    particles = em.SetOfParticles(filename="particles.sqlite")
    particles.setSamplingRate(1.5)
    for number in range(1, 11):
        particle = em.Particle()
        particle.setLocation(number, "stack.mrcs")
        particle.setObjId(10 * number)
        particles.append(particle)
    particles.write()
    return particles


def read_two_files(tmp_path):
    """Two chunks: the first six particles in four classes, the others in two."""
    ids = 10 * np.arange(1, 11)
    write_matches(tmp_path / "one.npz", 6, 4, seed=1)
    write_matches(tmp_path / "two.npz", 4, 2, seed=2)
    one = read_matches(tmp_path / "one.npz", ids[:6])
    return join_matches([one, read_matches(tmp_path / "two.npz", ids[6:])])


def test_classes_of_chunks_are_numbered_on(tmp_path):
    matches = read_two_files(tmp_path)
    assert matches.class_number.tolist() == [0, 2, 3, 4, 1, 2, 0, 6, 5, 6]
    assert matches.class_twin.tolist() == [2, 1, 0, 0, 6, 5]
    assert len(matches.class_averages) == 6


def test_classes_hold_their_particles_aligned_to_the_average(particles, tmp_path):
    matches = read_two_files(tmp_path)
    write_averages(matches, "averages.mrcs")
    classes = em.SetOfClasses2D(filename="classes.sqlite")
    classes.setImages(Pointer(particles))
    fill_classes(classes, matches, "averages.mrcs")
    classes.write()
    rows = {int(number): row for row, number in enumerate(matches.ids)}
    found = {}
    for one in classes.iterItems():
        number = one.getObjId()
        average = one.getRepresentative()
        assert average.getLocation() == (number, "averages.mrcs")
        assert average.getSamplingRate() == 4.0
        assert one.getAlignment() == ALIGN_2D
        assert one._polardenoiseHalf.get() == matches.class_half[number - 1]
        assert one._polardenoiseTwin.get() == matches.class_twin[number - 1]
        for item in one.iterItems():
            row = rows[item.getObjId()]
            found[item.getObjId()] = number
            assert item._polardenoiseScore.get() == pytest.approx(matches.score[row])
            psi = get_relion_alignment(item.getTransform().getMatrix(), ALIGN_2D, 1.5)[2]
            # RELION's psi turns clockwise where y points up the rows.
            turned = (psi + matches.class_in_plane_degrees[row] + 180) % 360 - 180
            assert turned == pytest.approx(0, abs=1e-3)
    assert found == {
        int(number): int(one) for number, one in zip(matches.ids, matches.class_number) if one > 0
    }
    with mrcfile.open("averages.mrcs") as stack:
        assert stack.is_image_stack()
        assert stack.data[:, 0, 0].tolist() == [1, 2, 3, 4, 1, 2]
    averages = em.SetOfAverages(filename="averages.sqlite")
    fill_averages(averages, matches, "averages.mrcs")
    assert [item.getObjId() for item in averages.iterItems()] == [1, 2, 3, 4, 5, 6]
    assert averages.getSamplingRate() == 4.0


def test_the_matrix_turns_a_particle_onto_its_class():
    """A point to the right of the class's centre lies above the particle's: turned back, it is right again."""
    matrix = make_2d_matrix(90.0)
    np.testing.assert_allclose(matrix @ [0, 1, 0, 1], [1, 0, 0, 1], atol=1e-12)


def test_a_file_of_other_particles_is_refused(tmp_path):
    write_matches(tmp_path / "one.npz", 6, 4)
    with pytest.raises(ValueError, match="6 particles, not of 5"):
        read_matches(tmp_path / "one.npz", np.arange(5))
    np.savez(tmp_path / "two.npz", half=np.ones(5))
    with pytest.raises(ValueError, match="has no class_number"):
        read_matches(tmp_path / "two.npz", np.arange(5))
