"""Adaptation: numbers of a model learned anew from the particles, each half for itself (docs/adapting.rst)."""
