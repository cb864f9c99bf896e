"""Image formation and geometry: Fourier transforms, CTF, polar grid, rotations, projections."""
