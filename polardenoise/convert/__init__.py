"""Files and sets of Scipion in both directions: particles, classes, curves, volumes, models."""
