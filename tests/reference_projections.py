"""Projections by torch-fourier-slice: the reference that ours are held against."""

from torch_fourier_slice import project_3d_to_2d

from polardenoise.engine.imaging.euler_angles import matrices_from_angles


def project_volume(volume, angles):
    """Project a volume `(N, N, N)`, N even, along `(n, 3)` rot, tilt, psi in degrees: sums, `(n, N, N)`.

    torch-fourier-slice takes the mean of the volume's faces as its background.
    """
    return project_3d_to_2d(volume, matrices_from_angles(angles).to(volume))
