"""Training of a denoiser, from simulated molecules or from pairs of particle sets."""
