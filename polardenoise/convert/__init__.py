"""Files and sets of Scipion in both directions: particles, classes, curves, volumes, models."""

from polardenoise.convert.convert import write_particles_star

__all__ = ["write_particles_star"]
