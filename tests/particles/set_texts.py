"""STAR files of a few particles, how they are read, and how they are refused."""

import numpy as np
import pytest

from polardenoise.engine.particles.image_checks import ImageFaults
from polardenoise.engine.particles.particle_set import read_particles
from polardenoise.engine.runtime.errors import InputError

OPTICS = """
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
 2 second 200.0 1.4 0.07 2.50
 1 first 300.0 2.7 0.10 1.25
"""

PARTICLES = """

# version 30001

data_particles

loop_
_rlnImageName #1
_rlnOpticsGroup #2
_rlnDefocusU #3
_rlnDefocusV #4
_rlnDefocusAngle #5
_rlnRandomSubset #6
_rlnAngleRot #7
_rlnAngleTilt #8
_rlnAnglePsi #9
_rlnOriginXAngst #10
_rlnOriginYAngst #11
_myNote #12
 000003@a.mrcs 1 12000.5 11000 30 1 10 20 30 2.5 -5 001
 000001@a.mrcs 2 12000.5 11000 30 2 11 21 31 0 0 1e3
 000001@b.mrcs 1 13000 12500 -10 1 12 22 32 1 1 --
 000002@a.mrcs 001 13000 12500 -10 2 13 23 33 -1 1 x
"""


def read_text(folder, text):
    (folder / "set.star").write_text(text)
    return read_particles(folder / "set.star")


def one_image(*columns):
    """Write a STAR file of one particle, from pairs of label and value."""
    labels, values = zip(("rlnImageName", "1@a.mrcs"), *columns, strict=True)
    return "data_\nloop_\n" + "".join(f"_{label}\n" for label in labels) + " ".join(values) + "\n"


def read_all_checked(star):
    """Read halves and images as `denoise` reads them."""
    particles = read_particles(star)
    assert particles.random_subset is None or len(particles.random_subset) == len(particles)
    faults = ImageFaults(particles)
    images = faults.read(np.arange(len(particles)))
    faults.refuse()
    return images


def refusal(folder, text=None):
    """Read a set that must be refused; give the line that says why."""
    if text is not None:
        (folder / "set.star").write_text(text)
    with pytest.raises(InputError) as caught:
        read_all_checked(folder / "set.star")
    message = str(caught.value)
    assert "\n" not in message
    return message


SIZE = ("rlnImagePixelSize", "1.5")
CTF = [SIZE, ("rlnVoltage", "300"), ("rlnSphericalAberration", "2.7"), ("rlnDefocusU", "10000")]
CTF += [("rlnDefocusV", "10000")]
