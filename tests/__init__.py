"""Tests of the engine and of the repository, room by room."""
