"""Reconstruction of maps from particles with known poses, and their Fourier shell correlation."""
