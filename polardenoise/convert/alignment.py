"""Scipion's transformation matrices and RELION's angles and origins, one from the other.

Scipion keeps for a particle a 4 x 4 matrix that it calls an alignment: for projections the inverse
of the one that takes the volume to the image, with shifts in pixels; in 2D the one that aligns the
image. The formulas are those of scipion-em-relion 5 (`convert31.py`), against which a test holds them.
"""

import numpy as np
from pwem.constants import ALIGN_2D, ALIGN_PROJ
from pwem.convert.transformations import euler_from_matrix, euler_matrix

ALIGNMENT_LABELS = {
    ALIGN_2D: ("rlnOriginXAngst", "rlnOriginYAngst", "rlnAnglePsi"),
    ALIGN_PROJ: (
        "rlnOriginXAngst",
        "rlnOriginYAngst",
        "rlnAngleRot",
        "rlnAngleTilt",
        "rlnAnglePsi",
    ),
}


def get_relion_alignment(matrix, alignment, pixel_size):
    """Turn a Scipion matrix into RELION's numbers.

    Parameters
    ----------
    matrix : ndarray
        `(4, 4)`, of the particle's Transform; shifts in pixels.
    alignment : str
        pwem's ALIGN_2D or ALIGN_PROJ.
    pixel_size : float
        Angstrom per pixel.

    Returns
    -------
    tuple of float
        In the order of `ALIGNMENT_LABELS[alignment]`: origins in Angstrom, angles in degrees.
    """
    if alignment == ALIGN_PROJ:
        matrix = np.linalg.inv(matrix)
        x, y = (-matrix[:2, 3] * pixel_size).tolist()
    else:
        x, y = (np.asarray(matrix)[:2, 3] * pixel_size).tolist()
    rot, tilt, psi = (-np.rad2deg(euler_from_matrix(matrix, axes="szyz"))).tolist()
    if alignment == ALIGN_PROJ:
        return x, y, rot, tilt, psi
    return x, y, -(rot + psi)


def make_projection_matrix(rot, tilt, psi, x, y):
    """Make the Scipion matrix of a projection.

    Parameters
    ----------
    rot, tilt, psi : float
        RELION's Euler angles, degrees.
    x, y : float
        RELION's origins divided by the pixel size: pixels.

    Returns
    -------
    ndarray
        `(4, 4)`, for a Transform of a set with ALIGN_PROJ.
    """
    matrix = euler_matrix(*(-np.deg2rad([rot, tilt, psi])), axes="szyz")
    matrix[:2, 3] = -x, -y
    return np.linalg.inv(matrix)


def make_2d_matrix(degrees):
    """Make the Scipion matrix of a particle that is a class average rotated in the plane.

    Parameters
    ----------
    degrees : float
        Counter-clockwise (x to the right, y up), takes the class average onto the particle: minus
        RELION's psi.

    Returns
    -------
    ndarray
        `(4, 4)`, for a Transform of a set with ALIGN_2D: turns the particle back onto its class.
    """
    return euler_matrix(0.0, 0.0, -np.deg2rad(degrees), axes="szyz")
