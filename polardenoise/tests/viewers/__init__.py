"""Tests of the viewers: no window is opened, what they draw is read."""
