"""Simulating like an existing set: its box, its pixel size, its microscopes and its CTFs."""

import numpy as np
import pytest
import torch

from polardenoise.engine.cli import main
from polardenoise.engine.imaging.ctf import CtfParameters
from polardenoise.engine.particles.particle_images import read_images
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.simulate.particle_table import draw_table

LIKE = """
data_

loop_
_rlnImageName #1
_rlnDefocusU #2
_rlnDefocusV #3
_rlnDefocusAngle #4
_rlnVoltage #5
_rlnSphericalAberration #6
_rlnAmplitudeContrast #7
_rlnPhaseShift #8
_rlnPixelSize #9
000001@particles.mrcs 12000.0 11500.0 30.0 200.0 1.4 0.07 90.0 7.0
000002@particles.mrcs 21000.0 20500.0 60.0 300.0 2.7 0.10 0.0 7.0
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two particles of 32 px and 7 A of two microscopes, one with a phase plate."""
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", "phantom:1", "-o", ".", "--box", "32", "--particles", "2"]) == 0
    (tmp_path / "like.star").write_text(LIKE)
    return tmp_path


def simulate(*words):
    command = ["simulate", "phantom:10001", "--like", "like.star", "-o", "new", "--particles", "12"]
    assert main([*command, *words]) == 0
    return read_particles("new/particles.star")


def test_everything_of_the_microscope_is_copied(folder):
    particles = simulate()
    given = read_particles("like.star")
    assert particles.box == 32
    np.testing.assert_allclose(particles.pixel_size, 7.0)
    assert len(particles.optics) == 2
    assert particles.ctf_state == "raw"
    values = {
        tuple(
            getattr(particles.ctf, name)[row].item() for name in CtfParameters.__dataclass_fields__
        )
        for row in range(12)
    }
    expected = {
        tuple(getattr(given.ctf, name)[row].item() for name in CtfParameters.__dataclass_fields__)
        for row in range(2)
    }
    assert values == expected
    # Noise has variance 1, and what lies under it has the SNR asked for, as without --like.
    clean = read_particles("new/clean.star")
    assert clean.ctf is None
    assert read_images(particles, np.arange(12)).std() == pytest.approx(1, rel=0.05)


def test_what_is_asked_for_goes_before_the_set(folder):
    particles = simulate("--box", "48", "--pixel-size", "8", "--no-ctf")
    assert particles.box == 48
    np.testing.assert_allclose(particles.pixel_size, 8)
    assert particles.ctf is None


def test_poses_do_not_depend_on_the_ctfs():
    like = CtfParameters(*torch.ones(7, 3, dtype=torch.float64))
    plain = draw_table(20, 1, 0, 1.0, True, np.random.default_rng(0))
    copied = draw_table(20, 1, 0, 1.0, True, np.random.default_rng(0), like)
    np.testing.assert_array_equal(plain.angles, copied.angles)
    np.testing.assert_array_equal(plain.origins, copied.origins)
    assert (copied.microscope == 1).all()
