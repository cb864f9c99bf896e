"""Tests of the Scipion plugin in a headless Scipion project, where Scipion looks for them."""
